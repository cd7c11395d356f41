#include "vsock.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/vm_sockets.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "conn.h"

#define BACKLOG 16
/* Unproven peers that may be connected at once; more are turned away. */
#define MAX_UNPROVEN 16

static struct source listener = { .fd = -1 };

static void accept_all(struct source *s, uint32_t events)
{
	(void)events;
	for (;;) {
		int fd = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd < 0 && errno == EINTR)
			continue;
		if (fd < 0)
			return;
		if (conns_unproven() >= MAX_UNPROVEN || !conn_add(fd, false, false))
			close(fd);
	}
}

int vsock_listen(int port)
{
	struct sockaddr_vm name = {
		.svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY, .svm_port = (unsigned)port
	};
	listener.fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (listener.fd < 0)
		return -errno;
	listener.ready = accept_all;
	if (bind(listener.fd, (const struct sockaddr *)&name, sizeof(name)) < 0 ||
	    listen(listener.fd, BACKLOG) < 0) {
		int err = errno;
		close_fd(&listener.fd);
		return -err;
	}
	return loop_add(&listener, EPOLLIN);
}

int vsock_local_cid(void)
{
	unsigned cid;
	CLEANUP_FD int fd = open("/dev/vsock", O_RDONLY | O_CLOEXEC);
	if (fd < 0 || ioctl(fd, IOCTL_VM_SOCKETS_GET_LOCAL_CID, &cid) < 0)
		return -1;
	/* Without a device of its own a machine has only the loopback. */
	return cid == VMADDR_CID_ANY ? VMADDR_CID_LOCAL : (int)cid;
}
