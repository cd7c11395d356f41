/* Contents of files, by streams. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "call.h"
#include "file_ops.h"
#include "fs_path.h"
#include "ops.h"

#define COPY_CHUNK (128u * 1024u)

/* Opens a path; a fifo without its other end blocks until then or the cancellation. */
int open_path(struct call *c, const char *path, int flags, mode_t mode)
{
	int fd;
	do
		fd = open(path, flags | O_CLOEXEC, mode);
	while (fd < 0 && call_retry(c));
	return fd < 0 ? -errno : fd;
}

int write_all(struct call *c, int fd, const void *data, size_t len)
{
	for (size_t done = 0; done < len;) {
		ssize_t n = write(fd, (const char *)data + done, len - done);
		if (n < 0 && !call_retry(c))
			return -errno;
		done += n > 0 ? (size_t)n : 0;
	}
	return 0;
}

static int copy_out_by_hand(struct call *c, int fd, uint64_t limit, uint64_t *total)
{
	char *chunk = call_alloc(c, COPY_CHUNK);
	if (!chunk)
		return -ENOMEM;
	while (*total < limit) {
		size_t want = limit - *total < COPY_CHUNK ? (size_t)(limit - *total) : COPY_CHUNK;
		ssize_t n = read(fd, chunk, want);
		if (n < 0 && call_retry(c))
			continue;
		if (n <= 0)
			return n < 0 ? -errno : 0;
		int result = write_all(c, c->fds[0], chunk, (size_t)n);
		if (result)
			return result;
		*total += (uint64_t)n;
	}
	return 0;
}

/*
 * Moves bytes within the kernel, one side being a pipe. Returns how many, 0 at the end, -EINVAL where files do not know how,
 * or another -errno.
 */
static ssize_t move_some(struct call *c, int from, int to, size_t len)
{
	ssize_t n;
	do
		n = splice(from, NULL, to, NULL, len, 0);
	while (n < 0 && call_retry(c));
	return n < 0 ? -errno : n;
}

static int copy_out(struct call *c, int fd, uint64_t limit, uint64_t *total)
{
	while (*total < limit) {
		size_t want = limit - *total < COPY_CHUNK ? (size_t)(limit - *total) : COPY_CHUNK;
		ssize_t n = move_some(c, fd, c->fds[0], want);
		if (n == -EINVAL && *total == 0)
			return copy_out_by_hand(c, fd, limit, total);
		if (n <= 0)
			return (int)n;
		*total += (uint64_t)n;
	}
	return 0;
}

/* Whether reading it can never wait for a disk. */
static bool is_in_memory(int fd)
{
	struct stat st;
	struct statfs fs;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || fstatfs(fd, &fs) < 0)
		return false;
	return fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC;
}

/* Leaves the file to the loop, which sends it without a pipe between. */
static void hand_over(struct call *c, int fd, int64_t offset, int64_t length)
{
	c->ret_fd = fd;
	c->nums[READ_FROM] = offset;
	c->nums[READ_END] = length > INT64_MAX - offset ? INT64_MAX : offset + length;
	/* Its end is not the stream's. */
	c->kept_fd = c->fds[0];
	c->fds[0] = -1;
}

void op_read_file(struct call *c)
{
	int64_t offset = 0, length = INT64_MAX;
	uint64_t total = 0;
	char *path = get_text(c, F_READ_FILE_PATH);
	if (!path)
		return;
	if (has(c, F_READ_FILE_OFFSET) && !get_ranged(c, F_READ_FILE_OFFSET, 0, INT64_MAX, &offset))
		return;
	if (has(c, F_READ_FILE_LENGTH) && !get_ranged(c, F_READ_FILE_LENGTH, 0, INT64_MAX, &length))
		return;
	CLEANUP_FD int fd = open_path(c, path, O_RDONLY, 0);
	int result = fd < 0 ? fd : 0;
	if (!result && c->stream && is_in_memory(fd)) {
		hand_over(c, fd, offset, length);
		fd = -1;
		return;
	}
	if (!result && offset > 0 && lseek(fd, offset, SEEK_SET) < 0)
		result = -errno;
	if (!result)
		result = copy_out(c, fd, (uint64_t)length, &total);
	if (result) {
		fail_path(c, -result, F_READ_FILE_PATH);
		return;
	}
	mp_map(&c->out, 1);
	mp_put_uint(&c->out, "size", total);
}

static int copy_in_by_hand(struct call *c, int fd, uint64_t *total)
{
	char *chunk = call_alloc(c, COPY_CHUNK);
	if (!chunk)
		return -ENOMEM;
	for (;;) {
		ssize_t n = read(c->fds[0], chunk, COPY_CHUNK);
		if (n < 0 && call_retry(c))
			continue;
		if (n <= 0)
			return n < 0 ? -errno : 0;
		int result = write_all(c, fd, chunk, (size_t)n);
		if (result)
			return result;
		*total += (uint64_t)n;
	}
}

static int copy_in(struct call *c, int fd, uint64_t *total)
{
	for (;;) {
		ssize_t n = move_some(c, c->fds[0], fd, COPY_CHUNK);
		/* Nothing was taken out of the pipe: files opened to append refuse, and some kinds of files. */
		if (n == -EINVAL && *total == 0)
			return copy_in_by_hand(c, fd, total);
		if (n <= 0)
			return (int)n;
		*total += (uint64_t)n;
	}
}

void op_write_file(struct call *c)
{
	int64_t mode = 0666;
	uint64_t total = 0;
	int flags = O_WRONLY | O_CREAT;
	char *path = get_text(c, F_WRITE_FILE_PATH);
	if (!path || (has(c, F_WRITE_FILE_MODE) && !get_ranged(c, F_WRITE_FILE_MODE, 0, 07777, &mode)))
		return;
	flags |= get_bool(c, F_WRITE_FILE_APPEND) ? O_APPEND : O_TRUNC;
	flags |= get_bool(c, F_WRITE_FILE_CREATE_NEW) ? O_EXCL : 0;
	if (get_bool(c, F_WRITE_FILE_PARENTS)) {
		int made = make_parents(path);
		if (made) {
			fail_path(c, -made, F_WRITE_FILE_PATH);
			return;
		}
	}
	CLEANUP_FD int fd = open_path(c, path, flags, (mode_t)mode);
	int result = fd < 0 ? fd : 0;
	/* A mode that was asked for holds whatever the umask, and for a file that was there before. */
	if (!result && has(c, F_WRITE_FILE_MODE) && fchmod(fd, (mode_t)mode) < 0)
		result = -errno;
	if (!result)
		result = copy_in(c, fd, &total);
	if (!result && close(fd) < 0)
		result = -errno;
	else if (result && fd >= 0)
		close(fd);
	fd = -1;
	if (result) {
		fail_path(c, -result, F_WRITE_FILE_PATH);
		return;
	}
	mp_map(&c->out, 1);
	mp_put_uint(&c->out, "size", total);
}
