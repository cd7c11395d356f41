/* The power button, as an event. Its driver may be loaded at any time. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/input.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "conn.h"
#include "watch.h"

#define DEVICES "/dev/input"
#define MAX_DEVICES 32

struct device {
	struct source src;
	bool is_known;
};

/* By the number in their names. */
static struct device devices[MAX_DEVICES];
static struct source changes = { .fd = -1 };

static void forget(struct device *d)
{
	loop_remove(&d->src);
	close_fd(&d->src.fd);
	d->is_known = false;
}

static void read_button(struct source *s, uint32_t events)
{
	struct input_event e;
	ssize_t n;
	(void)events;
	while ((n = read(s->fd, &e, sizeof(e))) == sizeof(e)) {
		if (e.type != EV_KEY || e.code != KEY_POWER || e.value != 1)
			continue;
		struct buf b = { 0 };
		mp_map(&b, 1);
		mp_put_str(&b, "ev", EV_POWER_BUTTON);
		send_event(conn_operating(), 0, 0, &b);
		buf_free(&b);
	}
	if (n < 0 && errno == ENODEV)
		forget(container_of(s, struct device, src));
}

static bool is_power_button(int fd)
{
	unsigned char keys[KEY_MAX / 8 + 1] = { 0 };
	/* The libraries do not agree on the type of a request; the kernel takes 32 bits. */
	if (syscall(SYS_ioctl, fd, EVIOCGBIT(EV_KEY, sizeof(keys)), keys) < 0)
		return false;
	return keys[KEY_POWER / 8] & 1u << KEY_POWER % 8;
}

static void look_at_device(int dir, const char *name)
{
	unsigned long number = strncmp(name, "event", 5) ? MAX_DEVICES : strtoul(name + 5, NULL, 10);
	if (number >= MAX_DEVICES || devices[number].is_known)
		return;
	struct device *d = &devices[number];
	int fd = openat(dir, name, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return;
	d->is_known = true;
	d->src = (struct source){ .fd = -1, .ready = read_button };
	if (!is_power_button(fd)) {
		close(fd);
		return;
	}
	d->src.fd = fd;
	loop_add(&d->src, EPOLLIN);
}

static void look_at_devices(struct source *s, uint32_t events)
{
	char scrap[4096];
	(void)events;
	while (read(s->fd, scrap, sizeof(scrap)) > 0)
		;
	/* The folder comes with the first device; watching it again changes nothing. */
	inotify_add_watch(s->fd, DEVICES, IN_CREATE);
	DIR *dir = opendir(DEVICES);
	if (!dir)
		return;
	for (struct dirent *e; (e = readdir(dir));)
		look_at_device(dirfd(dir), e->d_name);
	closedir(dir);
}

void power_button_init(void)
{
	changes = (struct source){ .fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK), .ready = look_at_devices };
	if (changes.fd < 0)
		return;
	inotify_add_watch(changes.fd, "/dev", IN_CREATE);
	loop_add(&changes, EPOLLIN);
	look_at_devices(&changes, 0);
}
