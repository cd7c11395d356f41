/* What makes a machine itself: clock, host name, random state, addresses, secret. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/random.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "agent.h"
#include "init.h"
#include "machine.h"

#define MAX_SEED 512
#define MAC_SIZE 6
#define MACHINE_ID_FILE "/etc/machine-id"
/* By its content programs of the guest can tell that they go on in another machine. */
#define EPOCH_FOLDER "/run/belljar"
#define EPOCH_FILE EPOCH_FOLDER "/epoch"

static int64_t read_clock(clockid_t id)
{
	struct timespec ts = { 0 };
	clock_gettime(id, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

int start_clock_get(struct call *c)
{
	mp_map(&c->out, 3);
	mp_put_int(&c->out, "realtimeNs", read_clock(CLOCK_REALTIME));
	mp_put_int(&c->out, "monotonicNs", read_clock(CLOCK_MONOTONIC));
	mp_put_int(&c->out, "boottimeNs", read_clock(CLOCK_BOOTTIME));
	return 0;
}

static int set_clock(int64_t ns)
{
	struct timespec ts = { .tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000 };
	if (ns < 0)
		return -EINVAL;
	return clock_settime(CLOCK_REALTIME, &ts) < 0 ? -errno : 0;
}

static int done(struct call *c, int result)
{
	if (result)
		fail_errno(c, -result);
	return result;
}

int start_clock_set(struct call *c)
{
	return done(c, set_clock(get_int(c, F_CLOCK_SET_REALTIME_NS)));
}

static int set_hostname(const struct mp_val *name)
{
	return sethostname((const char *)name->data, name->size) < 0 ? -errno : 0;
}

int start_set_hostname(struct call *c)
{
	return done(c, set_hostname(&c->f[F_SET_HOSTNAME_HOSTNAME]));
}

static int reseed(const struct mp_val *seed)
{
	struct {
		int entropy_count;
		int buf_size;
		uint8_t buf[MAX_SEED];
	} pool = { 0 };
	if (seed->size == 0 || seed->size > MAX_SEED)
		return -EINVAL;
	CLEANUP_FD int fd = open("/dev/urandom", O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	pool.entropy_count = (int)seed->size * 8;
	pool.buf_size = (int)seed->size;
	memcpy(pool.buf, seed->data, seed->size);
	if (ioctl(fd, RNDADDENTROPY, &pool) < 0)
		return -errno;
	/* Without this the new bytes count only from the next reseeding on, which may be minutes away. */
	return ioctl(fd, RNDRESEEDCRNG) < 0 ? -errno : 0;
}

int start_reseed(struct call *c)
{
	return done(c, reseed(&c->f[F_RESEED_SEED]));
}

static int set_mac(int sock, const char *name, const uint8_t *from, const uint8_t *to)
{
	struct ifreq request = { 0 };
	snprintf(request.ifr_name, sizeof(request.ifr_name), "%.15s", name);
	if (ioctl(sock, SIOCGIFHWADDR, &request) < 0 || memcmp(request.ifr_hwaddr.sa_data, from, MAC_SIZE) != 0)
		return -ENODEV;
	request.ifr_hwaddr.sa_family = ARPHRD_ETHER;
	memcpy(request.ifr_hwaddr.sa_data, to, MAC_SIZE);
	return ioctl(sock, SIOCSIFHWADDR, &request) < 0 ? -errno : 0;
}

static int change_mac(int sock, const uint8_t *from, const uint8_t *to)
{
	int result = -ENODEV;
	DIR *dir = opendir("/sys/class/net");
	if (!dir)
		return -errno;
	for (struct dirent *e; result == -ENODEV && (e = readdir(dir));) {
		if (e->d_name[0] != '.')
			result = set_mac(sock, e->d_name, from, to);
	}
	closedir(dir);
	return result;
}

static int change_macs(struct call *c)
{
	const struct mp_val *list = &c->f[F_CLONE_MACS];
	struct mp_reader r = { list->data, c->body + c->body_len };
	if (list->size == 0)
		return 0;
	CLEANUP_FD int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int result = sock < 0 ? -errno : 0;
	for (uint32_t i = 0; !result && i < list->size; i++) {
		struct mp_val pair, from, to;
		if (mp_read(&r, &pair) || pair.size != 2 || mp_read(&r, &from) || mp_read(&r, &to) ||
		    from.size != MAC_SIZE || to.size != MAC_SIZE)
			return -EINVAL;
		result = change_mac(sock, from.data, to.data);
	}
	return result;
}

static int write_line(const char *path, const void *text, size_t size)
{
	CLEANUP_FD int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0444);
	if (fd < 0)
		/* A guest that cannot be written to has no such file of its own. */
		return errno == EROFS ? 0 : -errno;
	int result = write_full(fd, text, size);
	return result ? result : write_full(fd, "\n", 1);
}

static int set_machine_id(const struct mp_val *id)
{
	return write_line(MACHINE_ID_FILE, id->data, id->size);
}

static int show_epoch(const struct mp_val *epoch)
{
	char text[2 * WIRE_NONCE_SIZE + 1];
	for (size_t i = 0; i < WIRE_NONCE_SIZE; i++)
		snprintf(text + 2 * i, 3, "%02x", epoch->data[i]);
	if (mkdir(EPOCH_FOLDER, 0755) < 0 && errno != EEXIST)
		return errno == EROFS || errno == ENOENT ? 0 : -errno;
	return write_line(EPOCH_FILE, text, 2 * WIRE_NONCE_SIZE);
}

static int fail_step(struct call *c, const char *step, int result)
{
	fail_errno(c, -result);
	snprintf(c->fail.detail, sizeof(c->fail.detail), "cannot set the %s", step);
	return result;
}

/* Process 1 hands it to the agent that it starts if this one ends: the machine's secret is not the template's any more. */
static int tell_init(const struct mp_val *secret)
{
	uint8_t order[1 + WIRE_SECRET_SIZE] = { INIT_ORDER_SECRET };
	if (agent.init_fd < 0)
		return 0;
	memcpy(order + 1, secret->data, WIRE_SECRET_SIZE);
	ssize_t n = send(agent.init_fd, order, sizeof(order), MSG_DONTWAIT | MSG_NOSIGNAL);
	return n == (ssize_t)sizeof(order) ? 0 : n < 0 ? -errno : -EIO;
}

int start_clone(struct call *c)
{
	const struct mp_val *epoch = &c->f[F_CLONE_EPOCH], *secret = &c->f[F_CLONE_SECRET];
	int result;
	if (epoch->size != WIRE_NONCE_SIZE || secret->size != WIRE_SECRET_SIZE) {
		fail_code(c, "format", "epoch or secret is of a wrong size");
		return -EINVAL;
	}
	/* Before anything else: whatever runs next may draw random numbers. */
	if ((result = reseed(&c->f[F_CLONE_SEED])))
		return fail_step(c, "seed", result);
	if ((result = set_clock(get_int(c, F_CLONE_REALTIME_NS))))
		return fail_step(c, "clock", result);
	if (has(c, F_CLONE_HOSTNAME) && (result = set_hostname(&c->f[F_CLONE_HOSTNAME])))
		return fail_step(c, "host name", result);
	if (has(c, F_CLONE_MACHINE_ID) && (result = set_machine_id(&c->f[F_CLONE_MACHINE_ID])))
		return fail_step(c, "machine id", result);
	if ((result = show_epoch(epoch)))
		return fail_step(c, "epoch", result);
	if (has(c, F_CLONE_MACS) && (result = change_macs(c)))
		return fail_step(c, "addresses", result);
	if ((result = tell_init(secret)))
		return fail_step(c, "secret of process 1", result);
	memcpy(agent.secret, secret->data, sizeof(agent.secret));
	memcpy(agent.epoch, epoch->data, sizeof(agent.epoch));
	return 0;
}
