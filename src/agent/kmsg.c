/* The kernel's messages, as events. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "dispatch.h"
#include "watch.h"

#define MAX_RECORD 8192
#define STALL_MARK (256u * 1024u)
#define RETRY_MS 20

static struct source messages = { .fd = -1 };
static struct timer messages_retry;
static struct conn *listener;
static int64_t highest = -1;

/* "6,339,5140900,-;text": the first number holds facility and level. */
static void send_message(char *record)
{
	struct buf b = { 0 };
	long level = strtol(record, NULL, 10) & 7;
	char *text = strchr(record, ';');
	if (!text || level > highest)
		return;
	text++;
	/* Further lines are keys of the device that it is about. */
	size_t len = strcspn(text, "\n");
	mp_map(&b, 3);
	mp_put_str(&b, "ev", EV_KMSG);
	mp_put_int(&b, "level", level);
	mp_put_bin(&b, "text", text, len);
	send_event(listener, 0, 0, &b);
	buf_free(&b);
}

static void read_messages(struct source *s, uint32_t events)
{
	char record[MAX_RECORD];
	(void)events;
	while (listener) {
		if (conn_queued(listener) > STALL_MARK) {
			timer_set(&messages_retry, RETRY_MS);
			return;
		}
		ssize_t n = read(s->fd, record, sizeof(record) - 1);
		/* EPIPE: some were overwritten before they were read. */
		if (n < 0 && (errno == EINTR || errno == EPIPE))
			continue;
		if (n <= 0)
			return;
		record[n] = '\0';
		send_message(record);
	}
}

static void retry(struct timer *t)
{
	(void)t;
	read_messages(&messages, 0);
}

static void stop(void)
{
	loop_remove(&messages);
	close_fd(&messages.fd);
	timer_clear(&messages_retry);
	listener = NULL;
	highest = -1;
}

int start_kmsg(struct call *c)
{
	int64_t level;
	if (!get_ranged(c, F_KMSG_LEVEL, -1, 7, &level))
		return -EINVAL;
	if (level < 0) {
		stop();
		return 0;
	}
	if (messages.fd < 0) {
		messages.fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
		if (messages.fd < 0) {
			fail_errno(c, errno);
			return -errno;
		}
		messages.ready = read_messages;
		messages_retry.fire = retry;
		lseek(messages.fd, 0, SEEK_END);
		loop_add(&messages, EPOLLIN);
	}
	listener = c->conn;
	highest = level;
	return 0;
}

void kmsg_conn_lost(const struct conn *c)
{
	if (listener == c)
		stop();
}
