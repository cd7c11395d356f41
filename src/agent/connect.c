/* Connections to servers of this machine, each as a pair of streams. */
#include "connect.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dispatch.h"
#include "ops.h"

#define MAX_PORT 65535

/* Without a listener on a port of the range for clients, a socket may connect to itself. */
static bool is_own_peer(int fd)
{
	struct sockaddr_storage own = { 0 }, peer = { 0 };
	socklen_t own_len = sizeof(own), peer_len = sizeof(peer);
	if (getsockname(fd, (struct sockaddr *)&own, &own_len) < 0 ||
	    getpeername(fd, (struct sockaddr *)&peer, &peer_len) < 0)
		return false;
	return own_len == peer_len && memcmp(&own, &peer, own_len) == 0;
}

/* Waits for the outcome of a connect that has begun. Returns 0, or -errno. */
static int await_connection(const struct call *c, int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLOUT };
	while (poll(&p, 1, -1) < 0) {
		if (!call_retry(c))
			return -errno;
	}
	int err = 0;
	socklen_t len = sizeof(err);
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len) < 0)
		return -errno;
	return -err;
}

/* Returns the descriptor, or -errno. */
static int connect_to(const struct call *c, const struct sockaddr *address, socklen_t len)
{
	CLEANUP_FD int fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	int result = connect(fd, address, len) < 0 ? -errno : 0;
	if (result == -EINPROGRESS)
		result = await_connection(c, fd);
	if (!result && is_own_peer(fd))
		result = -ECONNREFUSED;
	if (result)
		return result;
	int on = 1;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	int connected = fd;
	fd = -1;
	return connected;
}

void op_connect(struct call *c)
{
	int64_t port;
	if (!get_ranged(c, F_CONNECT_PORT, 1, MAX_PORT, &port))
		return;
	const struct sockaddr_in four = { .sin_family = AF_INET,
					  .sin_port = htons((uint16_t)port),
					  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	const struct sockaddr_in6 six = { .sin6_family = AF_INET6,
					  .sin6_port = htons((uint16_t)port),
					  .sin6_addr = IN6ADDR_LOOPBACK_INIT };
	int fd = connect_to(c, (const struct sockaddr *)&four, sizeof(four));
	int first = fd;
	/* Servers that listen on the newer address alone. */
	if (fd < 0 && !call_cancelled(c))
		fd = connect_to(c, (const struct sockaddr *)&six, sizeof(six));
	if (fd < 0)
		fail_errno(c, -first);
	else
		c->ret_fd = fd;
}

int start_connect(struct call *c)
{
	if (check_new_stream(c, get_int(c, F_CONNECT_STDIN)) || check_new_stream(c, get_int(c, F_CONNECT_STDOUT)))
		return -EEXIST;
	if (get_int(c, F_CONNECT_STDIN) != get_int(c, F_CONNECT_STDOUT))
		return 0;
	fail_code(c, "format", "both streams are %lld", (long long)get_int(c, F_CONNECT_STDIN));
	return -EINVAL;
}

void finish_connect(struct call *c)
{
	/* Its streams are made now: meanwhile others may have taken their ids. */
	if (c->fail.code || !c->conn || start_connect(c))
		return;
	/* Nobody waits for it any more, and nobody would close its streams. */
	if (call_cancelled(c)) {
		fail_code(c, "cancelled", "%s", "");
		return;
	}
	int other = fcntl(c->ret_fd, F_DUPFD_CLOEXEC, 3);
	if (other < 0) {
		fail_errno(c, errno);
		return;
	}
	struct stream *in = stream_open_input(c->conn, get_bits(c, F_CONNECT_STDIN), c->principal, other);
	if (!in) {
		fail_errno(c, ENOMEM);
		return;
	}
	struct stream *out = stream_open_output(c->conn, get_bits(c, F_CONNECT_STDOUT), c->principal, c->ret_fd);
	c->ret_fd = -1;
	if (!out) {
		stream_drop(in);
		fail_errno(c, ENOMEM);
		return;
	}
	in->is_socket = out->is_socket = true;
}
