#include "loop.h"

#include <errno.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define BATCH 64

static int epoll_fd = -1;
static struct epoll_event batch[BATCH];
static int batch_len;
static struct timer *timers;
static bool stopping;

static pthread_mutex_t post_lock = PTHREAD_MUTEX_INITIALIZER;
static struct post *posts, **posts_tail = &posts;
static struct source wakeup = { .fd = -1 };

static void run_posts(struct source *s, uint32_t events)
{
	(void)events;
	uint64_t count;
	while (read(s->fd, &count, sizeof(count)) < 0 && errno == EINTR)
		;
	pthread_mutex_lock(&post_lock);
	struct post *p = posts;
	posts = NULL;
	posts_tail = &posts;
	pthread_mutex_unlock(&post_lock);
	while (p) {
		struct post *next = p->next;
		p->run(p);
		p = next;
	}
}

int loop_init(void)
{
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (epoll_fd < 0)
		return -errno;
	wakeup.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	wakeup.ready = run_posts;
	return wakeup.fd < 0 ? -errno : loop_add(&wakeup, EPOLLIN);
}

int loop_add(struct source *s, uint32_t events)
{
	struct epoll_event ev = { .events = events | EPOLLET, .data.ptr = s };
	return epoll_ctl(epoll_fd, EPOLL_CTL_ADD, s->fd, &ev) < 0 ? -errno : 0;
}

void loop_remove(struct source *s)
{
	struct epoll_event ev = { 0 };
	if (s->fd >= 0)
		epoll_ctl(epoll_fd, EPOLL_CTL_DEL, s->fd, &ev);
	/* Its owner may free it now; events of this batch must not find it any more. */
	for (int i = 0; i < batch_len; i++) {
		if (batch[i].data.ptr == s)
			batch[i].data.ptr = NULL;
	}
}

void timer_clear(struct timer *t)
{
	if (!t->armed)
		return;
	struct timer **at = &timers;
	while (*at && *at != t)
		at = &(*at)->next;
	if (*at)
		*at = t->next;
	t->armed = false;
}

void timer_set(struct timer *t, uint64_t delay_ms)
{
	timer_clear(t);
	t->due_ns = monotonic_ns() + delay_ms * 1000000u;
	t->armed = true;
	struct timer **at = &timers;
	while (*at && (*at)->due_ns <= t->due_ns)
		at = &(*at)->next;
	t->next = *at;
	*at = t;
}

void loop_post(struct post *p)
{
	p->next = NULL;
	pthread_mutex_lock(&post_lock);
	*posts_tail = p;
	posts_tail = &p->next;
	pthread_mutex_unlock(&post_lock);
	uint64_t one = 1;
	while (write(wakeup.fd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}

static int run_timers(void)
{
	for (;;) {
		struct timer *t = timers;
		if (!t)
			return -1;
		uint64_t now = monotonic_ns();
		if (t->due_ns > now) {
			uint64_t ms = (t->due_ns - now + 999999u) / 1000000u;
			return ms > 60000u ? 60000 : (int)ms;
		}
		timers = t->next;
		t->armed = false;
		t->fire(t);
	}
}

void loop_run(bool (*turn)(void))
{
	while (!stopping) {
		int timeout = run_timers();
		if (turn())
			timeout = 0;
		if (stopping)
			return;
		int n = epoll_wait(epoll_fd, batch, BATCH, timeout);
		batch_len = n > 0 ? n : 0;
		for (int i = 0; i < batch_len; i++) {
			struct source *s = batch[i].data.ptr;
			if (s)
				s->ready(s, batch[i].events);
		}
		batch_len = 0;
	}
}

void loop_stop(void)
{
	stopping = true;
}
