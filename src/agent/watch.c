#include "watch.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "dispatch.h"
#include "ops.h"

/* With this much unsent, events wait in the kernel's own queue, which tells when it overflows. */
#define STALL_MARK (256u * 1024u)
#define RETRY_MS 20

struct watch {
	struct source src;
	struct timer retry;
	struct watch *next;
	uint64_t id;
	uint16_t principal;
	struct conn *conn;
};

static struct watch *watches;

static struct watch *find(uint64_t id)
{
	for (struct watch *w = watches; w; w = w->next) {
		if (w->id == id)
			return w;
	}
	return NULL;
}

static void drop(struct watch *w)
{
	struct watch **at = &watches;
	while (*at != w)
		at = &(*at)->next;
	*at = w->next;
	loop_remove(&w->src);
	close_fd(&w->src.fd);
	timer_clear(&w->retry);
	free(w);
}

static void send_change(const struct watch *w, const struct inotify_event *e)
{
	struct buf b = { 0 };
	mp_map(&b, 4);
	mp_put_str(&b, "ev", EV_WATCH);
	mp_put_uint(&b, "mask", e->mask);
	mp_put_bin(&b, "name", e->name, e->len ? strnlen(e->name, e->len) : 0);
	mp_put_uint(&b, "cookie", e->cookie);
	send_event(w->conn, w->id, w->principal, &b);
	buf_free(&b);
}

static void read_changes(struct source *s, uint32_t events)
{
	struct watch *w = container_of(s, struct watch, src);
	union {
		struct inotify_event event;
		char bytes[16 * (sizeof(struct inotify_event) + NAME_MAX + 1)];
	} room;
	(void)events;
	for (;;) {
		if (conn_queued(w->conn) > STALL_MARK) {
			timer_set(&w->retry, RETRY_MS);
			return;
		}
		ssize_t n = read(s->fd, &room, sizeof(room));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return;
		for (ssize_t at = 0; at < n;) {
			struct inotify_event head;
			memcpy(&head, room.bytes + at, sizeof(head));
			send_change(w, (const struct inotify_event *)(const void *)(room.bytes + at));
			at += (ssize_t)(sizeof(head) + head.len);
		}
	}
}

static void retry(struct timer *t)
{
	struct watch *w = container_of(t, struct watch, retry);
	read_changes(&w->src, 0);
}

/* With the principal's eyes: it has to be allowed to read the path. */
void op_watch(struct call *c)
{
	int64_t mask;
	char *path = get_text(c, F_WATCH_PATH);
	if (!path || !get_ranged(c, F_WATCH_MASK, 1, UINT32_MAX, &mask))
		return;
	int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (fd < 0) {
		fail_errno(c, errno);
		return;
	}
	c->ret_fd = fd;
	if (inotify_add_watch(fd, path, (uint32_t)mask) < 0)
		fail_path(c, errno, F_WATCH_PATH);
}

int start_watch(struct call *c)
{
	uint64_t id = get_bits(c, F_WATCH_WATCH);
	if (find(id)) {
		fail_code(c, "format", "watch %lld is in use", (long long)id);
		return -EEXIST;
	}
	if (id > c->conn->max_id)
		c->conn->max_id = id;
	return 0;
}

void finish_watch(struct call *c)
{
	if (c->fail.code || !c->conn)
		return;
	struct watch *w = calloc(1, sizeof(*w));
	if (!w) {
		fail_errno(c, ENOMEM);
		return;
	}
	*w = (struct watch){ .next = watches, .id = get_bits(c, F_WATCH_WATCH), .principal = c->principal,
			     .conn = c->conn };
	w->src = (struct source){ .fd = c->ret_fd, .ready = read_changes };
	w->retry.fire = retry;
	c->ret_fd = -1;
	watches = w;
	if (loop_add(&w->src, EPOLLIN)) {
		drop(w);
		fail_errno(c, ENOMEM);
	}
}

int start_unwatch(struct call *c)
{
	struct watch *w = find(get_bits(c, F_UNWATCH_WATCH));
	if (!w)
		return fail_no_id(c, "watch", get_int(c, F_UNWATCH_WATCH));
	drop(w);
	return 0;
}

void watches_conn_lost(struct conn *c)
{
	for (struct watch *w = watches, *next; w; w = next) {
		next = w->next;
		if (w->conn == c)
			drop(w);
	}
	kmsg_conn_lost(c);
}
