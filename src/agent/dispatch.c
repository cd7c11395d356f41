#include "dispatch.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "agent.h"
#include "pool.h"
#include "principal.h"

#define MAX_CALLS 4096u
#define MAX_CALL_BYTES (64u * 1024u * 1024u)
/* A signal may come just before the call that it shall interrupt: it is sent until the call returns. */
#define NAG_MS 10

static struct call *calls, *calls_tail;
static unsigned calls_count;
static size_t calls_bytes;

static void link_call(struct call *c)
{
	c->prev = calls_tail;
	if (calls_tail)
		calls_tail->next = c;
	else
		calls = c;
	calls_tail = c;
	calls_count++;
	calls_bytes += c->body_len;
}

static void unlink_call(struct call *c)
{
	if (c->prev)
		c->prev->next = c->next;
	else
		calls = c->next;
	if (c->next)
		c->next->prev = c->prev;
	else
		calls_tail = c->prev;
	calls_count--;
	calls_bytes -= c->body_len;
}

static bool uses_file(const struct call *c)
{
	return c->principal == 0 && c->op > OP_FILE_OPEN && c->op <= OP_FILE_CLOSE;
}

/* Every operation on an open file has its id first. */
static bool same_file(const struct call *a, const struct call *b)
{
	return uses_file(a) && uses_file(b) && get_int(a, 0) == get_int(b, 0);
}

static void submit_next_of_file(const struct call *done)
{
	for (struct call *c = calls; c; c = c->next) {
		if (same_file(done, c) && c->waits_for_file) {
			c->waits_for_file = false;
			pool_submit(c);
			return;
		}
	}
}

static bool is_read_of_file(const struct call *c, const void *key)
{
	return c->op == OP_FILE_READ && same_file(c, key);
}

/* Whether an earlier operation on the same file has to end first. */
static bool has_to_wait(struct call *c)
{
	/* A read may wait for ever, and nobody wants its bytes any more. */
	if (c->op == OP_FILE_CLOSE)
		calls_cancel_if(is_read_of_file, c);
	for (struct call *at = c->prev; at; at = at->prev) {
		if (same_file(at, c) && at->state != CALL_RAN)
			return true;
	}
	return false;
}

void call_answer(struct call *c)
{
	if (c->conn && c->conn->is_live) {
		struct buf b = { 0 };
		if (!c->fail.code && c->out.len > WIRE_MAX_PAYLOAD)
			fail_code(c, "limit", "the reply has %zu bytes", c->out.len);
		if (c->fail.is_encoded) {
			conn_send(c->conn, FRAME_ERROR, c->principal, c->id, c->out.data, c->out.len);
		} else if (c->fail.code) {
			put_failure(&b, c->op, &c->fail);
			conn_send(c->conn, FRAME_ERROR, c->principal, c->id, b.data, b.len);
		} else {
			conn_send(c->conn, FRAME_REPLY, c->principal, c->id, c->out.data, c->out.len);
		}
		buf_free(&b);
	}
	if (c->stream)
		c->stream->subject = NULL;
	unlink_call(c);
	call_free(c);
}

void call_ran(struct call *c)
{
	const struct plan *plan = plan_of(c->op);
	timer_clear(&c->nag);
	c->state = CALL_RAN;
	if (uses_file(c))
		submit_next_of_file(c);
	if (plan->finish)
		plan->finish(c);
	if (c->stream)
		c->answer_due = true;
	else
		call_answer(c);
}

void call_submit(struct call *c)
{
	enum lane lane = plan_of(c->op)->lane;
	c->state = CALL_QUEUED;
	bool forwarded = lane == LANE_FILES || lane == LANE_CALLS;
	if (forwarded && c->principal != 0) {
		worker_submit(c);
	} else if (lane == LANE_CALLS) {
		pinned_submit(c);
	} else {
		c->waits_for_file = uses_file(c) && has_to_wait(c);
		if (!c->waits_for_file)
			pool_submit(c);
	}
}

static bool withdraw(struct call *c)
{
	if (c->worker)
		return worker_withdraw(c);
	if (c->waits_for_file) {
		c->waits_for_file = false;
		return true;
	}
	return pool_withdraw(c);
}

static void nudge(struct call *c)
{
	if (c->worker)
		worker_nudge(c);
	else
		pool_nudge(c);
	timer_set(&c->nag, NAG_MS);
}

static void nag_again(struct timer *t)
{
	nudge(container_of(t, struct call, nag));
}

void call_cancel(struct call *c)
{
	if (c->stream)
		stream_discard(c->stream);
	if (c->state == CALL_RAN || call_cancelled(c))
		return;
	atomic_store(&c->own_cancel, c->serial);
	if (c->state == CALL_QUEUED && withdraw(c)) {
		for (int i = 0; i < CALL_FDS; i++)
			close_fd(&c->fds[i]);
		fail_code(c, "cancelled", "%s", "");
		call_ran(c);
		return;
	}
	c->nag.fire = nag_again;
	nudge(c);
}

void calls_cancel_if(bool (*match)(const struct call *c, const void *key), const void *key)
{
	bool again = true;
	while (again) {
		again = false;
		for (struct call *c = calls; c; c = c->next) {
			if (call_cancelled(c) || c->state == CALL_RAN || !match(c, key))
				continue;
			/* It may be gone after this, and others with it. */
			call_cancel(c);
			again = true;
			break;
		}
	}
}

int fail_no_id(struct call *c, const char *what, int64_t id)
{
	fail_code(c, "noSuchId", "there is no %s %lld", what, (long long)id);
	return -ENOENT;
}

struct call *call_internal(unsigned op)
{
	struct call *c = call_new();
	if (!c)
		return NULL;
	c->op = op;
	link_call(c);
	return c;
}

static void begin_call(struct call *c)
{
	const struct plan *plan = plan_of(c->op);
	bool forwarded = plan->lane == LANE_FILES || plan->lane == LANE_CALLS;
	int result = 0;
	if (c->principal != 0 && forwarded && !worker_exists(c->principal))
		result = fail_no_id(c, "worker", c->principal);
	if (!result && plan->start)
		result = plan->start(c);
	if (result) {
		for (int i = 0; i < CALL_FDS; i++)
			close_fd(&c->fds[i]);
		call_ran(c);
	} else if (plan->lane == LANE_LOOP) {
		if (c->out.len == 0)
			mp_map(&c->out, 0);
		call_answer(c);
	} else if (plan->lane != LANE_NONE) {
		call_submit(c);
	}
}

static int take_request(struct conn *conn, const struct frame_header *h, const uint8_t *payload)
{
	uint8_t *body = malloc(h->length + 1u);
	struct call *c = call_new();
	if (!c || !body) {
		free(body);
		free(c);
		return -ENOMEM;
	}
	memcpy(body, payload, h->length);
	c->conn = conn;
	c->id = h->id;
	c->principal = h->principal;
	if (h->id > conn->max_id)
		conn->max_id = h->id;
	agent.requests++;
	if (conn->is_control)
		agent.control_ops++;
	int bad = call_decode(c, body, h->length);
	link_call(c);
	if (!bad && (calls_count > MAX_CALLS || calls_bytes > MAX_CALL_BYTES)) {
		fail_code(c, "limit", "%u requests with %zu bytes are in progress", calls_count, calls_bytes);
		bad = -EBUSY;
	}
	if (bad)
		call_answer(c);
	else
		begin_call(c);
	return 0;
}

static void take_cancel(struct conn *conn, uint64_t id)
{
	for (struct call *c = calls; c; c = c->next) {
		if (c->conn == conn && c->id == id) {
			call_cancel(c);
			return;
		}
	}
}

int dispatch_frame(struct conn *conn, const struct frame_header *h, const uint8_t *payload)
{
	struct stream *s;
	switch (h->kind) {
	case FRAME_REQUEST:
		return take_request(conn, h, payload);
	case FRAME_CANCEL:
		take_cancel(conn, h->id);
		return 0;
	case FRAME_DATA:
	case FRAME_CREDIT:
	case FRAME_CLOSE:
		s = stream_find(conn, h->id);
		/* What was on its way when a stream ended is no fault; an id that was never drawn is. */
		if (!s)
			return h->id == 0 || h->id > conn->max_id ? -EBADMSG : 0;
		if (h->kind == FRAME_DATA)
			return h->length > WIRE_MAX_DATA ? -EBADMSG : stream_take_data(s, payload, h->length);
		if (h->kind == FRAME_CREDIT)
			return stream_take_credit(s, payload, h->length);
		stream_take_close(s);
		return 0;
	default:
		return -EBADMSG;
	}
}

static bool is_of_conn(const struct call *c, const void *key)
{
	return c->conn == key;
}

void dispatch_conn_lost(struct conn *conn)
{
	calls_cancel_if(is_of_conn, conn);
	for (struct call *c = calls, *next; c; c = next) {
		next = c->next;
		if (c->conn != conn)
			continue;
		if (c->stream)
			c->stream->subject = NULL;
		c->stream = NULL;
		c->conn = NULL;
		if (c->answer_due)
			call_answer(c);
	}
	subjects_conn_lost(conn);
	streams_conn_lost(conn);
}
