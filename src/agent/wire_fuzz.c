/*
 * Feeds the decoders with what nobody should send: `wire_fuzz SEED COUNT`. Built with the sanitizers, together with all other
 * sources but main.c. Requests are decoded and prepared, never executed.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent.h"
#include "call.h"
#include "conn.h"
#include "raw_call.h"

static uint64_t state;

static uint64_t draw(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

static uint32_t below(uint32_t limit)
{
	return (uint32_t)(draw() % limit);
}

static uint64_t odd_number(void)
{
	static const uint64_t edges[] = {
		0, 1, 5, 6, 7, 8, 63, 64, 127, 128, 255, 256, 4095, 4096, 65535, 65536, INT32_MAX, UINT32_MAX,
		WIRE_MAX_SYSCALL_BYTES, WIRE_MAX_FILE_IO, 1ull << 53, INT64_MAX, UINT64_MAX,
	};
	return below(4) ? edges[below(ARRAY_SIZE(edges))] - below(2) : draw() >> below(64);
}

static void put_noise(struct buf *b, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		uint8_t byte = (uint8_t)draw();
		buf_put(b, &byte, 1);
	}
}

static void put_any(struct buf *b, int depth);

static void put_of_type(struct buf *b, unsigned type, unsigned lists, int depth)
{
	if (below(20) == 0) {
		put_any(b, depth);
	} else if (lists > 0) {
		uint32_t items = below(8);
		mp_list(b, below(30) ? items : below(300));
		for (uint32_t i = 0; i < items; i++)
			put_of_type(b, type, lists - 1, depth + 1);
	} else if (type == WT_INT || (type == WT_BIN_OR_INT && below(2))) {
		if (below(2))
			mp_int(b, (int64_t)below(10) - 1);
		else
			mp_uint(b, odd_number());
	} else if (type == WT_BOOL) {
		mp_bool(b, below(2));
	} else if (type == WT_STR) {
		mp_str(b, below(2) ? "root" : "");
	} else {
		size_t len = below(10) ? below(64) : below(6000);
		mp_bin_head(b, len);
		put_noise(b, len);
	}
}

static void put_any(struct buf *b, int depth)
{
	switch (depth > 12 ? 0 : below(8)) {
	case 0:
		put_noise(b, below(10));
		break;
	case 1: {
		uint32_t items = below(4);
		mp_map(b, items);
		for (uint32_t i = 0; i < 2 * items; i++)
			put_any(b, depth + 1);
		break;
	}
	case 2: {
		uint32_t items = below(4);
		mp_list(b, items);
		for (uint32_t i = 0; i < items; i++)
			put_any(b, depth + 1);
		break;
	}
	default:
		put_of_type(b, below(5), 0, depth);
	}
}

static void put_request(struct buf *b)
{
	const struct wire_op_info *op = wire_op(below(3) ? OP_SYSCALL + below(2) : below(OP_COUNT));
	mp_map(b, 1 + op->count - (below(10) == 0));
	mp_put_str(b, "op", below(50) ? op->name : "none");
	for (unsigned i = 0; i < op->count; i++) {
		mp_str(b, op->fields[i].key);
		put_of_type(b, op->fields[i].type, op->fields[i].lists, 0);
	}
}

static void mutate(struct buf *b)
{
	for (uint32_t i = below(3); i > 0 && b->len > 0; i--) {
		size_t at = below((uint32_t)b->len);
		switch (below(4)) {
		case 0:
			b->data[at] ^= (uint8_t)(1u << below(8));
			break;
		case 1:
			b->data[at] = (uint8_t)draw();
			break;
		case 2:
			b->len = at;
			break;
		default:
			put_noise(b, below(8));
		}
	}
}

/* Every read of a field that an operation may make. */
static void read_all(struct call *c)
{
	int64_t number;
	for (unsigned i = 0; i < wire_op(c->op)->count; i++) {
		const struct wire_field *field = &wire_op(c->op)->fields[i];
		if (!has(c, i))
			continue;
		if (field->lists == 0 && (field->type == WT_STR || field->type == WT_BIN))
			get_text(c, i);
		else if (field->lists == 0 && field->type == WT_INT)
			get_ranged(c, i, 0, 100, &number);
	}
}

static bool try_request(struct buf *b)
{
	struct call *c = call_new();
	uint8_t *body = malloc(b->len + 1);
	if (!c || !body)
		abort();
	if (b->len > 0)
		memcpy(body, b->data, b->len);
	bool good = call_decode(c, body, b->len) == 0;
	if (good) {
		struct raw_call raw;
		read_all(c);
		if (c->op == OP_SYSCALL && raw_prepare(c, F_SYSCALL_NR, &raw) == 0)
			raw_free(&raw);
		if (c->op == OP_SYSCALL_ASYNC && raw_prepare(c, F_SYSCALL_ASYNC_NR, &raw) == 0)
			raw_free(&raw);
	}
	if (c->fail.code) {
		struct buf error = { 0 };
		put_failure(&error, c->op, &c->fail);
		if (mp_check(error.data, error.len))
			abort();
		buf_free(&error);
	}
	call_free(c);
	return good;
}

static void try_hello(struct buf *b)
{
	static const uint8_t magic[WIRE_MAGIC_SIZE] = WIRE_MAGIC_BYTES;
	struct conn c = { .is_port = true, .src = { .fd = -1 } };
	struct frame_header h = { .length = (uint32_t)b->len, .kind = FRAME_HELLO };
	uint8_t header[WIRE_HEADER_SIZE];
	put_noise(&c.in, below(40));
	buf_put(&c.in, magic, below(8) ? sizeof(magic) : below(sizeof(magic)));
	frame_put_header(header, &h);
	if (below(4) == 0)
		header[below(sizeof(header))] = (uint8_t)draw();
	buf_put(&c.in, header, sizeof(header));
	buf_put(&c.in, b->data, b->len);
	if (hello_scan(&c) != 0 || c.is_live || c.out.len > 0 || c.in_at > c.in.len)
		abort();
	frame_read_header(header, &h);
	buf_free(&c.in);
}

int main(int argc, char **argv)
{
	unsigned long count = argc == 3 ? strtoul(argv[2], NULL, 10) : 0;
	unsigned long good = 0;
	state = argc == 3 ? strtoull(argv[1], NULL, 10) : 0;
	if (state == 0 || count == 0) {
		fputs("usage: wire_fuzz SEED COUNT, both above 0\n", stderr);
		return 2;
	}
	for (unsigned long i = 0; i < count; i++) {
		struct buf b = { 0 };
		if (below(4))
			put_request(&b);
		else
			put_any(&b, 0);
		if (below(3))
			mutate(&b);
		good += try_request(&b);
		if (i % 4 == 0)
			try_hello(&b);
		buf_free(&b);
	}
	printf("%lu of %lu decoded\n", good, count);
	return 0;
}
