/* MessagePack: a reader that trusts nothing, a writer that uses the shortest forms. */
#ifndef MSGPACK_H
#define MSGPACK_H

#include "util.h"

enum mp_type { MP_NONE, MP_NIL, MP_BOOL, MP_INT, MP_FLOAT, MP_STR, MP_BIN, MP_LIST, MP_MAP };

struct mp_val {
	enum mp_type type;
	bool flag;
	/* The number is above INT64_MAX: `num` holds its bits. */
	bool above;
	int64_t num;
	double real;
	/* Content of text and bytes, or where the items of a list or map begin. */
	const uint8_t *data;
	/* Bytes, or items (pairs of a map). */
	uint32_t size;
};

struct mp_reader {
	const uint8_t *at;
	const uint8_t *end;
};

/* Reads one value; of a list or map only its head. Returns 0 or -EBADMSG. */
int mp_read(struct mp_reader *r, struct mp_val *out);
/* Skips one value with all that it holds. */
int mp_skip(struct mp_reader *r);
/* Whether the bytes are exactly one value, nested no deeper than WIRE_MAX_DEPTH. */
int mp_check(const uint8_t *data, size_t len);
bool mp_is_str(const struct mp_val *v, const char *text);

void mp_map(struct buf *b, uint32_t pairs);
void mp_list(struct buf *b, uint32_t items);
void mp_str(struct buf *b, const char *text);
void mp_bin(struct buf *b, const void *bytes, size_t len);
void mp_bin_head(struct buf *b, size_t len);
void mp_int(struct buf *b, int64_t num);
void mp_uint(struct buf *b, uint64_t num);
void mp_bool(struct buf *b, bool flag);
/* A key and its value. */
void mp_put_int(struct buf *b, const char *key, int64_t num);
void mp_put_uint(struct buf *b, const char *key, uint64_t num);
void mp_put_str(struct buf *b, const char *key, const char *text);
void mp_put_bin(struct buf *b, const char *key, const void *bytes, size_t len);
void mp_put_bool(struct buf *b, const char *key, bool flag);

#endif
