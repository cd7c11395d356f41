#include "raw_call.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "handles.h"

#define PAGE 4096u
/* What any type of the kernel is aligned to. */
#define ALIGNMENT 16u

enum { NR, ARGS, BUFS, PTRS, NESTED, FILES };

static int bad(struct call *c, const char *why)
{
	fail_code(c, "format", "%s", why);
	return -EINVAL;
}

static struct mp_reader items_of(struct call *c, unsigned field)
{
	return (struct mp_reader){ c->f[field].data, c->body + c->body_len };
}

static int read_args(struct call *c, unsigned field, struct raw_call *raw)
{
	struct mp_reader r = items_of(c, field);
	if (c->f[field].size > RAW_ARGS)
		return bad(c, "a system call has at most six arguments");
	for (uint32_t i = 0; i < c->f[field].size; i++) {
		struct mp_val arg;
		if (mp_read(&r, &arg))
			return bad(c, "args is no list of numbers");
		raw->args[i] = (long)arg.num;
	}
	return 0;
}

static int measure(struct call *c, unsigned field, struct raw_call *raw)
{
	struct mp_reader r = items_of(c, field);
	size_t total = 0;
	if (c->f[field].size > RAW_BUFFERS)
		return bad(c, "there are too many buffers");
	for (uint32_t i = 0; i < c->f[field].size; i++) {
		struct mp_val v;
		if (mp_read(&r, &v) || (v.type == MP_INT && (v.num < 0 || v.num > WIRE_MAX_SYSCALL_BYTES)))
			return bad(c, "a buffer is larger than allowed");
		raw->sizes[i] = v.type == MP_INT ? (size_t)v.num : v.size;
		total += raw->sizes[i];
		raw->map_size += (raw->sizes[i] + ALIGNMENT + PAGE - 1) / PAGE * PAGE + PAGE;
	}
	raw->count = c->f[field].size;
	return total > WIRE_MAX_SYSCALL_BYTES ? bad(c, "the buffers are larger than allowed") : 0;
}

/* Each buffer ends where a page ends that nobody may touch: too long a length is EFAULT, not a broken agent. */
static int place_buffers(struct call *c, unsigned field, struct raw_call *raw)
{
	struct mp_reader r = items_of(c, field);
	if (raw->count == 0)
		return 0;
	void *map = mmap(NULL, raw->map_size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (map == MAP_FAILED) {
		fail_errno(c, errno);
		return -errno;
	}
	raw->map = map;
	uint8_t *at = raw->map;
	for (uint32_t i = 0; i < raw->count; i++) {
		size_t pages = (raw->sizes[i] + ALIGNMENT + PAGE - 1) / PAGE * PAGE;
		if (mprotect(at, pages, PROT_READ | PROT_WRITE) < 0) {
			fail_errno(c, errno);
			return -errno;
		}
		size_t room = (raw->sizes[i] + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
		raw->bufs[i] = at + pages - room;
		struct mp_val v;
		mp_read(&r, &v);
		if (v.type == MP_BIN && v.size > 0)
			memcpy(raw->bufs[i], v.data, v.size);
		at += pages + PAGE;
	}
	return 0;
}

static int set_pointers(struct call *c, unsigned field, struct raw_call *raw)
{
	struct mp_reader r = items_of(c, field);
	unsigned used = 0;
	if (c->f[field].size > raw->count)
		return bad(c, "ptrs is longer than bufs");
	for (uint32_t i = 0; i < c->f[field].size; i++) {
		struct mp_val slot;
		if (mp_read(&r, &slot) || slot.num < -1 || slot.num >= RAW_ARGS)
			return bad(c, "ptrs names no argument");
		if (slot.num < 0)
			continue;
		if (used & 1u << slot.num)
			return bad(c, "ptrs names an argument twice");
		used |= 1u << slot.num;
		raw->args[slot.num] = (long)(uintptr_t)raw->bufs[i];
	}
	return 0;
}

struct patch {
	uint32_t parent;
	size_t offset;
};

static int read_triple(struct mp_reader *r, int64_t out[3])
{
	struct mp_val list, item;
	if (mp_read(r, &list) || list.size != 3)
		return -EINVAL;
	for (int i = 0; i < 3; i++) {
		if (mp_read(r, &item) || item.num < 0)
			return -EINVAL;
		out[i] = item.num;
	}
	return 0;
}

static int set_nested(struct call *c, unsigned field, struct raw_call *raw)
{
	struct mp_reader r = items_of(c, field);
	struct patch done[4 * RAW_BUFFERS];
	if (c->f[field].size > ARRAY_SIZE(done))
		return bad(c, "there are too many nested pointers");
	for (uint32_t i = 0; i < c->f[field].size; i++) {
		int64_t t[3];
		if (read_triple(&r, t) || t[0] >= raw->count || t[1] >= raw->count || t[0] == t[1])
			return bad(c, "nested names no two buffers");
		size_t size = raw->sizes[t[0]];
		if (size < sizeof(void *) || (uint64_t)t[2] > size - sizeof(void *))
			return bad(c, "a nested pointer does not fit into its buffer");
		done[i] = (struct patch){ (uint32_t)t[0], (size_t)t[2] };
		for (uint32_t j = 0; j < i; j++) {
			size_t lo = done[j].offset < done[i].offset ? done[j].offset : done[i].offset;
			size_t hi = done[j].offset < done[i].offset ? done[i].offset : done[j].offset;
			if (done[j].parent == done[i].parent && hi - lo < sizeof(void *))
				return bad(c, "two nested pointers overlap");
		}
		const uint8_t *child = raw->bufs[t[1]];
		memcpy(raw->bufs[t[0]] + t[2], &child, sizeof(child));
	}
	return 0;
}

static int set_files(struct call *c, unsigned field, struct raw_call *raw)
{
	struct mp_reader r = items_of(c, field);
	if (c->f[field].size > RAW_FILES)
		return bad(c, "there are more files than arguments");
	for (uint32_t i = 0; i < c->f[field].size; i++) {
		struct mp_val pair, slot, file;
		if (mp_read(&r, &pair) || pair.size != 2 || mp_read(&r, &slot) || mp_read(&r, &file) ||
		    slot.num < 0 || slot.num >= RAW_ARGS)
			return bad(c, "files names no argument");
		int fd = handle_hold((uint64_t)file.num);
		if (fd < 0) {
			fail_code(c, "noSuchId", "there is no open file %lld", (long long)file.num);
			return -ENOENT;
		}
		raw->files[raw->files_count++] = (uint64_t)file.num;
		raw->args[slot.num] = fd;
	}
	return 0;
}

int raw_prepare(struct call *c, unsigned base, struct raw_call *raw)
{
	memset(raw, 0, sizeof(*raw));
	raw->nr = (long)get_int(c, base + NR);
	int result = read_args(c, base + ARGS, raw);
	if (!result)
		result = measure(c, base + BUFS, raw);
	if (!result)
		result = place_buffers(c, base + BUFS, raw);
	if (!result)
		result = set_pointers(c, base + PTRS, raw);
	if (!result)
		result = set_nested(c, base + NESTED, raw);
	if (!result)
		result = set_files(c, base + FILES, raw);
	if (result)
		raw_free(raw);
	return result;
}

/* Whether the call may return twice: the second time in a copy of this process that has no business here. */
static bool makes_processes(long nr)
{
#ifdef SYS_fork
	if (nr == SYS_fork || nr == SYS_vfork)
		return true;
#endif
	return nr == SYS_clone || nr == SYS_clone3;
}

void raw_run(struct raw_call *raw)
{
	long nr = raw->nr;
	const long *a = raw->args;
	bool forks = makes_processes(nr);
	long before = forks ? syscall(SYS_gettid) : 0;
	/* A thread that vanishes would leave its queue behind; with the process goes an event. */
	if (nr == SYS_exit)
		nr = SYS_exit_group;
	raw->ret = syscall(nr, a[0], a[1], a[2], a[3], a[4], a[5]);
	raw->err = raw->ret == -1 ? errno : 0;
	if (forks && syscall(SYS_gettid) != before)
		syscall(SYS_exit_group, 0);
}

void raw_put_result(struct buf *b, const struct raw_call *raw)
{
	mp_put_int(b, "ret", raw->ret);
	mp_put_int(b, "errno", raw->err);
	mp_str(b, "outs");
	mp_list(b, raw->count);
	for (uint32_t i = 0; i < raw->count; i++)
		mp_bin(b, raw->bufs[i], raw->sizes[i]);
}

void raw_free(struct raw_call *raw)
{
	for (unsigned i = 0; i < raw->files_count; i++)
		handle_let_go(raw->files[i]);
	raw->files_count = 0;
	if (raw->map)
		munmap(raw->map, raw->map_size);
	raw->map = NULL;
}
