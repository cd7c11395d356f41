/* What agent and worker say to each other; both are the same program. */
#ifndef WORKER_WIRE_H
#define WORKER_WIRE_H

#include "call.h"

/* Descriptors of a worker. */
#define WORKER_SOCKET 3
#define WORKER_SHARED 4

/* Followed by `len` bytes of the request, and with the descriptors of `fd_mask`. */
struct worker_request {
	uint64_t serial;
	uint32_t len;
	uint32_t fd_mask;
	char token[TOKEN_SIZE];
	uint32_t is_pty;
	uint32_t unused;
};

enum worker_answer_kind { WORKER_REPLY, WORKER_ERROR, WORKER_RETURNED };

/* Followed by `len` bytes, and perhaps one descriptor. */
struct worker_answer {
	/* Of the request; of a call that returned the harness' id. */
	uint64_t serial;
	int64_t aux;
	uint32_t kind;
	uint32_t len;
};

struct worker_shared {
	/* Serial of the request that shall stop. */
	_Atomic uint64_t cancel;
};

/* Sends one message with descriptors. Returns how many bytes left, or -errno. */
ssize_t send_with_fds(int sock, const void *bytes, size_t len, const int *fds, unsigned count);
/* Receives bytes, and at most `max` descriptors. Returns how many bytes, 0 at the end, or -errno. */
ssize_t receive_with_fds(int sock, void *bytes, size_t len, int *fds, unsigned max, unsigned *count);

#endif
