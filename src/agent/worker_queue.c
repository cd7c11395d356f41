/* Requests to a worker, one at a time, and its answers. */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "async_calls.h"
#include "dispatch.h"
#include "principal.h"
#include "worker_state.h"

static void flush(struct worker *w)
{
	while (w->out_at < w->out.len) {
		ssize_t n = send(w->src.fd, w->out.data + w->out_at, w->out.len - w->out_at, MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return;
		w->out_at += (size_t)n;
	}
	w->out.len = w->out_at = 0;
}

/* Sends the first request, if the worker has none. */
void worker_send_next(struct worker *w)
{
	struct call *c = w->head;
	int fds[CALL_FDS];
	unsigned count = 0;
	if (!c || w->is_busy || w->is_gone)
		return;
	struct worker_request head = { .serial = c->serial, .len = (uint32_t)c->body_len, .is_pty = c->is_pty };
	memcpy(head.token, c->token, sizeof(head.token));
	for (int i = 0; i < CALL_FDS; i++) {
		if (c->fds[i] < 0)
			continue;
		head.fd_mask |= 1u << i;
		fds[count++] = c->fds[i];
	}
	w->is_busy = true;
	c->state = CALL_RUNNING;
	buf_put(&w->out, &head, sizeof(head));
	buf_put(&w->out, c->body, c->body_len);
	ssize_t n = send_with_fds(w->src.fd, w->out.data, w->out.len, fds, count);
	for (int i = 0; i < CALL_FDS; i++)
		close_fd(&c->fds[i]);
	if (n < 0 || w->out.failed) {
		/* Its socket is empty whenever it has no request: this one is broken, and so is the worker. */
		w->out.len = 0;
		kill(w->pid, SIGKILL);
		return;
	}
	w->out_at = (size_t)n;
	flush(w);
}

void worker_submit(struct call *c)
{
	struct worker *w = worker_find(c->principal);
	if (!w) {
		for (int i = 0; i < CALL_FDS; i++)
			close_fd(&c->fds[i]);
		fail_code(c, "workerGone", "worker %d has ended", c->principal);
		call_ran(c);
		return;
	}
	c->worker = w;
	c->queue_next = NULL;
	if (w->tail)
		w->tail->queue_next = c;
	else
		w->head = c;
	w->tail = c;
	worker_send_next(w);
}

bool worker_withdraw(struct call *c)
{
	struct worker *w = c->worker;
	if (c->state != CALL_QUEUED)
		return false;
	for (struct call *at = w->head; at && at->queue_next; at = at->queue_next) {
		if (at->queue_next != c)
			continue;
		at->queue_next = c->queue_next;
		if (w->tail == c)
			w->tail = at;
		break;
	}
	c->worker = NULL;
	return true;
}

void worker_nudge(struct call *c)
{
	struct worker *w = c->worker;
	atomic_store(&w->shared->cancel, c->serial);
	kill(w->pid, CANCEL_SIGNAL);
}

static void take_answer(struct worker *w, const struct worker_answer *head, const uint8_t *payload)
{
	struct call *c = w->head;
	if (head->kind == WORKER_RETURNED) {
		struct buf b = { .data = (uint8_t *)(uintptr_t)payload, .len = head->len };
		async_call_returned(w->number, head->serial, &b);
		return;
	}
	if (!c || !w->is_busy || c->serial != head->serial)
		return;
	w->head = c->queue_next;
	if (!w->head)
		w->tail = NULL;
	w->is_busy = false;
	c->worker = NULL;
	c->aux = head->aux;
	c->ret_fd = w->in_fd;
	w->in_fd = -1;
	buf_put(&c->out, payload, head->len);
	if (head->kind == WORKER_ERROR)
		fail_encoded(c);
	else if (c->op == OP_FILE_OPEN)
		w->files++;
	else if (c->op == OP_FILE_CLOSE && w->files > 0)
		w->files--;
	call_ran(c);
	worker_send_next(w);
}

static bool read_some(struct worker *w)
{
	unsigned count = 0;
	int fd = -1;
	if (!buf_reserve(&w->in, 64 * 1024))
		return false;
	ssize_t n = receive_with_fds(w->src.fd, w->in.data + w->in.len, w->in.cap - w->in.len, &fd, 1, &count);
	if (count > 0) {
		close_fd(&w->in_fd);
		w->in_fd = fd;
	}
	if (n <= 0)
		return false;
	w->in.len += (size_t)n;
	return true;
}

void worker_take_answers(struct worker *w)
{
	flush(w);
	while (read_some(w)) {
		size_t at = 0;
		struct worker_answer head;
		while (w->in.len - at >= sizeof(head)) {
			memcpy(&head, w->in.data + at, sizeof(head));
			if (head.len > WIRE_MAX_PAYLOAD) {
				kill(w->pid, SIGKILL);
				return;
			}
			if (w->in.len - at - sizeof(head) < head.len)
				break;
			take_answer(w, &head, w->in.data + at + sizeof(head));
			at += sizeof(head) + head.len;
		}
		memmove(w->in.data, w->in.data + at, w->in.len - at);
		w->in.len -= at;
	}
}

void worker_ready(struct source *s, uint32_t events)
{
	(void)events;
	worker_take_answers(container_of(s, struct worker, src));
}
