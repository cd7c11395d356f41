#include "wire.h"

#include <errno.h>
#include <string.h>

#define WIRE_TABLES
#include "wire_gen.h"

void frame_put_header(uint8_t out[WIRE_HEADER_SIZE], const struct frame_header *h)
{
	for (int i = 0; i < 4; i++)
		out[i] = (uint8_t)(h->length >> (8 * i));
	out[4] = h->kind;
	out[5] = 0;
	out[6] = (uint8_t)h->principal;
	out[7] = (uint8_t)(h->principal >> 8);
	for (int i = 0; i < 8; i++)
		out[8 + i] = (uint8_t)(h->id >> (8 * i));
}

int frame_read_header(const uint8_t in[WIRE_HEADER_SIZE], struct frame_header *h)
{
	h->length = (uint32_t)in[0] | (uint32_t)in[1] << 8 | (uint32_t)in[2] << 16 | (uint32_t)in[3] << 24;
	h->kind = in[4];
	h->principal = (uint16_t)(in[6] | in[7] << 8);
	h->id = 0;
	for (int i = 7; i >= 0; i--)
		h->id = h->id << 8 | in[8 + i];
	if (h->length > WIRE_MAX_PAYLOAD || h->kind < FRAME_HELLO || h->kind > FRAME_CLOSE || in[5] != 0)
		return -EBADMSG;
	return h->id >> 53 ? -EBADMSG : 0;
}

const struct wire_op_info *wire_op(unsigned op)
{
	return &wire_ops[op];
}

const char *wire_op_name(unsigned op)
{
	return op < OP_COUNT ? wire_ops[op].name : "request";
}

static int read_map(const uint8_t *body, size_t len, struct mp_reader *r, uint32_t *pairs)
{
	struct mp_val map;
	if (mp_check(body, len))
		return -EBADMSG;
	*r = (struct mp_reader){ body, body + len };
	if (mp_read(r, &map) || map.type != MP_MAP)
		return -EBADMSG;
	*pairs = map.size;
	return 0;
}

int wire_find_op(const uint8_t *body, size_t len)
{
	struct mp_reader r;
	uint32_t pairs;
	if (read_map(body, len, &r, &pairs))
		return -1;
	for (; pairs > 0; pairs--) {
		struct mp_val key, value;
		if (mp_read(&r, &key))
			return -1;
		if (!mp_is_str(&key, "op")) {
			if (mp_skip(&r))
				return -1;
			continue;
		}
		if (mp_read(&r, &value))
			return -1;
		for (int op = 0; op < OP_COUNT; op++) {
			if (mp_is_str(&value, wire_ops[op].name))
				return op;
		}
		return -1;
	}
	return -1;
}

static bool is_of_type(const struct mp_val *v, unsigned type)
{
	switch (type) {
	case WT_INT:
		return v->type == MP_INT;
	case WT_BOOL:
		return v->type == MP_BOOL;
	case WT_STR:
		return v->type == MP_STR;
	case WT_BIN:
		return v->type == MP_BIN;
	default:
		return v->type == MP_BIN || v->type == MP_INT;
	}
}

/* Reads one value of the field's type, with all items of a list. */
static int read_field(struct mp_reader *r, unsigned type, unsigned lists, struct mp_val *out)
{
	if (mp_read(r, out))
		return -EBADMSG;
	if (lists == 0)
		return is_of_type(out, type) ? 0 : -EBADMSG;
	if (out->type != MP_LIST)
		return -EBADMSG;
	for (uint32_t i = 0; i < out->size; i++) {
		struct mp_val item;
		if (read_field(r, type, lists - 1, &item))
			return -EBADMSG;
	}
	return 0;
}

int wire_decode(unsigned op, const uint8_t *body, size_t len, struct mp_val *values, const char **bad)
{
	const struct wire_op_info *info = &wire_ops[op];
	struct mp_reader r;
	uint32_t pairs;
	*bad = "map";
	for (unsigned i = 0; i < info->count; i++)
		values[i] = (struct mp_val){ 0 };
	if (read_map(body, len, &r, &pairs))
		return -EBADMSG;
	for (; pairs > 0; pairs--) {
		struct mp_val key;
		if (mp_read(&r, &key))
			return -EBADMSG;
		unsigned i = 0;
		while (i < info->count && !mp_is_str(&key, info->fields[i].key))
			i++;
		if (i == info->count) {
			if (mp_skip(&r))
				return -EBADMSG;
			continue;
		}
		*bad = info->fields[i].key;
		if (values[i].type != MP_NONE ||
		    read_field(&r, info->fields[i].type, info->fields[i].lists, &values[i]))
			return -EBADMSG;
	}
	for (unsigned i = 0; i < info->count; i++) {
		*bad = info->fields[i].key;
		if (values[i].type == MP_NONE && !info->fields[i].optional)
			return -EBADMSG;
	}
	return 0;
}
