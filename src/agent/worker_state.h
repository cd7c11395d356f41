/* A worker as the agent keeps it; between principal.c and worker_queue.c. */
#ifndef WORKER_STATE_H
#define WORKER_STATE_H

#include "call.h"
#include "worker_wire.h"

struct worker {
	struct source src;
	struct worker *next;
	uint16_t number;
	struct conn *conn;
	pid_t pid;
	/* Process 1 of its namespace of processes, if it has one: outlives it while its children do. */
	pid_t init;
	bool is_starting;
	bool is_gone;
	struct worker_shared *shared;
	unsigned files;
	/* Requests in order; the first is with the worker once `sent` says so. */
	struct call *head, *tail;
	bool is_busy;
	/* What the socket has not taken yet. */
	struct buf out;
	size_t out_at;
	/* What came in of an answer. */
	struct buf in;
	int in_fd;
};

/* The worker of that number, if it has not ended; NULL without it. */
struct worker *worker_find(uint16_t number);
void worker_send_next(struct worker *w);
/* Takes all answers that are there. */
void worker_take_answers(struct worker *w);
void worker_ready(struct source *s, uint32_t events);

#endif
