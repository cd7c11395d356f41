/* A raw system call: its arguments, its buffers, its result. */
#ifndef RAW_CALL_H
#define RAW_CALL_H

#include "call.h"

#define RAW_ARGS 6
#define RAW_BUFFERS 64
#define RAW_FILES RAW_ARGS

struct raw_call {
	long nr;
	long args[RAW_ARGS];
	/* One mapping for all buffers, each followed by a page that nobody can write. */
	uint8_t *map;
	size_t map_size;
	uint8_t *bufs[RAW_BUFFERS];
	size_t sizes[RAW_BUFFERS];
	uint32_t count;
	uint64_t files[RAW_FILES];
	unsigned files_count;
	long ret;
	int err;
};

/* Reads and checks the fields that begin with `nr` at index `base`. Returns 0, or -EINVAL with the failure set. */
int raw_prepare(struct call *c, unsigned base, struct raw_call *raw);
void raw_run(struct raw_call *raw);
/* The keys ret, errno and outs, without the map's head. */
void raw_put_result(struct buf *b, const struct raw_call *raw);
void raw_free(struct raw_call *raw);

#endif
