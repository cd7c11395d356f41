/* Starts a program: what is prepared before the fork, and what the child does until its exec. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "call.h"
#include "ops.h"
#include "spawn.h"
#include "start_child.h"
#include "user.h"

#define CHILD_STACK (64u * 1024u)
#define MAX_LIMITS 16
/* Entries that are added after those of the request. */
#define SPARE_ENV 8
#define DEFAULT_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#define NOT_SANITIZED __attribute__((no_sanitize("address", "undefined")))

extern char **environ;

bool spawn_from_worker;

struct launch {
	char **argv;
	char **envp;
	/* Paths to try in turn, as a shell does. */
	char **programs;
	const char *cwd;
	const struct user *user;
	const int *fds;
	bool is_pty;
	/* Where it writes itself into its control group, unless it is born there. */
	int group_procs;
	struct { int resource; struct rlimit limit; } limits[MAX_LIMITS];
	size_t limits_count;
	/* Written by the child, which shares our memory until its exec. */
	const char *volatile stage;
	volatile int err;
};

/* From here to the exec: the child shares memory with a thread that stands still. System calls only. */
NOT_SANITIZED static int child_failed(struct launch *l, const char *stage, int err)
{
	l->stage = stage;
	l->err = err;
	syscall(SYS_exit_group, 127);
	return 0;
}

NOT_SANITIZED static int child_files(struct launch *l)
{
	for (int i = 0; i < 3; i++) {
		int from = l->is_pty ? l->fds[0] : l->fds[i];
		if (dup2(from, i) < 0)
			return child_failed(l, "fork", errno);
	}
	if (l->is_pty && ioctl(0, TIOCSCTTY, 0) < 0)
		return child_failed(l, "pty", errno);
	return 0;
}

NOT_SANITIZED static int child_identity(struct launch *l)
{
	const struct user *u = l->user;
	if (!u)
		return 0;
	/* The kernel's own calls: the library's would try to change all threads of the agent. */
	if (syscall(SYS_setgroups, u->groups_count, u->groups) < 0 ||
	    syscall(SYS_setresgid, u->gid, u->gid, u->gid) < 0 ||
	    syscall(SYS_setresuid, u->uid, u->uid, u->uid) < 0)
		return child_failed(l, "user", errno);
	return 0;
}

NOT_SANITIZED static void child_reset(void)
{
	sigset_t none;
	reset_signals();
	/* 4 is CLOSE_RANGE_CLOEXEC: the table is this process' own, and a failed exec needs nothing of it. */
	if (syscall(SYS_close_range, 3, ~0u, 4) < 0) {
		for (int fd = 3; fd < 1024; fd++)
			fcntl(fd, F_SETFD, FD_CLOEXEC);
	}
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

NOT_SANITIZED static void child_oom_score(void)
{
	/* The agent is spared when memory runs out; its jobs are not. */
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	if (fd >= 0 && write(fd, "0", 1) != 1)
		close(fd);
}

NOT_SANITIZED static int child_main(void *arg)
{
	struct launch *l = arg;
	int err = ENOENT;
	setsid();
	if (l->group_procs >= 0 && write(l->group_procs, "0", 1) != 1)
		return child_failed(l, "cgroup", errno);
	child_oom_score();
	child_files(l);
	for (size_t i = 0; i < l->limits_count; i++) {
		/* The library's setrlimit() acts on all threads; this one on the caller alone. */
		if (syscall(SYS_prlimit64, 0, l->limits[i].resource, &l->limits[i].limit, NULL) < 0)
			return child_failed(l, "limits", errno);
	}
	child_identity(l);
	if (l->cwd && chdir(l->cwd) < 0)
		return child_failed(l, "cwd", errno);
	child_reset();
	for (char **program = l->programs; *program; program++) {
		/* A failed exec makes and frees an address space; a look at the name does not. */
		if (program[1] && syscall(SYS_faccessat, AT_FDCWD, *program, F_OK) < 0 &&
		    (errno == ENOENT || errno == ENOTDIR))
			continue;
		execve(*program, l->argv, l->envp);
		/* What exists but may not be run says more than what does not exist. */
		if (errno != ENOENT && errno != ENOTDIR)
			err = errno;
		if (errno == E2BIG || errno == ENOMEM || errno == ENOEXEC)
			break;
	}
	return child_failed(l, "exec", err);
}

static char **text_list(struct call *c, unsigned field, size_t extra, size_t *count)
{
	const struct mp_val *list = &c->f[field];
	char **out = call_alloc(c, (list->size + extra + 1u) * sizeof(*out));
	struct mp_reader r = { list->data, c->body + c->body_len };
	*count = 0;
	for (uint32_t i = 0; out && i < list->size; i++) {
		struct mp_val item;
		if (mp_read(&r, &item))
			return NULL;
		out[i] = text_of(c, &item, WIRE_MAX_PAYLOAD);
		if (!out[i])
			return NULL;
		++*count;
	}
	if (out)
		out[*count] = NULL;
	return out;
}

static void set_env(char **env, size_t *count, char *entry)
{
	size_t name = strcspn(entry, "=");
	if (entry[name] != '=')
		return;
	for (size_t i = 0; i < *count; i++) {
		if (!strncmp(env[i], entry, name + 1)) {
			env[i] = entry;
			return;
		}
	}
	env[(*count)++] = entry;
	env[*count] = NULL;
}

static void set_env_pair(struct call *c, char **env, size_t *count, const char *name, const char *value)
{
	size_t size = strlen(name) + strlen(value) + 2;
	char *entry = call_alloc(c, size);
	if (!entry)
		return;
	snprintf(entry, size, "%s=%s", name, value);
	set_env(env, count, entry);
}

char **merge_env(struct call *c, unsigned field, char **base, size_t base_count, size_t *count)
{
	size_t given_count = 0;
	char **given = text_list(c, field, 0, &given_count);
	char **env = call_alloc(c, (base_count + given_count + SPARE_ENV) * sizeof(*env));
	*count = 0;
	if (!given || !env)
		return NULL;
	env[0] = NULL;
	for (size_t i = 0; i < base_count; i++)
		set_env(env, count, base[i]);
	for (size_t i = 0; i < given_count; i++)
		set_env(env, count, given[i]);
	return env;
}

static bool is_given(const struct call *c, const char *name)
{
	const struct mp_val *list = &c->f[F_SPAWN_ENV];
	struct mp_reader r = { list->data, c->body + c->body_len };
	size_t len = strlen(name);
	for (uint32_t i = 0; i < list->size; i++) {
		struct mp_val item;
		if (!mp_read(&r, &item) && item.size > len && !memcmp(item.data, name, len) && item.data[len] == '=')
			return true;
	}
	return false;
}

static char **make_env(struct call *c, const struct user *user)
{
	size_t base = 0, count = 0;
	bool clear = get_bool(c, F_SPAWN_CLEAR_ENV);
	while (!clear && environ[base])
		base++;
	char **env = merge_env(c, F_SPAWN_ENV, environ, base, &count);
	if (!env)
		return NULL;
	if (user && !clear) {
		const char *pairs[][2] = { { "HOME", user->home }, { "USER", user->name }, { "LOGNAME", user->name } };
		for (size_t i = 0; i < ARRAY_SIZE(pairs); i++) {
			if (!is_given(c, pairs[i][0]))
				set_env_pair(c, env, &count, pairs[i][0], pairs[i][1]);
		}
	}
	set_env_pair(c, env, &count, "BELLJAR_JOB", c->token);
	return c->fail.code ? NULL : env;
}

static const char *path_of(char **env)
{
	for (; *env; env++) {
		if (!strncmp(*env, "PATH=", 5))
			return *env + 5;
	}
	return DEFAULT_PATH;
}

static char **find_programs(struct call *c, char *name, char **env)
{
	const char *path = strchr(name, '/') ? "" : path_of(env);
	size_t parts = 1, count = 0;
	for (const char *at = path; *at; at++)
		parts += *at == ':';
	char **list = call_alloc(c, (parts + 1) * sizeof(*list));
	if (!list)
		return NULL;
	if (strchr(name, '/') || name[0] == '\0') {
		list[count++] = name;
		list[count] = NULL;
		return list;
	}
	for (const char *at = path; count < parts; count++) {
		size_t len = strcspn(at, ":"), size = len + strlen(name) + 3;
		list[count] = call_alloc(c, size);
		if (!list[count])
			return NULL;
		/* An empty part is the working directory. */
		snprintf(list[count], size, "%.*s%s%s", (int)len, at, len ? "/" : "./", name);
		at += len + (at[len] == ':');
	}
	list[count] = NULL;
	return list;
}

static int read_limits(struct call *c, struct launch *l)
{
	const struct mp_val *list = &c->f[F_SPAWN_LIMITS];
	struct mp_reader r = { list->data, c->body + c->body_len };
	for (uint32_t i = 0; has(c, F_SPAWN_LIMITS) && i < list->size; i++) {
		struct mp_val pair, resource, value;
		if (mp_read(&r, &pair) || pair.size != 2 || i >= MAX_LIMITS || mp_read(&r, &resource) ||
		    mp_read(&r, &value) || resource.num < 0 || resource.num > 64) {
			fail_code(c, "format", "limits is no list of at most %d pairs", MAX_LIMITS);
			return -EINVAL;
		}
		l->limits[i].resource = (int)resource.num;
		l->limits[i].limit.rlim_cur = l->limits[i].limit.rlim_max = (rlim_t)value.num;
		l->limits_count++;
	}
	return 0;
}

static int prepare(struct call *c, struct launch *l, struct user *user)
{
	size_t argc = 0;
	l->argv = text_list(c, F_SPAWN_ARGV, 0, &argc);
	if (!l->argv)
		return -EINVAL;
	if (argc == 0) {
		fail_code(c, "format", "argv is empty");
		return -EINVAL;
	}
	if (has(c, F_SPAWN_USER)) {
		char *who = get_text(c, F_SPAWN_USER);
		int result = who ? find_user(who, user) : -EINVAL;
		if (result) {
			fail_stage(c, "user", -result);
			return result;
		}
		l->user = user;
	}
	l->envp = make_env(c, l->user);
	l->programs = l->envp ? find_programs(c, l->argv[0], l->envp) : NULL;
	if (has(c, F_SPAWN_CWD))
		l->cwd = get_text(c, F_SPAWN_CWD);
	return c->fail.code || read_limits(c, l) ? -EINVAL : 0;
}

static int open_null(struct call *c)
{
	for (int i = 0; i < 3 && !c->is_pty; i++) {
		if (c->fds[i] >= 0)
			continue;
		c->fds[i] = open("/dev/null", O_RDWR | O_CLOEXEC);
		if (c->fds[i] < 0) {
			fail_stage(c, "fork", errno);
			return -errno;
		}
	}
	return 0;
}

/*
 * Whether a child that cannot be born in its group can go there by itself. That is dearer by far, since the kernel then
 * waits until no process is just being made, but an older kernel knows nothing else; and a descriptor that was opened
 * by the agent still serves a worker that has given up its rights.
 */
static bool may_join_later(struct call *c, int err)
{
	int *procs = &c->fds[SPAWN_GROUP_PROCS];
	if (err != ENOSYS && err != EACCES && err != EPERM)
		return false;
	if (*procs < 0)
		*procs = openat(c->fds[SPAWN_GROUP], "cgroup.procs", O_WRONLY | O_CLOEXEC);
	errno = err;
	return *procs >= 0;
}

static pid_t run_child(struct call *c, struct launch *l)
{
	/* On this thread's own stack, whose pages are there already: it stands still meanwhile. */
	_Alignas(64) char stack[CHILD_STACK];
	struct child_start start = {
		.main = child_main,
		.arg = l,
		.stack = stack,
		.stack_size = sizeof(stack),
		.group = c->fds[SPAWN_GROUP],
		.for_parent = spawn_from_worker,
		.pid = (pid_t *)&c->child,
		.pidfd = &c->ret_fd,
	};
	sigset_t all, before;
	/* No handler may run in the child while it shares our memory. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	pid_t pid = start_child(&start);
	if (pid < 0 && start.group >= 0 && may_join_later(c, errno)) {
		l->group_procs = c->fds[SPAWN_GROUP_PROCS];
		start.group = -1;
		pid = start_child(&start);
	}
	int err = errno;
	atomic_store(&c->child, 0);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	errno = err;
	return pid;
}

void op_spawn(struct call *c)
{
	struct launch l = { .fds = c->fds, .is_pty = c->is_pty, .group_procs = -1 };
	struct user user;
	if (prepare(c, &l, &user) || open_null(c))
		return;
	pid_t pid = run_child(c, &l);
	if (pid < 0) {
		if (!c->fail.code)
			fail_stage(c, "fork", errno);
		return;
	}
	if (l.stage) {
		fail_stage(c, l.stage, l.err);
		if (!strcmp(l.stage, "exec")) {
			c->fail.path = (const uint8_t *)l.argv[0];
			c->fail.path_len = strnlen(l.argv[0], WIRE_MAX_PATH);
		} else if (!strcmp(l.stage, "cwd")) {
			c->fail.path = (const uint8_t *)l.cwd;
			c->fail.path_len = strlen(l.cwd);
		}
		close_fd(&c->ret_fd);
		return;
	}
	c->aux = pid;
	mp_map(&c->out, 1);
	mp_put_int(&c->out, "pid", pid);
}
