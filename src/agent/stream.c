#include "stream.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define DATA_CHUNK WIRE_MAX_DATA
#define CREDIT_STEP (WIRE_INITIAL_CREDIT / 4)
#define DRAIN_PER_TURN 16
/* Control-D: a terminal has no other end of input. */
#define TERMINAL_END "\x04"

static struct stream *all_streams;
static struct stream *loose_head, *loose_tail;
static unsigned count;

static struct stream **head_of(struct stream *s)
{
	return s->conn ? &s->conn->ready_head : &loose_head;
}

static struct stream **tail_of(struct stream *s)
{
	return s->conn ? &s->conn->ready_tail : &loose_tail;
}

static void enqueue(struct stream *s)
{
	bool may_send = !s->conn || s->discard || s->credit > 0;
	if (s->is_input || s->in_queue || !s->is_ready || !may_send)
		return;
	struct stream **tail = tail_of(s);
	s->ready_next = NULL;
	if (*tail)
		(*tail)->ready_next = s;
	else
		*head_of(s) = s;
	*tail = s;
	s->in_queue = true;
}

static void dequeue(struct stream *s)
{
	if (!s->in_queue)
		return;
	struct stream **head = head_of(s), **tail = tail_of(s), *before = NULL;
	for (struct stream *at = *head; at; before = at, at = at->ready_next) {
		if (at != s)
			continue;
		if (before)
			before->ready_next = s->ready_next;
		else
			*head = s->ready_next;
		if (*tail == s)
			*tail = before;
		break;
	}
	s->in_queue = false;
}

static void unlink_conn(struct stream *s)
{
	dequeue(s);
	s->conn = NULL;
}

static void stream_write_pending(struct stream *s);
static void sink_broke(struct stream *s, int err);

static void stream_event(struct source *src, uint32_t events)
{
	struct stream *s = container_of(src, struct stream, src);
	s->is_ready = true;
	/* A pipe that nobody can read any more: the host need not write to find out. */
	if (s->is_input && events & EPOLLERR)
		sink_broke(s, EPIPE);
	if (s->is_input)
		stream_write_pending(s);
	else
		enqueue(s);
}

static struct stream *stream_open(struct conn *c, uint64_t id, uint16_t principal, int fd, bool is_input)
{
	struct stream *s = calloc(1, sizeof(*s));
	if (!s) {
		close(fd);
		return NULL;
	}
	s->src = (struct source){ .fd = fd, .ready = stream_event };
	s->conn = c;
	s->id = id;
	s->principal = principal;
	s->is_input = is_input;
	s->is_ready = is_input;
	s->credit = s->window = WIRE_INITIAL_CREDIT;
	if (set_nonblock(fd, true) || loop_add(&s->src, is_input ? EPOLLOUT : EPOLLIN)) {
		close(fd);
		free(s);
		return NULL;
	}
	s->next = all_streams;
	if (all_streams)
		all_streams->prev = s;
	all_streams = s;
	count++;
	return s;
}

struct stream *stream_open_output(struct conn *c, uint64_t id, uint16_t principal, int fd)
{
	return stream_open(c, id, principal, fd, false);
}

struct stream *stream_open_input(struct conn *c, uint64_t id, uint16_t principal, int fd)
{
	return stream_open(c, id, principal, fd, true);
}

struct stream *stream_find(struct conn *c, uint64_t id)
{
	for (struct stream *s = all_streams; s; s = s->next) {
		if (s->conn == c && s->id == id)
			return s;
	}
	return NULL;
}

unsigned streams_count(void)
{
	return count;
}

void stream_drop(struct stream *s)
{
	unlink_conn(s);
	loop_remove(&s->src);
	close_fd(&s->src.fd);
	buf_free(&s->pending);
	if (s->next)
		s->next->prev = s->prev;
	if (s->prev)
		s->prev->next = s->next;
	else
		all_streams = s->next;
	count--;
	free(s);
}

static void send_close(struct stream *s, int err)
{
	if (!s->conn)
		return;
	struct buf b = { 0 };
	if (err) {
		mp_map(&b, 1);
		mp_put_int(&b, "errno", err);
	}
	conn_send(s->conn, FRAME_CLOSE, s->principal, s->id, b.data, b.len);
	buf_free(&b);
}

void stream_abandon(struct stream *s, int err)
{
	send_close(s, err);
	stream_drop(s);
}

void stream_detach(struct stream *s)
{
	unlink_conn(s);
	s->subject = NULL;
	s->refused = NULL;
	enqueue(s);
}

/* The descriptor has given its last byte. */
static void stream_end(struct stream *s, int err)
{
	void (*ended)(struct stream *) = s->ended;
	s->err = err;
	send_close(s, err);
	if (ended)
		ended(s);
	stream_drop(s);
}

static ssize_t read_source(struct stream *s, void *into, size_t room)
{
	if (!s->is_file)
		return read(s->src.fd, into, room);
	/* Whoever wants no more of a file is not kept waiting for the rest. */
	if (!s->conn || s->discard)
		return 0;
	int64_t left = s->file_end - s->file_at;
	ssize_t n = pread(s->src.fd, into, left < (int64_t)room ? (size_t)left : room, s->file_at);
	s->file_at += n > 0 ? n : 0;
	return n;
}

static ssize_t read_chunk(struct stream *s)
{
	static uint8_t scrap[DATA_CHUNK];
	if (!s->conn || s->discard)
		return read_source(s, scrap, sizeof(scrap));
	struct buf *out = &s->conn->out;
	size_t room = s->credit < DATA_CHUNK ? (size_t)s->credit : DATA_CHUNK;
	if (!buf_reserve(out, WIRE_HEADER_SIZE + room)) {
		errno = ENOMEM;
		return -1;
	}
	uint8_t *header = out->data + out->len;
	ssize_t n = read_source(s, header + WIRE_HEADER_SIZE, room);
	if (n <= 0)
		return n;
	struct frame_header h = {
		.length = (uint32_t)n, .kind = FRAME_DATA, .principal = s->principal, .id = s->id
	};
	frame_put_header(header, &h);
	out->len += WIRE_HEADER_SIZE + (size_t)n;
	s->credit -= (uint64_t)n;
	return n;
}

void stream_send_some(struct stream *s)
{
	dequeue(s);
	ssize_t n = read_chunk(s);
	if (n < 0 && errno == EAGAIN) {
		s->is_ready = false;
		return;
	}
	if (n > 0 || (n < 0 && errno == EINTR)) {
		enqueue(s);
		return;
	}
	/* A terminal whose other side is closed says EIO; that is its regular end. */
	stream_end(s, n < 0 && errno != EIO ? errno : 0);
}

static void grant(struct stream *s)
{
	if (s->owed < CREDIT_STEP || !s->conn || s->host_ended)
		return;
	uint8_t payload[4];
	for (int i = 0; i < 4; i++)
		payload[i] = (uint8_t)(s->owed >> (8 * i));
	s->window += s->owed;
	s->owed = 0;
	conn_send(s->conn, FRAME_CREDIT, s->principal, s->id, payload, sizeof(payload));
}

/* The descriptor takes no more. The host is told; what it has sent meanwhile is for nobody. */
static void sink_broke(struct stream *s, int err)
{
	s->broken = true;
	if (!s->host_ended)
		send_close(s, err);
}

/* Writes as much as the descriptor takes. Returns how much that was. */
static size_t write_some(struct stream *s, const uint8_t *data, size_t len)
{
	size_t done = 0;
	while (done < len && s->is_ready && !s->broken) {
		ssize_t n = write(s->src.fd, data + done, len - done);
		if (n > 0)
			done += (size_t)n;
		else if (n < 0 && errno == EAGAIN)
			s->is_ready = false;
		else if (n < 0 && errno != EINTR)
			sink_broke(s, errno);
	}
	s->owed += done;
	return done;
}

static void stream_write_pending(struct stream *s)
{
	size_t left = s->pending.len - s->pending_at;
	if (left > 0 && !s->broken)
		s->pending_at += write_some(s, s->pending.data + s->pending_at, left);
	if (s->pending_at == s->pending.len)
		s->pending.len = s->pending_at = 0;
	bool has_ended = s->host_ended && s->pending.len == 0;
	/* The other direction has a descriptor of its own: closing this one would tell the peer nothing. */
	if (has_ended && s->is_socket)
		shutdown(s->src.fd, SHUT_WR);
	if (s->broken || has_ended)
		stream_drop(s);
	else
		grant(s);
}

int stream_take_data(struct stream *s, const uint8_t *data, size_t len)
{
	if (!s->is_input || s->host_ended || len > s->window)
		return -EBADMSG;
	s->window -= len;
	size_t done = s->pending.len == 0 ? write_some(s, data, len) : 0;
	if (s->broken) {
		stream_drop(s);
		return 0;
	}
	buf_put(&s->pending, data + done, len - done);
	if (s->pending.failed)
		return -EBADMSG;
	grant(s);
	return 0;
}

int stream_take_credit(struct stream *s, const uint8_t *payload, size_t len)
{
	if (len != 4)
		return -EBADMSG;
	if (s->is_input)
		return 0;
	s->credit += (uint64_t)payload[0] | (uint64_t)payload[1] << 8 | (uint64_t)payload[2] << 16 |
		     (uint64_t)payload[3] << 24;
	enqueue(s);
	return 0;
}

void stream_discard(struct stream *s)
{
	s->discard = true;
	enqueue(s);
}

void stream_take_close(struct stream *s)
{
	if (s->is_input) {
		if (s->is_pty)
			buf_put(&s->pending, TERMINAL_END, 1);
		s->host_ended = true;
		stream_write_pending(s);
		return;
	}
	/* A peer may go on for ever: it is hung up on, not drained. */
	if (s->is_socket) {
		stream_abandon(s, 0);
		return;
	}
	stream_discard(s);
	if (s->refused)
		s->refused(s);
}

void streams_conn_lost(struct conn *c)
{
	for (struct stream *s = all_streams, *next; s; s = next) {
		next = s->next;
		if (s->conn != c)
			continue;
		/* A process lives on in a machine that is saved, and its streams are taken up again. */
		if (c->is_quiesced && s->subject) {
			unlink_conn(s);
			enqueue(s);
		} else if (s->is_input || s->is_socket) {
			stream_drop(s);
		} else {
			stream_detach(s);
		}
	}
}

bool stream_attach(struct conn *c, uint64_t id, const void *subject)
{
	struct stream *s = stream_find(NULL, id);
	if (!s || s->subject != subject)
		return false;
	dequeue(s);
	s->conn = c;
	s->credit = s->window = WIRE_INITIAL_CREDIT;
	s->owed = 0;
	enqueue(s);
	return true;
}

bool streams_drain(void)
{
	for (int i = 0; i < DRAIN_PER_TURN && loose_head; i++)
		stream_send_some(loose_head);
	return loose_head != NULL;
}

void streams_forget_subject(void *subject)
{
	for (struct stream *s = all_streams, *next; s; s = next) {
		next = s->next;
		if (s->subject != subject)
			continue;
		if (s->is_input)
			stream_drop(s);
		else
			stream_detach(s);
	}
}

void streams_abandon_subject(void *subject)
{
	for (struct stream *s = all_streams, *next; s; s = next) {
		next = s->next;
		if (s->subject == subject)
			stream_abandon(s, 0);
	}
}

void stream_from_file(struct stream *s, int fd, int64_t from, int64_t end)
{
	loop_remove(&s->src);
	close(s->src.fd);
	s->src.fd = fd;
	s->is_file = s->is_ready = true;
	s->file_at = from;
	s->file_end = end;
	enqueue(s);
}

void stream_widen(struct stream *s, uint64_t bytes)
{
	s->owed += bytes;
	grant(s);
}
