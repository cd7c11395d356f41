/* System calls on threads of their own. */
#ifndef ASYNC_CALL_H
#define ASYNC_CALL_H

#include "raw_call.h"

struct async_call {
	struct post post;
	uint64_t id;
	struct raw_call raw;
};

/* Takes the finished call, on its own thread; frees it by async_free(). */
extern void (*async_done)(struct async_call *a);
void async_free(struct async_call *a);
/* The event's payload. */
void async_put_event(struct buf *b, const struct async_call *a);

#endif
