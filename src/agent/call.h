/* One request on its way: decoded fields, the reply being built, what it holds. */
#ifndef CALL_H
#define CALL_H

#include <stdatomic.h>
#include <sys/types.h>

#include "cgroup.h"
#include "loop.h"
#include "wire.h"

struct conn;
struct proc;
struct stream;

#define CALL_FDS 5

struct failure {
	/* One of the codes of ERROR in messages.ts; NULL while nothing failed. */
	const char *code;
	int err;
	const char *stage;
	const uint8_t *path;
	size_t path_len;
	char detail[192];
	/* The call's `out` holds the whole error already: a worker has written it. */
	bool is_encoded;
};

enum call_state { CALL_QUEUED, CALL_RUNNING, CALL_RAN };

struct call {
	struct post post;
	/* All unanswered calls of the loop. */
	struct call *next, *prev;
	/* The queue of an executor. */
	struct call *queue_next;
	struct conn *conn;
	uint64_t id;
	uint16_t principal;
	unsigned op;
	uint8_t *body;
	size_t body_len;
	struct mp_val f[WIRE_MAX_FIELDS];

	_Atomic int state;
	/* Holds `serial` once the call is to stop; in a worker this lies in memory shared with the agent. */
	_Atomic uint64_t *cancel_word;
	_Atomic uint64_t own_cancel;
	uint64_t serial;
	struct timer nag;
	pid_t tid;
	/* Child of a spawn that has not reached its program yet. */
	_Atomic pid_t child;

	/* Descriptors for whoever runs it; closed when it ran. */
	int fds[CALL_FDS];
	char token[TOKEN_SIZE];
	bool is_pty;

	struct buf out;
	struct failure fail;
	/* A result for the agent itself: a pid, a thread, a descriptor's number. */
	int64_t aux;
	/* What the loop hands to the thread that runs it. */
	int64_t nums[8];
	/* A descriptor that goes to the agent. */
	int ret_fd;
	/* Kept open until the call is answered. */
	int kept_fd;

	/* Its answer waits for this stream's end. */
	struct stream *stream;
	bool answer_due;
	/* An earlier operation on the same open file has to end first. */
	bool waits_for_file;
	/* Runs in the loop before the answer. */
	void (*finish)(struct call *c);
	void *subject;
	struct worker *worker;
	void *allocations;
};

struct call *call_new(void);
/* Decodes `len` bytes of `body`, which it takes over. Returns 0 or -EBADMSG with the failure set. */
int call_decode(struct call *c, uint8_t *body, size_t len);
void call_free(struct call *c);
/* Memory that lives as long as the call; NULL, with the failure set, if there is none. */
void *call_alloc(struct call *c, size_t size);
bool call_cancelled(const struct call *c);
/* After an interrupted call: whether to try again. */
bool call_retry(const struct call *c);

bool has(const struct call *c, unsigned field);
int64_t get_int(const struct call *c, unsigned field);
uint64_t get_bits(const struct call *c, unsigned field);
bool get_bool(const struct call *c, unsigned field);
/* A terminated copy of text or bytes; NULL with the failure set if it holds a NUL or is too long. */
char *get_text(struct call *c, unsigned field);
char *text_of(struct call *c, const struct mp_val *v, size_t max);
/* Checks lo <= field <= hi. */
bool get_ranged(struct call *c, unsigned field, int64_t lo, int64_t hi, int64_t *out);

void fail_errno(struct call *c, int err);
void fail_path(struct call *c, int err, unsigned field);
void fail_stage(struct call *c, const char *stage, int err);
void fail_code(struct call *c, const char *code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* The error is what a worker has put into `out`. */
void fail_encoded(struct call *c);
void put_failure(struct buf *b, unsigned op, const struct failure *f);

/* Runs the operation on the calling thread, and closes the descriptors that it was given. */
void call_execute(struct call *c);

#endif
