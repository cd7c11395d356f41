/* Makes a worker's process: namespaces, credentials, then the same program in another role. */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "call.h"
#include "ops.h"
#include "spawn.h"
#include "worker_spawn.h"
#include "worker_wire.h"

#define MAX_GROUPS 256
#define ALLOWED_NAMESPACES \
	(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWPID | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWCGROUP)

extern char **environ;

struct plan_of_worker {
	int self;
	int sock;
	int shared;
	/* cgroup.procs of the group of workers, -1 without one. */
	int group;
	/* Its news: stages that failed, numbers of processes. */
	int status;
	/* Wakes it once its user namespace has its maps. */
	int mapped;
	int64_t namespaces;
	int64_t uid, gid, umask;
	gid_t groups[MAX_GROUPS];
	size_t groups_count;
	bool set_groups;
	bool set_caps;
	uint64_t caps;
	const char *cwd;
	char **envp;
};

/* What the child writes into its status pipe. */
struct news {
	enum { NEWS_UNSHARED, NEWS_INIT, NEWS_WORKER, NEWS_FAILED } kind;
	int number;
	char stage[16];
};

static void tell(const struct plan_of_worker *w, const struct news *news)
{
	write_full(w->status, news, sizeof(*news));
}

static void child_failed(const struct plan_of_worker *w, const char *stage)
{
	struct news news = { .kind = NEWS_FAILED, .number = errno };
	strncpy(news.stage, stage, sizeof(news.stage) - 1);
	tell(w, &news);
	_exit(127);
}

static void enter_user_namespace(const struct plan_of_worker *w)
{
	struct news news = { .kind = NEWS_UNSHARED };
	char byte;
	if (unshare(CLONE_NEWUSER) < 0)
		child_failed(w, "user");
	tell(w, &news);
	if (read_full(w->mapped, &byte, 1)) {
		errno = EPERM;
		child_failed(w, "user");
	}
}

/* Process 1 of a namespace: reaps, until the agent kills it. */
static void namespace_init(void)
{
	prctl(PR_SET_NAME, "belljar-nsinit");
	syscall(SYS_close_range, 0, ~0u, 0);
	for (;;) {
		siginfo_t si;
		if (waitid(P_ALL, 0, &si, WEXITED) < 0 && errno == ECHILD)
			pause();
	}
}

/* As CLONE_PARENT children both belong to the agent, which reaps them and may kill them. */
static pid_t fork_beside(void)
{
	return (pid_t)syscall(SYS_clone, CLONE_PARENT | SIGCHLD, NULL, NULL, NULL, NULL);
}

static void enter_pid_namespace(const struct plan_of_worker *w)
{
	struct news news = { .kind = NEWS_INIT };
	if (unshare(CLONE_NEWPID) < 0)
		child_failed(w, "unshare");
	pid_t pid = fork_beside();
	if (pid == 0)
		namespace_init();
	if (pid < 0)
		child_failed(w, "fork");
	news.number = pid;
	tell(w, &news);
	pid = fork_beside();
	if (pid == 0)
		return;
	if (pid < 0)
		child_failed(w, "fork");
	news = (struct news){ .kind = NEWS_WORKER, .number = pid };
	tell(w, &news);
	_exit(0);
}

static void enter_namespaces(const struct plan_of_worker *w)
{
	int others = (int)(w->namespaces & ~(CLONE_NEWUSER | CLONE_NEWPID));
	if (w->namespaces & CLONE_NEWUSER)
		enter_user_namespace(w);
	if (others && unshare(others) < 0)
		child_failed(w, "unshare");
	/* What is mounted there is not to appear outside. */
	if (w->namespaces & CLONE_NEWNS && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		child_failed(w, "unshare");
	if (!(w->namespaces & CLONE_NEWPID))
		return;
	enter_pid_namespace(w);
	/* A view of the processes that fits; without a mount namespace it would be everybody's. */
	if (w->namespaces & CLONE_NEWNS)
		mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
}

static void drop_bounding_set(const struct plan_of_worker *w)
{
	for (int cap = 0; cap < 64 && prctl(PR_CAPBSET_READ, cap) >= 0; cap++) {
		if (!(w->caps & 1ull << cap) && prctl(PR_CAPBSET_DROP, cap) < 0)
			child_failed(w, "caps");
	}
}

static void set_capabilities(const struct plan_of_worker *w)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];
	for (int i = 0; i < 2; i++) {
		uint32_t half = (uint32_t)(w->caps >> (32 * i));
		data[i] = (struct __user_cap_data_struct){ half, half, half };
	}
	if (syscall(SYS_capset, &head, data) < 0)
		child_failed(w, "caps");
	/* Ambient, so that they outlast the exec of a user without privileges. */
	for (int cap = 0; cap < 64; cap++) {
		if (w->caps & 1ull << cap && prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0) < 0)
			child_failed(w, "caps");
	}
}

static void take_identity(const struct plan_of_worker *w)
{
	if (w->set_caps) {
		drop_bounding_set(w);
		if (prctl(PR_SET_KEEPCAPS, 1) < 0)
			child_failed(w, "caps");
	}
	if (w->set_groups && syscall(SYS_setgroups, w->groups_count, w->groups) < 0)
		child_failed(w, "groups");
	if (w->gid >= 0 && syscall(SYS_setresgid, w->gid, w->gid, w->gid) < 0)
		child_failed(w, "gid");
	if (w->uid >= 0 && syscall(SYS_setresuid, w->uid, w->uid, w->uid) < 0)
		child_failed(w, "uid");
	if (w->set_caps)
		set_capabilities(w);
	if (w->umask >= 0)
		umask((mode_t)w->umask);
	if (w->cwd && chdir(w->cwd) < 0)
		child_failed(w, "cwd");
}

static void child_main(const struct plan_of_worker *w)
{
	char *argv[] = { "belljar-agent", "worker", NULL };
	setsid();
	if (w->group >= 0 && write(w->group, "0", 1) != 1)
		child_failed(w, "cgroup");
	enter_namespaces(w);
	take_identity(w);
	/* Above all numbers in use, so that none is overwritten before it has moved. */
	int sock = fcntl(w->sock, F_DUPFD, 64), shared = fcntl(w->shared, F_DUPFD, 64);
	int self = fcntl(w->self, F_DUPFD, 64), status = fcntl(w->status, F_DUPFD, 64);
	if (sock < 0 || shared < 0 || self < 0 || status < 0 || dup2(sock, WORKER_SOCKET) < 0 ||
	    dup2(shared, WORKER_SHARED) < 0)
		child_failed(w, "fork");
	struct plan_of_worker moved = *w;
	moved.status = status;
	syscall(SYS_close_range, 5, ~0u, 4);
	syscall(SYS_execveat, self, "", argv, w->envp, AT_EMPTY_PATH);
	child_failed(&moved, "exec");
}

static int write_map(pid_t pid, const char *file, const char *text)
{
	char path[64];
	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, file);
	return write_text(path, text);
}

/* All ids as they are outside; who may not do that maps the one that it has. */
static int write_maps(pid_t pid, const struct plan_of_worker *w)
{
	char text[64];
	if (!write_map(pid, "uid_map", "0 0 4294967295"))
		return write_map(pid, "gid_map", "0 0 4294967295");
	int result = write_map(pid, "setgroups", "deny");
	snprintf(text, sizeof(text), "%lld %u 1", (long long)(w->uid >= 0 ? w->uid : 0), geteuid());
	if (!result)
		result = write_map(pid, "uid_map", text);
	snprintf(text, sizeof(text), "%lld %u 1", (long long)(w->gid >= 0 ? w->gid : 0), getegid());
	return result ? result : write_map(pid, "gid_map", text);
}

/* Follows the child until its exec. Returns 0 or -errno with the failure set. */
static int follow(struct call *c, const struct plan_of_worker *w, int status, int mapped, pid_t child)
{
	struct news news;
	c->aux = child;
	while (!read_full(status, &news, sizeof(news))) {
		if (news.kind == NEWS_FAILED) {
			news.stage[sizeof(news.stage) - 1] = '\0';
			fail_errno(c, news.number);
			snprintf(c->fail.detail, sizeof(c->fail.detail), "step %s of the worker", news.stage);
			return -EINVAL;
		}
		if (news.kind == NEWS_WORKER) {
			c->aux = news.number;
		} else if (news.kind == NEWS_INIT) {
			c->nums[SPAWNED_INIT] = news.number;
			c->nums[SPAWNED_HAS_INIT] = 1;
		} else {
			int result = write_maps(child, w);
			if (result) {
				fail_errno(c, -result);
				snprintf(c->fail.detail, sizeof(c->fail.detail), "step user of the worker");
				return result;
			}
			write_full(mapped, "m", 1);
		}
	}
	return 0;
}

static int read_ids(struct call *c, struct plan_of_worker *w)
{
	w->uid = w->gid = w->umask = -1;
	if (has(c, F_WORKER_SPAWN_UID) && !get_ranged(c, F_WORKER_SPAWN_UID, 0, UINT32_MAX - 1, &w->uid))
		return -EINVAL;
	if (has(c, F_WORKER_SPAWN_GID) && !get_ranged(c, F_WORKER_SPAWN_GID, 0, UINT32_MAX - 1, &w->gid))
		return -EINVAL;
	if (has(c, F_WORKER_SPAWN_UMASK) && !get_ranged(c, F_WORKER_SPAWN_UMASK, 0, 0777, &w->umask))
		return -EINVAL;
	if (has(c, F_WORKER_SPAWN_UNSHARE) &&
	    !get_ranged(c, F_WORKER_SPAWN_UNSHARE, 0, UINT32_MAX, &w->namespaces))
		return -EINVAL;
	if (w->namespaces & ~(int64_t)ALLOWED_NAMESPACES) {
		fail_code(c, "format", "unshare has flags that are no namespaces");
		return -EINVAL;
	}
	return 0;
}

static int read_lists(struct call *c, struct plan_of_worker *w)
{
	const struct mp_val *groups = &c->f[F_WORKER_SPAWN_GROUPS], *caps = &c->f[F_WORKER_SPAWN_CAPS];
	struct mp_reader r = { groups->data, c->body + c->body_len };
	struct mp_val item;
	w->set_caps = has(c, F_WORKER_SPAWN_CAPS);
	/* Who becomes another user loses the groups of the former. */
	w->set_groups = has(c, F_WORKER_SPAWN_GROUPS) || (w->uid >= 0 && geteuid() == 0);
	for (uint32_t i = 0; i < groups->size; i++) {
		if (mp_read(&r, &item) || i >= MAX_GROUPS || item.num < 0 || item.num >= UINT32_MAX)
			goto bad;
		w->groups[w->groups_count++] = (gid_t)item.num;
	}
	r = (struct mp_reader){ caps->data, c->body + c->body_len };
	for (uint32_t i = 0; i < caps->size; i++) {
		if (mp_read(&r, &item) || item.num < 0 || item.num > 63)
			goto bad;
		w->caps |= 1ull << item.num;
	}
	return 0;
bad:
	fail_code(c, "format", "groups or caps has a number that is none");
	return -EINVAL;
}

static int read_plan(struct call *c, struct plan_of_worker *w)
{
	size_t base = 0, count = 0;
	if (read_ids(c, w) || read_lists(c, w))
		return -EINVAL;
	if (has(c, F_WORKER_SPAWN_CWD) && !(w->cwd = get_text(c, F_WORKER_SPAWN_CWD)))
		return -EINVAL;
	while (environ[base])
		base++;
	w->envp = merge_env(c, F_WORKER_SPAWN_ENV, environ, base, &count);
	return w->envp ? 0 : -EINVAL;
}

static void run_child(struct call *c, struct plan_of_worker *w)
{
	int status[2], mapped[2];
	if (pipe2(status, O_CLOEXEC) < 0) {
		fail_errno(c, errno);
		return;
	}
	if (pipe2(mapped, O_CLOEXEC) < 0) {
		fail_errno(c, errno);
		close(status[0]);
		close(status[1]);
		return;
	}
	w->status = status[1];
	w->mapped = mapped[0];
	pid_t pid = fork();
	int err = errno;
	if (pid == 0) {
		close(mapped[1]);
		child_main(w);
	}
	close(status[1]);
	close(mapped[0]);
	if (pid < 0)
		fail_errno(c, err);
	else
		/* A child that waits for its maps in vain sees the end of its pipe, and ends. */
		follow(c, w, status[0], mapped[1], pid);
	close(status[0]);
	close(mapped[1]);
}

void op_worker_spawn(struct call *c)
{
	struct plan_of_worker *w = call_alloc(c, sizeof(*w));
	if (!w)
		return;
	memset(w, 0, sizeof(*w));
	w->sock = c->fds[0];
	w->shared = c->fds[1];
	w->group = c->fds[2];
	if (read_plan(c, w))
		return;
	CLEANUP_FD int self = open("/proc/self/exe", O_PATH | O_CLOEXEC);
	if (self < 0) {
		fail_errno(c, errno);
		return;
	}
	w->self = self;
	run_child(c, w);
	if (c->fail.code)
		return;
	mp_map(&c->out, 1);
	mp_put_int(&c->out, "pid", c->aux);
}
