#include "worker_wire.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX_FDS 8

union control {
	struct cmsghdr head;
	char bytes[CMSG_SPACE(MAX_FDS * sizeof(int))];
};

ssize_t send_with_fds(int sock, const void *bytes, size_t len, const int *fds, unsigned count)
{
	union control control = { 0 };
	struct iovec iov = { (void *)(uintptr_t)bytes, len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	if (count > 0) {
		msg.msg_control = &control;
		msg.msg_controllen = (socklen_t)CMSG_SPACE(count * sizeof(int));
		struct cmsghdr *head = CMSG_FIRSTHDR(&msg);
		head->cmsg_level = SOL_SOCKET;
		head->cmsg_type = SCM_RIGHTS;
		head->cmsg_len = (socklen_t)CMSG_LEN(count * sizeof(int));
		memcpy(CMSG_DATA(head), fds, count * sizeof(int));
	}
	ssize_t n;
	do
		n = sendmsg(sock, &msg, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

static void take_fds(struct msghdr *msg, int *fds, unsigned max, unsigned *count)
{
	/* One header holds all descriptors of a message. */
	const struct cmsghdr *head = CMSG_FIRSTHDR(msg);
	if (!head || head->cmsg_level != SOL_SOCKET || head->cmsg_type != SCM_RIGHTS)
		return;
	size_t got = (head->cmsg_len - CMSG_LEN(0)) / sizeof(int);
	for (size_t i = 0; i < got; i++) {
		int fd;
		memcpy(&fd, CMSG_DATA(head) + i * sizeof(int), sizeof(fd));
		if (*count < max)
			fds[(*count)++] = fd;
		else
			close(fd);
	}
}

ssize_t receive_with_fds(int sock, void *bytes, size_t len, int *fds, unsigned max, unsigned *count)
{
	union control control;
	struct iovec iov = { bytes, len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control,
			      .msg_controllen = sizeof(control) };
	ssize_t n;
	do
		n = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	take_fds(&msg, fds, max, count);
	return n;
}
