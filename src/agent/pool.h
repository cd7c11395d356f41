/* Threads that run what may block: a growing pool, and the pinned thread of raw system calls. */
#ifndef POOL_H
#define POOL_H

#include "call.h"

/* Starts the pinned thread. */
int pool_init(void);
void pool_submit(struct call *c);
void pinned_submit(struct call *c);
/* Takes a call back that no thread has begun. */
bool pool_withdraw(struct call *c);
/* Interrupts the call if a thread is in it. */
void pool_nudge(struct call *c);
unsigned pool_threads(void);

#endif
