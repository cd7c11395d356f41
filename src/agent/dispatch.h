/* Requests: from a frame to an executor, and back to an answer. */
#ifndef DISPATCH_H
#define DISPATCH_H

#include "call.h"
#include "conn.h"
#include "stream.h"

enum lane {
	/* Answered by its start function, in the loop. */
	LANE_LOOP,
	/* A pool thread of the agent, whatever the principal. */
	LANE_POOL,
	/* The principal's files and forks: the pool, or its worker. */
	LANE_FILES,
	/* The principal's system calls: the pinned thread, or its worker. */
	LANE_CALLS,
	/* Goes on by itself after its start function. */
	LANE_NONE,
};

struct plan {
	enum lane lane;
	/* In the loop, before it runs. Returns 0, or a negative number with the failure set. */
	int (*start)(struct call *c);
	/* In the loop, after it ran or failed. */
	void (*finish)(struct call *c);
};

const struct plan *plan_of(unsigned op);

/* A call that nobody asked for. It has no body; NULL if there is no memory. */
struct call *call_internal(unsigned op);
/* Sends the reply or error, and frees the call. */
void call_answer(struct call *c);
/* The executor is done with it. */
void call_ran(struct call *c);
void call_submit(struct call *c);
void call_cancel(struct call *c);
/* Opens stream `id` for what the operation writes into c->fds[0]; its answer waits for the end. */
int call_output(struct call *c, unsigned field);
/* Opens stream `id` for what the operation reads from c->fds[0]. */
int call_input(struct call *c, unsigned field);
/* Checks that `id` names no stream yet. */
int check_new_stream(struct call *c, int64_t id);
/* Cancels every call for which `match` holds. */
void calls_cancel_if(bool (*match)(const struct call *c, const void *key), const void *key);
/* Fails with noSuchId. */
int fail_no_id(struct call *c, const char *what, int64_t id);

#endif
