#include "conn.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "agent.h"
#include "stream.h"

/* Read from one connection per turn, so that none starves the others. */
#define READ_PER_TURN (512u * 1024u)
#define READ_CHUNK (64u * 1024u)
/* Data of streams joins the queue only below this: other frames never wait for more. */
#define DATA_MARK (64u * 1024u)
/* Above this no further requests are read: a host that takes no answers gets no more of them. */
#define STALL_MARK (4u * 1024u * 1024u)
#define COMPACT_AT (128u * 1024u)
/* A peer that does not say hello by then is none of ours. */
#define PATIENCE_MS 5000
/* Fresh memory costs a fault per page, which is dear in a guest: buffers of this size are kept. */
#define KEEP_BUFFER (1024u * 1024u)

static struct conn *conns;

static void conn_ready(struct source *s, uint32_t events)
{
	struct conn *c = container_of(s, struct conn, src);
	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR | EPOLLRDHUP))
		c->readable = true;
	if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR))
		c->writable = true;
}

static void lose_patience(struct timer *t)
{
	struct conn *c = container_of(t, struct conn, patience);
	if (!c->is_live)
		conn_end(c);
}

struct conn *conn_add(int fd, bool is_port, bool is_control)
{
	struct conn *c = calloc(1, sizeof(*c));
	if (!c)
		return NULL;
	c->src = (struct source){ .fd = fd, .ready = conn_ready };
	c->is_port = is_port;
	c->is_control = is_control;
	/* Tried once: what cannot be read or written yet says EAGAIN and waits for its event. */
	c->readable = c->writable = true;
	if (set_nonblock(fd, true) || loop_add(&c->src, EPOLLIN | EPOLLOUT | EPOLLRDHUP)) {
		free(c);
		return NULL;
	}
	c->patience.fire = lose_patience;
	if (!is_control)
		timer_set(&c->patience, PATIENCE_MS);
	c->next = conns;
	conns = c;
	return c;
}

unsigned conns_unproven(void)
{
	unsigned count = 0;
	for (const struct conn *c = conns; c; c = c->next)
		count += !c->is_live && !c->is_control && !c->is_dead;
	return count;
}

void conns_quiesce(void)
{
	for (struct conn *c = conns; c; c = c->next)
		c->is_quiesced = c->is_live;
}

void conns_end_oldest_unproven(void)
{
	struct conn *oldest = NULL;
	/* New ones are put in front. */
	for (struct conn *c = conns; c; c = c->next) {
		if (!c->is_live && !c->is_control && !c->is_dead)
			oldest = c;
	}
	if (oldest)
		conn_end(oldest);
}

size_t conn_queued(const struct conn *c)
{
	return c->out.len - c->out_at;
}

void conn_send(struct conn *c, uint8_t kind, uint16_t principal, uint64_t id, const void *payload, size_t len)
{
	if (c->is_dead)
		return;
	struct frame_header h = {
		.length = (uint32_t)len, .kind = kind, .principal = principal, .id = id
	};
	uint8_t header[WIRE_HEADER_SIZE];
	frame_put_header(header, &h);
	if (!buf_reserve(&c->out, sizeof(header) + len)) {
		/* Half a frame would break everything that follows. */
		conn_end(c);
		return;
	}
	buf_put(&c->out, header, sizeof(header));
	buf_put(&c->out, payload, len);
}

void send_event(struct conn *c, uint64_t id, uint16_t principal, const struct buf *payload)
{
	if (c && c->is_live && !payload->failed)
		conn_send(c, FRAME_EVENT, principal, id, payload->data, payload->len);
}

void conn_end(struct conn *c)
{
	if (c->is_dead)
		return;
	bool was_live = c->is_live;
	c->is_live = false;
	c->is_ending = false;
	c->in.len = c->in_at = 0;
	c->out.len = c->out_at = 0;
	c->out.failed = c->in.failed = false;
	c->max_id = 0;
	if (was_live)
		dispatch_conn_lost(c);
	c->is_quiesced = false;
	if (c->is_port)
		return;
	loop_remove(&c->src);
	close_fd(&c->src.fd);
	c->is_dead = true;
	if (c->is_control) {
		agent.control = NULL;
		if (agent.ends_with_control)
			agent_stop();
	}
}

struct conn *conn_operating(void)
{
	struct conn *control = NULL;
	for (struct conn *c = conns; c; c = c->next) {
		if (!c->is_live)
			continue;
		if (!c->is_control)
			return c;
		control = c;
	}
	return control;
}

static void trim(struct buf *b)
{
	if (b->len == 0 && b->cap > KEEP_BUFFER)
		buf_free(b);
}

/* Handles every whole frame that is there. Returns -EBADMSG if the conversation cannot go on. */
static int take_frames(struct conn *c)
{
	while (c->is_live && !c->is_ending && !c->is_dead) {
		size_t held = c->in.len - c->in_at;
		if (held < WIRE_HEADER_SIZE)
			break;
		struct frame_header h;
		if (frame_read_header(c->in.data + c->in_at, &h))
			return -EBADMSG;
		if (held - WIRE_HEADER_SIZE < h.length) {
			buf_reserve(&c->in, WIRE_HEADER_SIZE + h.length - held);
			break;
		}
		const uint8_t *payload = c->in.data + c->in_at + WIRE_HEADER_SIZE;
		c->in_at += WIRE_HEADER_SIZE + h.length;
		if (dispatch_frame(c, &h, payload))
			return -EBADMSG;
	}
	return 0;
}

static int take_input(struct conn *c)
{
	int result = 0;
	if (!c->is_live && !c->is_ending && hello_scan(c) < 0)
		result = -EBADMSG;
	if (!result)
		result = take_frames(c);
	if (c->in_at > 0) {
		size_t held = c->in.len - c->in_at;
		memmove(c->in.data, c->in.data + c->in_at, held);
		c->in.len = held;
		c->in_at = 0;
	}
	trim(&c->in);
	return result;
}

static void say_violation(struct conn *c)
{
	static const char text[] = "the harness broke the protocol";
	struct buf b = { 0 };
	mp_map(&b, 4);
	mp_put_str(&b, "code", "format");
	mp_put_int(&b, "errno", 0);
	mp_put_str(&b, "op", "frame");
	mp_put_str(&b, "detail", text);
	conn_send(c, FRAME_ERROR, 0, 0, b.data, b.len);
	buf_free(&b);
	c->is_ending = true;
}

static bool read_input(struct conn *c)
{
	size_t total = 0;
	while (c->readable && !c->is_dead && !c->is_ending && total < READ_PER_TURN) {
		if (conn_queued(c) > STALL_MARK)
			return false;
		if (!buf_reserve(&c->in, READ_CHUNK)) {
			conn_end(c);
			return false;
		}
		ssize_t n = read(c->src.fd, c->in.data + c->in.len, c->in.cap - c->in.len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) {
			c->readable = false;
			break;
		}
		if (n <= 0) {
			c->readable = false;
			conn_end(c);
			return false;
		}
		c->in.len += (size_t)n;
		total += (size_t)n;
		if (take_input(c))
			say_violation(c);
	}
	return c->readable && !c->is_dead && !c->is_ending;
}

static void flush(struct conn *c)
{
	while (c->writable && !c->is_dead && conn_queued(c) > 0) {
		ssize_t n = write(c->src.fd, c->out.data + c->out_at, conn_queued(c));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) {
			c->writable = false;
			return;
		}
		if (n < 0) {
			c->writable = false;
			conn_end(c);
			return;
		}
		c->out_at += (size_t)n;
	}
	if (conn_queued(c) == 0) {
		c->out.len = c->out_at = 0;
		trim(&c->out);
		if (c->is_ending)
			conn_end(c);
	} else if (c->out_at > COMPACT_AT) {
		memmove(c->out.data, c->out.data + c->out_at, conn_queued(c));
		c->out.len = conn_queued(c);
		c->out_at = 0;
	}
}

/* Lets streams add data, in turns, as long as the queue is short. */
static bool pump(struct conn *c)
{
	for (int i = 0; i < 16 && c->is_live && !c->is_ending; i++) {
		if (!c->ready_head)
			return false;
		if (conn_queued(c) >= DATA_MARK) {
			flush(c);
			if (conn_queued(c) >= DATA_MARK)
				return false;
		}
		stream_send_some(c->ready_head);
	}
	return c->ready_head && c->is_live && c->writable;
}

static void free_dead(void)
{
	struct conn **at = &conns;
	while (*at) {
		struct conn *c = *at;
		if (!c->is_dead) {
			at = &c->next;
			continue;
		}
		*at = c->next;
		timer_clear(&c->patience);
		buf_free(&c->in);
		buf_free(&c->out);
		free(c);
	}
}

bool conns_turn(void)
{
	bool more = false;
	for (struct conn *c = conns; c; c = c->next) {
		more |= read_input(c);
		more |= pump(c);
		flush(c);
	}
	free_dead();
	return more | streams_drain();
}
