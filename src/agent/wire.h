/* The protocol's schema on this side: which keys a request has, and of what type. */
#ifndef WIRE_H
#define WIRE_H

#include "msgpack.h"
#include "wire_gen.h"

enum wire_type { WT_INT, WT_BOOL, WT_STR, WT_BIN, WT_BIN_OR_INT };

struct wire_field {
	const char *key;
	uint8_t type;
	/* Lists around the type: 0, 1 or 2. */
	uint8_t lists;
	uint8_t optional;
};

struct wire_op_info {
	const char *name;
	const struct wire_field *fields;
	unsigned count;
};

struct frame_header {
	uint32_t length;
	uint8_t kind;
	uint16_t principal;
	uint64_t id;
};

void frame_put_header(uint8_t out[WIRE_HEADER_SIZE], const struct frame_header *h);
/* Returns 0, or -EBADMSG for what cannot be a frame. */
int frame_read_header(const uint8_t in[WIRE_HEADER_SIZE], struct frame_header *h);

const struct wire_op_info *wire_op(unsigned op);
const char *wire_op_name(unsigned op);
/* The request's operation, or -1. */
int wire_find_op(const uint8_t *body, size_t len);
/* Fills one value per field of `op`, MP_NONE for a missing optional one. On failure `*bad` names the key. */
int wire_decode(unsigned op, const uint8_t *body, size_t len, struct mp_val *values, const char **bad);

#endif
