#include "principal.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "async_calls.h"
#include "cgroup.h"
#include "dispatch.h"
#include "handles.h"
#include "proc.h"
#include "watch.h"
#include "worker_spawn.h"
#include "worker_state.h"

#define MAX_WORKERS 1024

static struct worker *workers;

struct worker *worker_find(uint16_t number)
{
	for (struct worker *w = workers; w; w = w->next) {
		if (w->number == number && !w->is_gone)
			return w;
	}
	return NULL;
}

bool worker_exists(uint16_t number)
{
	const struct worker *w = worker_find(number);
	return w && !w->is_starting;
}

pid_t worker_pid(uint16_t number)
{
	const struct worker *w = worker_find(number);
	return w ? w->pid : 0;
}

unsigned workers_count(void)
{
	unsigned count = 0;
	for (const struct worker *w = workers; w; w = w->next)
		count += !w->is_gone;
	return count;
}

unsigned principals_files(void)
{
	unsigned count = handles_count();
	for (const struct worker *w = workers; w; w = w->next)
		count += w->files;
	return count;
}

static void free_worker(struct worker *w)
{
	struct worker **at = &workers;
	while (*at != w)
		at = &(*at)->next;
	*at = w->next;
	loop_remove(&w->src);
	close_fd(&w->src.fd);
	close_fd(&w->in_fd);
	if (w->shared)
		munmap(w->shared, sizeof(*w->shared));
	buf_free(&w->out);
	buf_free(&w->in);
	free(w);
}

static int open_shared(struct worker *w)
{
	int fd = memfd_create("belljar-worker", MFD_CLOEXEC);
	if (fd < 0 || ftruncate(fd, sizeof(*w->shared)) < 0) {
		close_fd(&fd);
		return -errno;
	}
	w->shared = mmap(NULL, sizeof(*w->shared), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (w->shared == MAP_FAILED) {
		w->shared = NULL;
		close(fd);
		return -ENOMEM;
	}
	return fd;
}

static int open_worker(struct call *c, struct worker *w)
{
	int pair[2];
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	c->fds[0] = pair[1];
	w->src = (struct source){ .fd = pair[0], .ready = worker_ready };
	c->fds[1] = open_shared(w);
	if (c->fds[1] < 0)
		return c->fds[1];
	/* So that a worker which is stuck when the agent is lost can be found by its successor. */
	int group = cgroup_open_workers();
	c->fds[2] = group < 0 ? -1 : group;
	int result = set_nonblock(w->src.fd, true);
	return result ? result : loop_add(&w->src, EPOLLIN | EPOLLOUT);
}

int start_worker_spawn(struct call *c)
{
	int64_t number;
	if (!get_ranged(c, F_WORKER_SPAWN_WORKER, 1, UINT16_MAX, &number))
		return -EINVAL;
	if (worker_find((uint16_t)number) || workers_count() >= MAX_WORKERS) {
		fail_code(c, "limit", "worker %lld is in use, or there are too many", (long long)number);
		return -EEXIST;
	}
	struct worker *w = calloc(1, sizeof(*w));
	if (!w) {
		fail_errno(c, ENOMEM);
		return -ENOMEM;
	}
	w->number = (uint16_t)number;
	w->src.fd = w->in_fd = -1;
	w->conn = c->conn;
	w->is_starting = true;
	w->next = workers;
	workers = w;
	c->subject = w;
	reap_expect(1);
	int result = open_worker(c, w);
	if (result)
		fail_errno(c, -result);
	return result;
}

static void send_exit(const struct worker *w, const struct exit_info *info)
{
	struct buf b = { 0 };
	mp_map(&b, 2);
	mp_put_str(&b, "ev", EV_WORKER_EXIT);
	mp_put_int(&b, info->how == CLD_EXITED ? "code" : "sig", info->status);
	send_event(w->conn ? w->conn : conn_operating(), w->number, w->number, &b);
	buf_free(&b);
}

static void end_init_if_unused(struct worker *w)
{
	if (w->init > 0 && w->is_gone && !procs_of_worker(w->number)) {
		kill(w->init, SIGKILL);
		w->init = 0;
	}
	if (w->is_gone && w->init == 0)
		free_worker(w);
}

static void worker_ended(struct worker *w, const struct exit_info *info)
{
	struct call *c;
	/* What it has answered before its end still counts. */
	worker_take_answers(w);
	w->is_gone = true;
	while ((c = w->head)) {
		w->head = c->queue_next;
		c->worker = NULL;
		for (int i = 0; i < CALL_FDS; i++)
			close_fd(&c->fds[i]);
		fail_code(c, "workerGone", "worker %d has ended", w->number);
		call_ran(c);
	}
	w->tail = NULL;
	w->files = 0;
	loop_remove(&w->src);
	close_fd(&w->src.fd);
	async_calls_worker_gone(w->number);
	send_exit(w, info);
	end_init_if_unused(w);
}

void finish_worker_spawn(struct call *c)
{
	struct worker *w = c->subject;
	struct exit_info info;
	if (!w)
		return;
	w->is_starting = false;
	w->init = c->nums[SPAWNED_HAS_INIT] ? (pid_t)c->nums[SPAWNED_INIT] : 0;
	if (c->fail.code || (!c->conn && call_cancelled(c))) {
		if (w->init > 0)
			kill(w->init, SIGKILL);
		if (!c->fail.code)
			kill((pid_t)c->aux, SIGKILL);
		free_worker(w);
	} else {
		w->pid = (pid_t)c->aux;
		if (reap_take_early(w->pid, &info))
			worker_ended(w, &info);
	}
	reap_expect(-1);
}

bool worker_child_changed(const struct exit_info *info)
{
	for (struct worker *w = workers; w; w = w->next) {
		if (w->init == info->pid && (info->how == CLD_EXITED || info->how == CLD_KILLED)) {
			w->init = 0;
			end_init_if_unused(w);
			return true;
		}
		if (w->pid != info->pid || w->is_gone)
			continue;
		if (info->how == CLD_EXITED || info->how == CLD_KILLED || info->how == CLD_DUMPED)
			worker_ended(w, info);
		return true;
	}
	return false;
}

void principal_proc_ended(uint16_t number)
{
	for (struct worker *w = workers, *next; w; w = next) {
		next = w->next;
		if (w->number == number && w->is_gone)
			end_init_if_unused(w);
	}
}

int start_worker_close(struct call *c)
{
	const struct worker *w = worker_find((uint16_t)get_int(c, F_WORKER_CLOSE_WORKER));
	if (!w || w->is_starting)
		return fail_no_id(c, "worker", get_int(c, F_WORKER_CLOSE_WORKER));
	/* It reads to the end of its requests, and ends. */
	shutdown(w->src.fd, SHUT_WR);
	return 0;
}

int start_worker_signal(struct call *c)
{
	int64_t sig;
	const struct worker *w = worker_find((uint16_t)get_int(c, F_WORKER_SIGNAL_WORKER));
	if (!w || w->is_starting)
		return fail_no_id(c, "worker", get_int(c, F_WORKER_SIGNAL_WORKER));
	if (!get_ranged(c, F_WORKER_SIGNAL_SIG, 0, 64, &sig))
		return -EINVAL;
	if (kill(w->pid, (int)sig) < 0) {
		fail_errno(c, errno);
		return -errno;
	}
	return 0;
}

void workers_kill_all(void)
{
	for (struct worker *w = workers; w; w = w->next) {
		if (w->pid > 0 && !w->is_gone)
			kill(w->pid, SIGKILL);
		if (w->init > 0)
			kill(w->init, SIGKILL);
	}
}

void subjects_conn_lost(struct conn *c)
{
	for (struct worker *w = workers; w; w = w->next) {
		if (w->conn == c)
			w->conn = NULL;
	}
	procs_conn_lost(c);
	async_calls_conn_lost(c);
	watches_conn_lost(c);
}
