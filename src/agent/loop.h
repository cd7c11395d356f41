/* The event loop: one thread, edge-triggered epoll, timers, and work posted by other threads. */
#ifndef LOOP_H
#define LOOP_H

#include <sys/epoll.h>

#include "util.h"

struct source {
	int fd;
	void (*ready)(struct source *s, uint32_t events);
};

struct timer {
	struct timer *next;
	uint64_t due_ns;
	bool armed;
	void (*fire)(struct timer *t);
};

/* Work that another thread hands to the loop. */
struct post {
	struct post *next;
	void (*run)(struct post *p);
};

int loop_init(void);
/* Watches s->fd for `events`, edge-triggered. The descriptor stays the caller's. */
int loop_add(struct source *s, uint32_t events);
void loop_remove(struct source *s);
void timer_set(struct timer *t, uint64_t delay_ms);
void timer_clear(struct timer *t);
void loop_post(struct post *p);
/* Runs until loop_stop(). `turn` follows each batch of events; true asks for another turn at once. */
void loop_run(bool (*turn)(void));
void loop_stop(void);

#endif
