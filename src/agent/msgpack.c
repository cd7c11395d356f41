#include "msgpack.h"

#include <errno.h>
#include <string.h>

#include "wire_gen.h"

static int take(struct mp_reader *r, size_t n, uint64_t *out)
{
	if ((size_t)(r->end - r->at) < n)
		return -EBADMSG;
	uint64_t v = 0;
	for (size_t i = 0; i < n; i++)
		v = v << 8 | *r->at++;
	*out = v;
	return 0;
}

static int read_content(struct mp_reader *r, struct mp_val *out, enum mp_type type, uint64_t size)
{
	if ((uint64_t)(r->end - r->at) < size)
		return -EBADMSG;
	out->type = type;
	out->data = r->at;
	out->size = (uint32_t)size;
	r->at += size;
	return 0;
}

static int read_items(struct mp_reader *r, struct mp_val *out, enum mp_type type, uint64_t size)
{
	/* Each item takes a byte at least: no length can make anybody allocate more than came. */
	if ((uint64_t)(r->end - r->at) < size * (type == MP_MAP ? 2 : 1))
		return -EBADMSG;
	out->type = type;
	out->data = r->at;
	out->size = (uint32_t)size;
	return 0;
}

static int read_number(struct mp_reader *r, struct mp_val *out, uint8_t head)
{
	uint64_t v;
	size_t width = (size_t)1 << (head & 3);
	if (take(r, width, &v))
		return -EBADMSG;
	out->type = MP_INT;
	if (head >= 0xd0) {
		unsigned unused = 64 - 8 * (unsigned)width;
		out->num = (int64_t)(v << unused) >> unused;
		return 0;
	}
	out->num = (int64_t)v;
	out->above = v > INT64_MAX;
	return 0;
}

static int read_float(struct mp_reader *r, struct mp_val *out, bool is_double)
{
	uint64_t v;
	if (take(r, is_double ? 8 : 4, &v))
		return -EBADMSG;
	out->type = MP_FLOAT;
	if (is_double) {
		memcpy(&out->real, &v, sizeof(out->real));
	} else {
		uint32_t bits = (uint32_t)v;
		float f;
		memcpy(&f, &bits, sizeof(f));
		out->real = (double)f;
	}
	/* Encoders write whole numbers beyond 32 bits so. */
	if (out->real >= -9007199254740992.0 && out->real <= 9007199254740992.0 &&
	    (double)(int64_t)out->real == out->real) {
		out->type = MP_INT;
		out->num = (int64_t)out->real;
	}
	return 0;
}

static int read_sized(struct mp_reader *r, struct mp_val *out, uint8_t head)
{
	uint64_t size;
	size_t width;
	if (head >= 0xdc) {
		width = head & 1 ? 4 : 2;
		if (take(r, width, &size))
			return -EBADMSG;
		return read_items(r, out, head >= 0xde ? MP_MAP : MP_LIST, size);
	}
	width = (size_t)1 << (head >= 0xd9 ? head - 0xd9 : head - 0xc4);
	if (take(r, width, &size))
		return -EBADMSG;
	return read_content(r, out, head >= 0xd9 ? MP_STR : MP_BIN, size);
}

int mp_read(struct mp_reader *r, struct mp_val *out)
{
	*out = (struct mp_val){ 0 };
	if (r->at >= r->end)
		return -EBADMSG;
	uint8_t head = *r->at++;
	if (head <= 0x7f || head >= 0xe0) {
		out->type = MP_INT;
		out->num = (int8_t)head;
		return 0;
	}
	if (head <= 0x8f)
		return read_items(r, out, MP_MAP, head & 15);
	if (head <= 0x9f)
		return read_items(r, out, MP_LIST, head & 15);
	if (head <= 0xbf)
		return read_content(r, out, MP_STR, head & 31);
	if (head == 0xc0) {
		out->type = MP_NIL;
		return 0;
	}
	if (head == 0xc2 || head == 0xc3) {
		out->type = MP_BOOL;
		out->flag = head & 1;
		return 0;
	}
	if (head == 0xca || head == 0xcb)
		return read_float(r, out, head == 0xcb);
	if ((head >= 0xcc && head <= 0xcf) || (head >= 0xd0 && head <= 0xd3))
		return read_number(r, out, head);
	if ((head >= 0xc4 && head <= 0xc6) || head >= 0xd9)
		return read_sized(r, out, head);
	return -EBADMSG;
}

static int skip_nested(struct mp_reader *r)
{
	uint64_t due[WIRE_MAX_DEPTH + 1] = { 1 };
	unsigned level = 0;
	for (;;) {
		while (due[level] == 0) {
			if (level == 0)
				return 0;
			level--;
		}
		due[level]--;
		struct mp_val v;
		if (mp_read(r, &v))
			return -EBADMSG;
		if (v.type != MP_LIST && v.type != MP_MAP)
			continue;
		if (++level > WIRE_MAX_DEPTH)
			return -EBADMSG;
		due[level] = (uint64_t)v.size * (v.type == MP_MAP ? 2 : 1);
	}
}

int mp_skip(struct mp_reader *r)
{
	return skip_nested(r);
}

int mp_check(const uint8_t *data, size_t len)
{
	struct mp_reader r = { data, data + len };
	if (skip_nested(&r) || r.at != r.end)
		return -EBADMSG;
	return 0;
}

bool mp_is_str(const struct mp_val *v, const char *text)
{
	return v->type == MP_STR && v->size == strlen(text) && !memcmp(v->data, text, v->size);
}

static void put_head(struct buf *b, uint8_t head, uint64_t value, size_t width)
{
	uint8_t bytes[9] = { head };
	for (size_t i = 0; i < width; i++)
		bytes[1 + i] = (uint8_t)(value >> (8 * (width - 1 - i)));
	buf_put(b, bytes, 1 + width);
}

void mp_map(struct buf *b, uint32_t pairs)
{
	if (pairs < 16)
		put_head(b, (uint8_t)(0x80 | pairs), 0, 0);
	else
		put_head(b, 0xde, pairs, 2);
}

void mp_list(struct buf *b, uint32_t items)
{
	if (items < 16)
		put_head(b, (uint8_t)(0x90 | items), 0, 0);
	else if (items <= UINT16_MAX)
		put_head(b, 0xdc, items, 2);
	else
		put_head(b, 0xdd, items, 4);
}

void mp_str(struct buf *b, const char *text)
{
	size_t len = strlen(text);
	if (len < 32)
		put_head(b, (uint8_t)(0xa0 | len), 0, 0);
	else if (len <= UINT8_MAX)
		put_head(b, 0xd9, len, 1);
	else
		put_head(b, 0xda, len, 2);
	buf_put(b, text, len);
}

void mp_bin_head(struct buf *b, size_t len)
{
	if (len <= UINT8_MAX)
		put_head(b, 0xc4, len, 1);
	else if (len <= UINT16_MAX)
		put_head(b, 0xc5, len, 2);
	else
		put_head(b, 0xc6, len, 4);
}

void mp_bin(struct buf *b, const void *bytes, size_t len)
{
	mp_bin_head(b, len);
	buf_put(b, bytes, len);
}

void mp_uint(struct buf *b, uint64_t num)
{
	if (num <= 0x7f)
		put_head(b, (uint8_t)num, 0, 0);
	else if (num <= UINT8_MAX)
		put_head(b, 0xcc, num, 1);
	else if (num <= UINT16_MAX)
		put_head(b, 0xcd, num, 2);
	else if (num <= UINT32_MAX)
		put_head(b, 0xce, num, 4);
	else
		put_head(b, 0xcf, num, 8);
}

void mp_int(struct buf *b, int64_t num)
{
	uint64_t bits = (uint64_t)num;
	if (num >= 0)
		mp_uint(b, bits);
	else if (num >= -32)
		put_head(b, (uint8_t)bits, 0, 0);
	else if (num >= INT8_MIN)
		put_head(b, 0xd0, bits, 1);
	else if (num >= INT16_MIN)
		put_head(b, 0xd1, bits, 2);
	else if (num >= INT32_MIN)
		put_head(b, 0xd2, bits, 4);
	else
		put_head(b, 0xd3, bits, 8);
}

void mp_bool(struct buf *b, bool flag)
{
	put_head(b, flag ? 0xc3 : 0xc2, 0, 0);
}

void mp_put_int(struct buf *b, const char *key, int64_t num)
{
	mp_str(b, key);
	mp_int(b, num);
}

void mp_put_uint(struct buf *b, const char *key, uint64_t num)
{
	mp_str(b, key);
	mp_uint(b, num);
}

void mp_put_str(struct buf *b, const char *key, const char *text)
{
	mp_str(b, key);
	mp_str(b, text);
}

void mp_put_bin(struct buf *b, const char *key, const void *bytes, size_t len)
{
	mp_str(b, key);
	mp_bin(b, bytes, len);
}

void mp_put_bool(struct buf *b, const char *key, bool flag)
{
	mp_str(b, key);
	mp_bool(b, flag);
}
