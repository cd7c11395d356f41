#include "async_calls.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "async_call.h"
#include "dispatch.h"
#include "ops.h"
#include "principal.h"
#include "procfs.h"

/* Ended calls stay known for a while: their state may be asked while the event is on its way. */
#define KEPT_CALLS 256
#define NAG_MS 10

enum { STATE_RUNNING, STATE_BLOCKED, STATE_DONE };
enum { N_PID, N_TID, N_NR };

struct pending {
	struct pending *next;
	uint64_t id;
	uint16_t principal;
	struct conn *conn;
	pid_t pid;
	pid_t tid;
	int64_t nr;
	bool is_done;
	/* Interrupted until it returns. */
	struct timer nag;
};

static struct pending *pending;

static struct pending *find(uint64_t id)
{
	for (struct pending *p = pending; p; p = p->next) {
		if (p->id == id)
			return p;
	}
	return NULL;
}

static void drop(struct pending *p)
{
	struct pending **at = &pending;
	while (*at != p)
		at = &(*at)->next;
	*at = p->next;
	timer_clear(&p->nag);
	free(p);
}

static void drop_oldest(void)
{
	unsigned kept = 0;
	for (struct pending *p = pending, *next; p; p = next) {
		next = p->next;
		if (p->is_done && ++kept > KEPT_CALLS)
			drop(p);
	}
}

static void end_call(struct pending *p)
{
	timer_clear(&p->nag);
	p->is_done = true;
	drop_oldest();
}

void async_call_returned(uint16_t principal, uint64_t id, const struct buf *payload)
{
	struct pending *p = find(id);
	if (!p || p->is_done || p->principal != principal)
		return;
	send_event(p->conn, id, principal, payload);
	end_call(p);
}

static void own_returned(struct post *post)
{
	struct async_call *a = container_of(post, struct async_call, post);
	struct buf b = { 0 };
	async_put_event(&b, a);
	async_call_returned(0, a->id, &b);
	buf_free(&b);
	async_free(a);
}

static void own_done(struct async_call *a)
{
	a->post.run = own_returned;
	loop_post(&a->post);
}

void async_calls_init(void)
{
	async_done = own_done;
}

int start_syscall_async(struct call *c)
{
	uint64_t id = get_bits(c, F_SYSCALL_ASYNC_CALL);
	struct pending *p = find(id) ? NULL : calloc(1, sizeof(*p));
	if (!p) {
		fail_code(c, "format", "call %lld is in use", (long long)id);
		return -EEXIST;
	}
	*p = (struct pending){ .next = pending, .id = id, .principal = c->principal, .conn = c->conn,
			       .nr = get_int(c, F_SYSCALL_ASYNC_NR) };
	pending = p;
	if (id > c->conn->max_id)
		c->conn->max_id = id;
	c->nums[0] = (int64_t)id;
	return 0;
}

/* A worker in a namespace of processes counts its threads otherwise than we do. */
static pid_t our_number(pid_t pid, pid_t tid)
{
	char path[96], status[2048];
	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	DIR *dir = opendir(path);
	pid_t found = tid;
	if (!dir)
		return tid;
	for (struct dirent *e; (e = readdir(dir));) {
		snprintf(path, sizeof(path), "/proc/%d/task/%.16s/status", (int)pid, e->d_name);
		if (!isdigit((unsigned char)e->d_name[0]) || read_text(path, status, sizeof(status)) < 0)
			continue;
		char *at = strstr(status, "\nNSpid:");
		if (!at)
			continue;
		char *line = at + 7, *last;
		line[strcspn(line, "\n")] = '\0';
		last = strrchr(line, '\t');
		if (last && strtol(last, NULL, 10) == tid) {
			found = (pid_t)strtol(e->d_name, NULL, 10);
			break;
		}
	}
	closedir(dir);
	return found;
}

void finish_syscall_async(struct call *c)
{
	struct pending *p = find((uint64_t)c->nums[0]);
	if (!p || p->principal != c->principal || p->tid != 0)
		return;
	if (c->fail.code) {
		if (c->nums[0] == get_int(c, F_SYSCALL_ASYNC_CALL))
			drop(p);
		return;
	}
	p->pid = c->principal ? worker_pid(c->principal) : getpid();
	p->tid = c->principal ? our_number(p->pid, (pid_t)c->aux) : (pid_t)c->aux;
}

int start_syscall_state(struct call *c)
{
	const struct pending *p = find(get_bits(c, F_SYSCALL_STATE_CALL));
	if (!p)
		return fail_no_id(c, "call", get_int(c, F_SYSCALL_STATE_CALL));
	c->nums[N_PID] = p->pid;
	c->nums[N_TID] = p->is_done ? 0 : p->tid;
	c->nums[N_NR] = p->nr;
	return 0;
}

static char letter_of(const char *task)
{
	char path[96], text[512];
	snprintf(path, sizeof(path), "%s/stat", task);
	if (read_text(path, text, sizeof(text)) <= 0)
		return '\0';
	const char *at = strrchr(text, ')');
	return at && at[1] == ' ' ? at[2] : '\0';
}

void op_syscall_state(struct call *c)
{
	char task[64], path[96], wchan[128] = "";
	int state = STATE_DONE;
	int64_t nr = -1;
	if (c->nums[N_TID] > 0) {
		snprintf(task, sizeof(task), "/proc/%lld/task/%lld", (long long)c->nums[N_PID],
			 (long long)c->nums[N_TID]);
		char letter = letter_of(task);
		nr = read_blocked_call(task);
		snprintf(path, sizeof(path), "%s/wchan", task);
		if (read_text(path, wchan, sizeof(wchan)) <= 0 || !strcmp(wchan, "0"))
			wchan[0] = '\0';
		/* Asleep in another call than the one asked for, it is on its way into that or out of it. */
		bool asleep = letter == 'S' || letter == 'D' || letter == 'T';
		bool inside = nr == c->nums[N_NR] || (nr == -1 && asleep);
		state = letter == '\0' ? STATE_DONE : asleep && inside ? STATE_BLOCKED : STATE_RUNNING;
	}
	mp_map(&c->out, 3);
	mp_put_int(&c->out, "state", state);
	mp_put_int(&c->out, "nr", nr);
	mp_put_bin(&c->out, "wchan", wchan, strlen(wchan));
}

static void interrupt(struct timer *t)
{
	struct pending *p = container_of(t, struct pending, nag);
	/* A signal may come before the call has begun to wait: again, until it has returned. */
	if (syscall(SYS_tgkill, p->pid, p->tid, CANCEL_SIGNAL) == 0)
		timer_set(&p->nag, NAG_MS);
}

static void cancel(struct pending *p)
{
	if (p->is_done || p->tid == 0)
		return;
	p->nag.fire = interrupt;
	interrupt(&p->nag);
}

int start_syscall_cancel(struct call *c)
{
	struct pending *p = find(get_bits(c, F_SYSCALL_CANCEL_CALL));
	if (!p)
		return fail_no_id(c, "call", get_int(c, F_SYSCALL_CANCEL_CALL));
	cancel(p);
	return 0;
}

void async_calls_worker_gone(uint16_t principal)
{
	for (struct pending *p = pending, *next; p; p = next) {
		next = p->next;
		if (p->principal == principal)
			drop(p);
	}
}

void async_calls_conn_lost(struct conn *c)
{
	for (struct pending *p = pending, *next; p; p = next) {
		next = p->next;
		if (p->conn != c)
			continue;
		p->conn = NULL;
		/* Nobody can ask for it any more. */
		cancel(p);
		if (p->is_done)
			drop(p);
	}
}
