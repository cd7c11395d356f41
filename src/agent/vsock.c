#include "vsock.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/vm_sockets.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent.h"
#include "conn.h"

#define BACKLOG 16
/* Unproven peers that may be connected at once; the one that has waited longest makes room for another. */
#define MAX_UNPROVEN 16
/* Connections taken in one turn of the loop: a flood of them must not keep everything else waiting. */
#define ACCEPTS_PER_TURN 32
#define NEXT_TURN_MS 1
/* After a restore the driver takes its new address a moment later, and tells nobody: it is looked at for a while. */
#define FIRST_LOOK_MS 1
#define LONGEST_LOOK_MS 250
#define LOOK_FOR_MS 30000

static struct source listener = { .fd = -1 };
static struct timer more;
static struct timer look;
static uint64_t look_delay_ms;
static uint64_t look_until_ns;
static int64_t announced_cid;

/* A machine's harness is its host; whoever comes over the loopback is a guest process. */
static bool is_welcome(const struct sockaddr_vm *peer)
{
	return agent.ends_with_control || peer->svm_cid == VMADDR_CID_HOST;
}

static void accept_some(void)
{
	for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
		struct sockaddr_vm peer = { 0 };
		socklen_t size = sizeof(peer);
		int fd = accept4(listener.fd, (struct sockaddr *)&peer, &size, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd < 0 && errno == EINTR)
			continue;
		if (fd < 0)
			return;
		if (is_welcome(&peer) && conns_unproven() >= MAX_UNPROVEN)
			conns_end_oldest_unproven();
		if (!is_welcome(&peer) || !conn_add(fd, false, false))
			close(fd);
	}
	timer_set(&more, NEXT_TURN_MS);
}

static void on_peers(struct source *s, uint32_t events)
{
	(void)s;
	(void)events;
	accept_some();
}

static void accept_more(struct timer *t)
{
	(void)t;
	accept_some();
}

int vsock_listen(int port)
{
	struct sockaddr_vm name = {
		.svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY, .svm_port = (unsigned)port
	};
	/* On the host itself nobody but the host shall reach it. */
	if (agent.ends_with_control)
		name.svm_cid = VMADDR_CID_LOCAL;
	listener.fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (listener.fd < 0)
		return -errno;
	listener.ready = on_peers;
	more.fire = accept_more;
	if (bind(listener.fd, (const struct sockaddr *)&name, sizeof(name)) < 0 ||
	    listen(listener.fd, BACKLOG) < 0) {
		int err = errno;
		close_fd(&listener.fd);
		return -err;
	}
	return loop_add(&listener, EPOLLIN);
}

/* Returns this machine's CID, -1 without one. */
static int64_t local_cid(void)
{
	unsigned cid;
	if (agent.ends_with_control)
		return VMADDR_CID_LOCAL;
	CLEANUP_FD int fd = open("/dev/vsock", O_RDONLY | O_CLOEXEC);
	if (fd < 0 || ioctl(fd, IOCTL_VM_SOCKETS_GET_LOCAL_CID, &cid) < 0 || cid == VMADDR_CID_ANY)
		return -1;
	return cid;
}

static void send_serving(int64_t cid)
{
	struct buf b = { 0 };
	mp_map(&b, 3);
	mp_put_str(&b, "ev", EV_SERVING);
	mp_put_int(&b, "cid", cid);
	mp_put_int(&b, "port", agent.vsock_port);
	send_event(agent.control, 0, 0, &b);
	buf_free(&b);
}

static void look_at_cid(struct timer *t)
{
	int64_t cid = local_cid();
	if (!agent.control || !agent.control->is_live)
		return;
	if (cid >= 0 && cid != announced_cid) {
		announced_cid = cid;
		send_serving(cid);
	}
	if (agent.ends_with_control || monotonic_ns() >= look_until_ns)
		return;
	timer_set(t, look_delay_ms);
	look_delay_ms = look_delay_ms < LONGEST_LOOK_MS / 2 ? look_delay_ms * 2 : LONGEST_LOOK_MS;
}

void vsock_announce(void)
{
	if (agent.vsock_port < 0)
		return;
	announced_cid = -1;
	look_delay_ms = FIRST_LOOK_MS;
	look_until_ns = monotonic_ns() + LOOK_FOR_MS * UINT64_C(1000000);
	look.fire = look_at_cid;
	timer_clear(&look);
	look_at_cid(&look);
}
