/* Small things that every part needs: descriptors, bytes, time, random. */
#ifndef UTIL_H
#define UTIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/types.h>

#define CLEANUP_FD __attribute__((cleanup(cleanup_fd)))
#define CLEANUP_FREE __attribute__((cleanup(cleanup_free)))
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define container_of(ptr, type, member) \
	((type *)(void *)((char *)(ptr) - offsetof(type, member)))

/* Sent to a thread or worker to get it out of a blocking call. */
#define CANCEL_SIGNAL SIGUSR2

static inline void cleanup_free(void *ptr)
{
	free(*(void **)ptr);
}

void cleanup_fd(const int *fd);
void close_fd(int *fd);
int read_full(int fd, void *buf, size_t len);
int write_full(int fd, const void *buf, size_t len);
int set_nonblock(int fd, bool on);
int write_text(const char *path, const char *text);
/* Reads a small file; at most size - 1 bytes, terminated. Returns the length or -errno. */
ssize_t read_text(const char *path, char *buf, size_t size);
ssize_t read_text_at(int dir, const char *path, char *buf, size_t size);
int random_bytes(void *buf, size_t len);
uint64_t monotonic_ns(void);
void hex_text(const uint8_t *bytes, size_t len, char *out);
/* Whether all fds 0, 1, 2 are open; opens /dev/null in their places. */
int ensure_stdio(void);
void reset_signals(void);

/* Growing bytes. A failed allocation sticks in `failed` and makes further writes void. */
struct buf {
	uint8_t *data;
	size_t len;
	size_t cap;
	bool failed;
};

bool buf_reserve(struct buf *b, size_t extra);
void buf_put(struct buf *b, const void *bytes, size_t len);
void buf_free(struct buf *b);

#endif
