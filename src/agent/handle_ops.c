/* Operations on open files. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "call.h"
#include "fs_path.h"
#include "handles.h"
#include "ops.h"

#define MAX_HANDLES 4096

struct handle {
	struct handle *next;
	uint64_t id;
	int fd;
	/* The table's own, and one per operation under way. */
	unsigned holds;
	bool is_closed;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct handle *handles;
static unsigned count;

static struct handle *find(uint64_t id)
{
	for (struct handle *h = handles; h; h = h->next) {
		if (h->id == id && !h->is_closed)
			return h;
	}
	return NULL;
}

static void release(struct handle *h)
{
	if (--h->holds > 0)
		return;
	struct handle **at = &handles;
	while (*at != h)
		at = &(*at)->next;
	*at = h->next;
	close(h->fd);
	free(h);
}

static struct handle *hold(uint64_t id)
{
	pthread_mutex_lock(&lock);
	struct handle *h = find(id);
	if (h)
		h->holds++;
	pthread_mutex_unlock(&lock);
	return h;
}

static void let_go(struct handle *h)
{
	pthread_mutex_lock(&lock);
	release(h);
	pthread_mutex_unlock(&lock);
}

int handle_hold(uint64_t id)
{
	const struct handle *h = hold(id);
	return h ? h->fd : -1;
}

void handle_let_go(uint64_t id)
{
	pthread_mutex_lock(&lock);
	/* It may have been closed since, and a new one opened under no other id. */
	for (struct handle *h = handles; h; h = h->next) {
		if (h->id == id && h->holds > !h->is_closed) {
			release(h);
			break;
		}
	}
	pthread_mutex_unlock(&lock);
}

unsigned handles_count(void)
{
	pthread_mutex_lock(&lock);
	unsigned n = count;
	pthread_mutex_unlock(&lock);
	return n;
}

static int add(uint64_t id, int fd)
{
	int result = 0;
	struct handle *h = calloc(1, sizeof(*h));
	if (!h)
		return -ENOMEM;
	pthread_mutex_lock(&lock);
	if (find(id)) {
		result = -EEXIST;
	} else if (count >= MAX_HANDLES) {
		result = -EMFILE;
	} else {
		*h = (struct handle){ .next = handles, .id = id, .fd = fd, .holds = 1 };
		handles = h;
		count++;
	}
	pthread_mutex_unlock(&lock);
	if (result)
		free(h);
	return result;
}

void op_file_open(struct call *c)
{
	int64_t flags, mode;
	char *path = get_text(c, F_FILE_OPEN_PATH);
	if (!path || !get_ranged(c, F_FILE_OPEN_FLAGS, 0, INT32_MAX, &flags) ||
	    !get_ranged(c, F_FILE_OPEN_MODE, 0, 07777, &mode))
		return;
	int fd = open_path(c, path, (int)flags, (mode_t)mode);
	int result = fd < 0 ? fd : add(get_bits(c, F_FILE_OPEN_FILE), fd);
	if (result && fd >= 0)
		close(fd);
	if (result) {
		fail_path(c, -result, F_FILE_OPEN_PATH);
		return;
	}
	mp_map(&c->out, 1);
	mp_put_int(&c->out, "fd", fd);
}

/* The file that the request names first; fails with noSuchId. */
static struct handle *asked(struct call *c)
{
	struct handle *h = hold(get_bits(c, 0));
	if (!h)
		fail_code(c, "noSuchId", "there is no open file %lld", (long long)get_int(c, 0));
	return h;
}

static ssize_t read_some(struct call *c, int fd, uint8_t *into, size_t len)
{
	ssize_t n;
	do {
		if (has(c, F_FILE_READ_OFFSET))
			n = pread(fd, into, len, get_int(c, F_FILE_READ_OFFSET));
		else
			n = read(fd, into, len);
	} while (n < 0 && call_retry(c));
	return n < 0 ? -errno : n;
}

void op_file_read(struct call *c)
{
	int64_t length;
	if (!get_ranged(c, F_FILE_READ_LENGTH, 0, WIRE_MAX_FILE_IO, &length))
		return;
	struct handle *h = asked(c);
	if (!h)
		return;
	uint8_t *into = call_alloc(c, (size_t)length);
	ssize_t n = into ? read_some(c, h->fd, into, (size_t)length) : -ENOMEM;
	let_go(h);
	if (n < 0) {
		fail_errno(c, (int)-n);
		return;
	}
	mp_map(&c->out, 1);
	mp_put_bin(&c->out, "data", into, (size_t)n);
}

void op_file_write(struct call *c)
{
	const struct mp_val *data = &c->f[F_FILE_WRITE_DATA];
	size_t done = 0;
	int result = 0;
	if (data->size > WIRE_MAX_FILE_IO) {
		fail_code(c, "limit", "%u bytes at once, at most %d can be written", data->size, WIRE_MAX_FILE_IO);
		return;
	}
	struct handle *h = asked(c);
	if (!h)
		return;
	while (done < data->size && !result) {
		ssize_t n;
		if (has(c, F_FILE_WRITE_OFFSET))
			n = pwrite(h->fd, data->data + done, data->size - done,
				   get_int(c, F_FILE_WRITE_OFFSET) + (int64_t)done);
		else
			n = write(h->fd, data->data + done, data->size - done);
		if (n < 0 && !call_retry(c))
			result = -errno;
		done += n > 0 ? (size_t)n : 0;
	}
	let_go(h);
	/* What was written before the failure counts; the next write will tell why. */
	if (result && done == 0) {
		fail_errno(c, -result);
		return;
	}
	mp_map(&c->out, 1);
	mp_put_uint(&c->out, "size", done);
}

void op_file_seek(struct call *c)
{
	int64_t whence;
	if (!get_ranged(c, F_FILE_SEEK_WHENCE, SEEK_SET, SEEK_HOLE, &whence))
		return;
	struct handle *h = asked(c);
	if (!h)
		return;
	off_t at = lseek(h->fd, get_int(c, F_FILE_SEEK_OFFSET), (int)whence);
	int err = errno;
	let_go(h);
	if (at < 0) {
		fail_errno(c, err);
		return;
	}
	mp_map(&c->out, 1);
	mp_put_int(&c->out, "offset", at);
}

void op_file_sync(struct call *c)
{
	struct handle *h = asked(c);
	if (!h)
		return;
	if (fsync(h->fd) < 0)
		fail_errno(c, errno);
	let_go(h);
}

void op_file_stat(struct call *c)
{
	struct stat st;
	struct handle *h = asked(c);
	if (!h)
		return;
	if (fstat(h->fd, &st) < 0)
		fail_errno(c, errno);
	else
		put_stat(&c->out, &st);
	let_go(h);
}

void op_file_truncate(struct call *c)
{
	int64_t size;
	if (!get_ranged(c, F_FILE_TRUNCATE_SIZE, 0, INT64_MAX, &size))
		return;
	struct handle *h = asked(c);
	if (!h)
		return;
	if (ftruncate(h->fd, size) < 0)
		fail_errno(c, errno);
	let_go(h);
}

void op_file_close(struct call *c)
{
	pthread_mutex_lock(&lock);
	struct handle *h = find(get_bits(c, F_FILE_CLOSE_FILE));
	if (h) {
		h->is_closed = true;
		count--;
		release(h);
	}
	pthread_mutex_unlock(&lock);
	if (!h)
		fail_code(c, "noSuchId", "there is no open file %lld", (long long)get_int(c, F_FILE_CLOSE_FILE));
}
