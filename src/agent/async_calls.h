/* Asynchronous system calls, as the loop knows them: of the agent's own threads and of workers. */
#ifndef ASYNC_CALLS_H
#define ASYNC_CALLS_H

#include "call.h"

void async_calls_init(void);
int start_syscall_async(struct call *c);
void finish_syscall_async(struct call *c);
int start_syscall_state(struct call *c);
int start_syscall_cancel(struct call *c);
/* A worker's call returned; `payload` is its event. */
void async_call_returned(uint16_t principal, uint64_t id, const struct buf *payload);
void async_calls_worker_gone(uint16_t principal);
void async_calls_conn_lost(struct conn *c);

#endif
