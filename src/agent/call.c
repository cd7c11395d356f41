#include "call.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ops.h"

struct allocation {
	struct allocation *next;
	max_align_t bytes[];
};

struct call *call_new(void)
{
	static _Atomic uint64_t serials;
	struct call *c = calloc(1, sizeof(*c));
	if (!c)
		return NULL;
	c->serial = atomic_fetch_add(&serials, 1) + 1;
	c->cancel_word = &c->own_cancel;
	c->ret_fd = c->kept_fd = -1;
	for (int i = 0; i < CALL_FDS; i++)
		c->fds[i] = -1;
	return c;
}

int call_decode(struct call *c, uint8_t *body, size_t len)
{
	const char *bad;
	c->body = body;
	c->body_len = len;
	int op = wire_find_op(body, len);
	if (op < 0) {
		c->op = OP_COUNT;
		fail_code(c, mp_check(body, len) ? "format" : "unknownOp", "the request names no known operation");
		return -EBADMSG;
	}
	c->op = (unsigned)op;
	if (wire_decode(c->op, body, len, c->f, &bad)) {
		fail_code(c, "format", "the key \"%s\" is missing, double or of a wrong type", bad);
		return -EBADMSG;
	}
	return 0;
}

void call_free(struct call *c)
{
	struct allocation *a = c->allocations;
	while (a) {
		struct allocation *next = a->next;
		free(a);
		a = next;
	}
	for (int i = 0; i < CALL_FDS; i++)
		close_fd(&c->fds[i]);
	close_fd(&c->ret_fd);
	close_fd(&c->kept_fd);
	timer_clear(&c->nag);
	buf_free(&c->out);
	free(c->body);
	free(c);
}

void *call_alloc(struct call *c, size_t size)
{
	struct allocation *a = malloc(sizeof(*a) + size);
	if (!a) {
		fail_errno(c, ENOMEM);
		return NULL;
	}
	a->next = c->allocations;
	c->allocations = a;
	return a->bytes;
}

bool call_cancelled(const struct call *c)
{
	return atomic_load(c->cancel_word) == c->serial;
}

bool call_retry(const struct call *c)
{
	return errno == EINTR && !call_cancelled(c);
}

bool has(const struct call *c, unsigned field)
{
	return c->f[field].type != MP_NONE;
}

int64_t get_int(const struct call *c, unsigned field)
{
	return c->f[field].num;
}

uint64_t get_bits(const struct call *c, unsigned field)
{
	return (uint64_t)c->f[field].num;
}

bool get_bool(const struct call *c, unsigned field)
{
	return c->f[field].flag;
}

char *text_of(struct call *c, const struct mp_val *v, size_t max)
{
	if (v->size > max || memchr(v->data, 0, v->size)) {
		fail_errno(c, v->size > max ? ENAMETOOLONG : EINVAL);
		c->fail.path = v->data;
		c->fail.path_len = v->size < WIRE_MAX_PATH ? v->size : WIRE_MAX_PATH;
		return NULL;
	}
	char *text = call_alloc(c, v->size + 1u);
	if (!text)
		return NULL;
	memcpy(text, v->data, v->size);
	text[v->size] = '\0';
	return text;
}

char *get_text(struct call *c, unsigned field)
{
	return text_of(c, &c->f[field], WIRE_MAX_PATH);
}

bool get_ranged(struct call *c, unsigned field, int64_t lo, int64_t hi, int64_t *out)
{
	const struct mp_val *v = &c->f[field];
	if (v->above || v->num < lo || v->num > hi) {
		fail_code(c, "limit", "a number is outside of %lld to %lld", (long long)lo, (long long)hi);
		return false;
	}
	*out = v->num;
	return true;
}

void fail_errno(struct call *c, int err)
{
	c->fail = (struct failure){ .code = "errno", .err = err };
}

void fail_path(struct call *c, int err, unsigned field)
{
	fail_errno(c, err);
	c->fail.path = c->f[field].data;
	c->fail.path_len = c->f[field].size < WIRE_MAX_PATH ? c->f[field].size : WIRE_MAX_PATH;
}

void fail_stage(struct call *c, const char *stage, int err)
{
	c->fail = (struct failure){ .code = "spawn", .err = err, .stage = stage };
}

void fail_code(struct call *c, const char *code, const char *format, ...)
{
	c->fail = (struct failure){ .code = code };
	va_list args;
	va_start(args, format);
	vsnprintf(c->fail.detail, sizeof(c->fail.detail), format, args);
	va_end(args);
}

void fail_encoded(struct call *c)
{
	c->fail = (struct failure){ .code = "worker", .is_encoded = true };
}

void put_failure(struct buf *b, unsigned op, const struct failure *f)
{
	uint32_t pairs = 3u + (f->path != NULL) + (f->stage != NULL) + (f->detail[0] != '\0');
	mp_map(b, pairs);
	mp_put_str(b, "code", f->code);
	mp_put_int(b, "errno", f->err);
	mp_put_str(b, "op", wire_op_name(op));
	if (f->path)
		mp_put_bin(b, "path", f->path, f->path_len);
	if (f->stage)
		mp_put_str(b, "stage", f->stage);
	if (f->detail[0])
		mp_put_str(b, "detail", f->detail);
}

void call_execute(struct call *c)
{
	if (call_cancelled(c))
		fail_code(c, "cancelled", "%s", "");
	else if (ops_run(c) < 0)
		fail_code(c, "unknownOp", "no such operation for a principal");
	else if (c->fail.code && call_cancelled(c))
		fail_code(c, "cancelled", "%s", "");
	if (!c->fail.code && c->out.len == 0)
		mp_map(&c->out, 0);
	if (c->out.failed && !c->fail.code)
		fail_errno(c, ENOMEM);
	for (int i = 0; i < CALL_FDS; i++)
		close_fd(&c->fds[i]);
}
