#include "procfs.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent.h"
#include "fs_path.h"
#include "machine.h"
#include "members.h"
#include "ops.h"
#include "pool.h"
#include "principal.h"
#include "proc.h"
#include "stream.h"

#define MAX_COMMAND 1024
#define BATCH_SIZE (16u * 1024u)

enum { N_PROCS, N_STREAMS, N_FILES, N_WORKERS, N_SIGNALS, N_REQUESTS, N_CONTROL };

size_t read_command(pid_t pid, const char *name, char *out, size_t size)
{
	char path[64];
	snprintf(path, sizeof(path), "/proc/%d/cmdline", (int)pid);
	ssize_t n = read_text(path, out, size);
	while (n > 0 && out[n - 1] == '\0')
		n--;
	if (n <= 0)
		return (size_t)snprintf(out, size, "[%s]", name);
	for (ssize_t i = 0; i < n; i++) {
		if (out[i] == '\0')
			out[i] = ' ';
	}
	return (size_t)n;
}

int64_t read_status_number(const char *status, const char *key)
{
	const char *at = strstr(status, key);
	return at ? strtoll(at + strlen(key), NULL, 10) : -1;
}

int64_t read_blocked_call(const char *task)
{
	char path[96], text[256];
	snprintf(path, sizeof(path), "%s/syscall", task);
	if (read_text(path, text, sizeof(text)) <= 0 || !(isdigit((unsigned char)text[0]) || text[0] == '-'))
		return -1;
	return strtoll(text, NULL, 10);
}

unsigned count_entries(const char *path)
{
	unsigned count = 0;
	DIR *dir = opendir(path);
	if (!dir)
		return 0;
	for (struct dirent *e; (e = readdir(dir));)
		count += e->d_name[0] != '.';
	closedir(dir);
	return count;
}

static void put_process(struct buf *b, const struct member *m)
{
	char task[64], path[96], status[2048] = "", wchan[128] = "", command[MAX_COMMAND];
	char state[2] = { m->state, '\0' };
	snprintf(task, sizeof(task), "/proc/%d", (int)m->pid);
	snprintf(path, sizeof(path), "%s/status", task);
	read_text(path, status, sizeof(status));
	snprintf(path, sizeof(path), "%s/wchan", task);
	if (read_text(path, wchan, sizeof(wchan)) <= 0 || !strcmp(wchan, "0"))
		wchan[0] = '\0';
	snprintf(path, sizeof(path), "%s/fd", task);
	size_t len = read_command(m->pid, m->command, command, sizeof(command));
	mp_map(b, 12);
	mp_put_int(b, "pid", m->pid);
	mp_put_int(b, "ppid", m->ppid);
	mp_put_int(b, "pgid", m->pgid);
	mp_put_int(b, "sid", m->sid);
	mp_put_str(b, "state", state);
	mp_put_bin(b, "command", command, len);
	mp_put_int(b, "threads", m->threads);
	mp_put_int(b, "uid", read_status_number(status, "\nUid:"));
	mp_put_bin(b, "wchan", wchan, strlen(wchan));
	mp_put_int(b, "syscall", read_blocked_call(task));
	mp_put_int(b, "fds", count_entries(path));
	mp_put_uint(b, "startTicks", m->ticks);
}

static int send_processes(struct call *c, DIR *dir, struct buf *batch, uint32_t *count)
{
	for (;;) {
		struct member m;
		struct dirent *e = readdir(dir);
		if (!e || batch->len >= BATCH_SIZE) {
			int result = batch->failed ? -ENOMEM : write_all(c, c->fds[0], batch->data, batch->len);
			if (!e || result)
				return result;
			batch->len = 0;
		}
		if (!isdigit((unsigned char)e->d_name[0]) || read_member((pid_t)strtol(e->d_name, NULL, 10), &m))
			continue;
		put_process(batch, &m);
		++*count;
	}
}

void op_processes(struct call *c)
{
	struct buf batch = { 0 };
	uint32_t count = 0;
	DIR *dir = opendir("/proc");
	if (!dir) {
		fail_errno(c, errno);
		return;
	}
	int result = send_processes(c, dir, &batch, &count);
	closedir(dir);
	buf_free(&batch);
	if (result) {
		fail_errno(c, -result);
		return;
	}
	mp_map(&c->out, 1);
	mp_put_uint(&c->out, "count", count);
}

static unsigned count_zombies(void)
{
	unsigned count = 0;
	DIR *dir = opendir("/proc");
	if (!dir)
		return 0;
	for (struct dirent *e; (e = readdir(dir));) {
		struct member m;
		if (isdigit((unsigned char)e->d_name[0]) &&
		    !read_member((pid_t)strtol(e->d_name, NULL, 10), &m) && m.ppid == getpid())
			count += m.state == 'Z';
	}
	closedir(dir);
	return count;
}

/* What only the loop knows; the rest is read by a thread. */
int start_counters(struct call *c)
{
	c->nums[N_PROCS] = procs_count();
	c->nums[N_STREAMS] = streams_count();
	c->nums[N_FILES] = principals_files();
	c->nums[N_WORKERS] = workers_count();
	c->nums[N_SIGNALS] = (int64_t)agent.signals_sent;
	c->nums[N_REQUESTS] = (int64_t)agent.requests;
	c->nums[N_CONTROL] = (int64_t)agent.control_ops;
	return 0;
}

void op_counters(struct call *c)
{
	char status[2048] = "", memory[512] = "";
	read_text("/proc/self/status", status, sizeof(status));
	/* Newer kernels keep the figure in `status` per CPU, and late; this one they count anew. */
	read_text("/proc/self/smaps_rollup", memory, sizeof(memory));
	int64_t rss = read_status_number(memory, "\nRss:");
	mp_map(&c->out, 11);
	mp_put_int(&c->out, "fds", count_entries("/proc/self/fd"));
	mp_put_int(&c->out, "threads", read_status_number(status, "\nThreads:"));
	mp_put_int(&c->out, "procs", c->nums[N_PROCS]);
	mp_put_int(&c->out, "streams", c->nums[N_STREAMS]);
	mp_put_int(&c->out, "files", c->nums[N_FILES]);
	mp_put_int(&c->out, "workers", c->nums[N_WORKERS]);
	mp_put_int(&c->out, "rssKb", rss >= 0 ? rss : read_status_number(status, "\nVmRSS:"));
	mp_put_int(&c->out, "signalsSent", c->nums[N_SIGNALS]);
	mp_put_int(&c->out, "requests", c->nums[N_REQUESTS]);
	mp_put_int(&c->out, "zombies", count_zombies());
	mp_put_int(&c->out, "controlOps", c->nums[N_CONTROL]);
}
