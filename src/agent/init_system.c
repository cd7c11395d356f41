#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "init.h"
#include "util.h"

#define SAFE (MS_NOSUID | MS_NODEV | MS_NOEXEC)

static const struct mount_point {
	const char *type;
	const char *path;
	unsigned long flags;
	const char *data;
	mode_t mode;
} mount_points[] = {
	{ "proc", "/proc", SAFE, NULL, 0555 },
	{ "sysfs", "/sys", SAFE, NULL, 0555 },
	{ "devtmpfs", "/dev", MS_NOSUID, "mode=0755", 0755 },
	{ "devpts", "/dev/pts", MS_NOSUID | MS_NOEXEC, "gid=5,mode=0620,ptmxmode=0666", 0755 },
	{ "tmpfs", "/dev/shm", MS_NOSUID | MS_NODEV, "mode=1777", 01777 },
	{ "tmpfs", "/run", MS_NOSUID | MS_NODEV, "mode=0755", 0755 },
	{ "cgroup2", "/sys/fs/cgroup", SAFE, NULL, 0755 },
};

static void complain(const char *what, const char *name, int err)
{
	fprintf(stderr, "belljar: cannot %s %s: %s\n", what, name, strerror(err));
}

void init_mounts(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(mount_points); i++) {
		const struct mount_point *m = &mount_points[i];
		mkdir(m->path, m->mode);
		if (mount(m->type, m->path, m->type, m->flags, m->data) < 0 && errno != EBUSY)
			complain("mount", m->path, errno);
	}
	/* Shells expect these; devtmpfs makes none of them. */
	symlink("/proc/self/fd", "/dev/fd");
	symlink("/proc/self/fd/0", "/dev/stdin");
	symlink("/proc/self/fd/1", "/dev/stdout");
	symlink("/proc/self/fd/2", "/dev/stderr");
}

static void load_module(const char *path)
{
	CLEANUP_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		complain("open the module", path, errno);
	else if (syscall(SYS_finit_module, fd, "", 0) < 0 && errno != EEXIST)
		complain("load the module", path, errno);
}

void init_modules(const char *list)
{
	char line[512];
	FILE *file = fopen(list, "re");
	if (!file)
		return;
	while (fgets(line, sizeof(line), file)) {
		line[strcspn(line, "\r\n")] = '\0';
		if (line[0] == '/')
			load_module(line);
	}
	fclose(file);
}

void init_network(void)
{
	struct ifreq request = { 0 };
	CLEANUP_FD int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	memcpy(request.ifr_name, "lo", 3);
	if (ioctl(fd, SIOCGIFFLAGS, &request) < 0) {
		complain("bring up", "lo", errno);
		return;
	}
	request.ifr_flags = (short)(request.ifr_flags | IFF_UP);
	if (ioctl(fd, SIOCSIFFLAGS, &request) < 0)
		complain("bring up", "lo", errno);
}

void init_hostname(void)
{
	char name[65];
	ssize_t n = read_text("/etc/hostname", name, sizeof(name));
	if (n <= 0)
		return;
	name[strcspn(name, " \t\r\n")] = '\0';
	if (name[0] && sethostname(name, strlen(name)) < 0)
		complain("set the host name", name, errno);
}
