#include "members.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define ENVIRON_LIMIT (256u * 1024u)
/* How often, and after how long, a process is looked at again that is about to become a program. */
#define EXEC_TRIES 100
#define EXEC_LOOK_US 1000
/* An environment that is empty so often is so; at first it is for a moment, before it is filled. */
#define EMPTY_LOOKS 5
/* Members that fork while they are being signalled: their children get their turn, up to here. */
#define SIGNAL_ROUNDS 16

int read_member(pid_t pid, struct member *out)
{
	char path[64], text[1024];
	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	ssize_t n = read_text(path, text, sizeof(text));
	if (n < 0)
		return (int)n;
	/* The name may hold anything, parentheses included: the last one closes it. */
	char *open_at = strchr(text, '('), *close_at = strrchr(text, ')');
	if (!open_at || !close_at || close_at < open_at)
		return -EBADMSG;
	int ppid, pgid, sid;
	long threads;
	unsigned long long ticks;
	char state;
	if (sscanf(close_at + 1, " %c %d %d %d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %ld %*d %llu",
		   &state, &ppid, &pgid, &sid, &threads, &ticks) != 6)
		return -EBADMSG;
	*out = (struct member){ .pid = pid, .ppid = ppid, .pgid = pgid, .sid = sid, .state = state,
				.ticks = ticks, .threads = (uint32_t)threads };
	size_t len = (size_t)(close_at - open_at - 1);
	if (len >= sizeof(out->command))
		len = sizeof(out->command) - 1;
	memcpy(out->command, open_at + 1, len);
	return 0;
}

static bool is_live(const struct member *m)
{
	return m->state != 'Z' && m->state != 'X' && m->state != 'x';
}

static void add_member(struct members *m, const struct member *one)
{
	if (m->count == m->cap) {
		size_t cap = m->cap ? m->cap * 2 : 32;
		struct member *list = realloc(m->list, cap * sizeof(*list));
		if (!list)
			return;
		m->list = list;
		m->cap = cap;
	}
	m->list[m->count++] = *one;
}

void free_members(struct members *m)
{
	free(m->list);
	*m = (struct members){ 0 };
}

static void add_pid(pid_t pid, void *arg)
{
	struct member one;
	if (!read_member(pid, &one) && is_live(&one))
		add_member(arg, &one);
}

/*
 * Whether an environment that was read as empty may not be so. In the middle of an execve there is none yet, and a file
 * that was opened before it shows the memory that is being given up.
 */
static bool may_have_environ(pid_t pid, int tries)
{
	char path[64], text[1024], state;
	unsigned long long size, start, end;
	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	if (read_text(path, text, sizeof(text)) < 0)
		return false;
	const char *close_at = strrchr(text, ')');
	if (!close_at ||
	    sscanf(close_at + 1,
		   " %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %*u %llu"
		   " %*d %*u %*u %*u %*u %*u %*u %*u %*u %*u %*u %*u %*u %*u %*d %*d %*u %*u %*u %*u %*d"
		   " %*u %*u %*u %*u %*u %llu %llu",
		   &state, &size, &start, &end) != 4)
		return false;
	/* Without memory of its own it is a zombie, or a thread of the kernel. */
	return state != 'Z' && state != 'X' && size > 0 && (end == 0 || end > start || tries < EMPTY_LOOKS);
}

static size_t read_environ(pid_t pid, char *text)
{
	char path[64];
	snprintf(path, sizeof(path), "/proc/%d/environ", (int)pid);
	for (int tries = 0; tries < EXEC_TRIES; tries++) {
		CLEANUP_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
		size_t len = 0;
		ssize_t n = -1;
		while (fd >= 0 && len < ENVIRON_LIMIT && (n = read(fd, text + len, ENVIRON_LIMIT - len)) > 0)
			len += (size_t)n;
		if (len > 0 || n < 0 || !may_have_environ(pid, tries))
			return len;
		usleep(EXEC_LOOK_US);
	}
	return 0;
}

bool has_env(pid_t pid, const char *name, const char *value)
{
	bool found = false;
	CLEANUP_FREE char *text = malloc(ENVIRON_LIMIT);
	if (!text)
		return false;
	size_t len = read_environ(pid, text), name_len = strlen(name), value_len = strlen(value);
	for (char *at = text; at < text + len && !found;) {
		size_t left = len - (size_t)(at - text), used = strnlen(at, left);
		found = used == name_len + 1 + value_len && at[name_len] == '=' &&
			!memcmp(at, name, name_len) && !memcmp(at + name_len + 1, value, value_len);
		at += used + 1;
	}
	return found;
}

static void read_all(struct members *all)
{
	DIR *dir = opendir("/proc");
	if (!dir)
		return;
	for (struct dirent *e; (e = readdir(dir));) {
		if (isdigit((unsigned char)e->d_name[0]))
			add_pid((pid_t)strtol(e->d_name, NULL, 10), all);
	}
	closedir(dir);
}

static bool is_in(const struct members *m, pid_t pid)
{
	for (size_t i = 0; i < m->count; i++) {
		if (m->list[i].pid == pid)
			return true;
	}
	return false;
}

/* Without a control group: its session and group, what carries its token, and all descendants of those. */
static int scan_members(const struct job *job, struct members *out)
{
	struct members all = { 0 };
	read_all(&all);
	for (size_t i = 0; i < all.count; i++) {
		const struct member *m = &all.list[i];
		/* A group's number is not used again while the group has members; older ones are of a former user. */
		bool same_group = (m->pgid == job->leader || m->sid == job->leader) && m->ticks >= job->leader_ticks;
		if (m->pid != getpid() && (same_group || has_env(m->pid, "BELLJAR_JOB", job->token)))
			add_member(out, m);
	}
	for (bool grew = true; grew;) {
		grew = false;
		for (size_t i = 0; i < all.count; i++) {
			if (is_in(out, all.list[i].pid) || !is_in(out, all.list[i].ppid))
				continue;
			add_member(out, &all.list[i]);
			grew = true;
		}
	}
	free_members(&all);
	return 0;
}

int find_members(const struct job *job, struct members *out)
{
	*out = (struct members){ 0 };
	if (job->cgroup < 0)
		return scan_members(job, out);
	cgroup_each(job->cgroup, add_pid, out);
	return 0;
}

int count_members(const struct job *job)
{
	struct members m;
	if (job->cgroup >= 0)
		return cgroup_each(job->cgroup, NULL, NULL);
	find_members(job, &m);
	int count = (int)m.count;
	free_members(&m);
	return count;
}

int signal_member(const struct member *m, int sig)
{
	struct member now;
	CLEANUP_FD int fd = (int)syscall(SYS_pidfd_open, m->pid, 0);
	if (fd < 0 && errno != ENOSYS)
		return 0;
	/* The descriptor holds the process; only now can its start time be compared. */
	if (read_member(m->pid, &now) || now.ticks != m->ticks || !is_live(&now))
		return 0;
	long result = fd >= 0 ? syscall(SYS_pidfd_send_signal, fd, sig, NULL, 0) : kill(m->pid, sig);
	return result == 0;
}

static bool was_signalled(const struct members *done, const struct member *m)
{
	for (size_t i = 0; i < done->count; i++) {
		if (done->list[i].pid == m->pid && done->list[i].ticks == m->ticks)
			return true;
	}
	return false;
}

static int kill_cgroup(const struct job *job)
{
	CLEANUP_FD int fd = cgroup_open(job->cgroup, "cgroup.kill", O_WRONLY);
	if (fd < 0)
		return fd;
	int count = count_members(job);
	return write_full(fd, "1", 1) ? -errno : count;
}

int signal_job(const struct job *job, int sig)
{
	if (sig == SIGKILL && job->cgroup >= 0) {
		int count = kill_cgroup(job);
		if (count >= 0)
			return count;
	}
	struct members done = { 0 };
	int count = 0;
	for (int round = 0; round < SIGNAL_ROUNDS; round++) {
		struct members now;
		bool grew = false;
		find_members(job, &now);
		for (size_t i = 0; i < now.count; i++) {
			if (was_signalled(&done, &now.list[i]))
				continue;
			count += signal_member(&now.list[i], sig);
			add_member(&done, &now.list[i]);
			grew = true;
		}
		free_members(&now);
		if (!grew)
			break;
	}
	free_members(&done);
	return count;
}
