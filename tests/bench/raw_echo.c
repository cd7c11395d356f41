/*
 * PID 1 of a machine that measures the bare virtio-serial port: loads the image's modules, opens the control port and
 * serves three requests of 9 bytes each, a letter and a little-endian count: 'E' echoes that many bytes, 'D' reads and
 * drops them and answers one byte, 'S' sends them.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static unsigned char buffer[256 * 1024];

static void load_modules(void)
{
	FILE *list = fopen("/etc/belljar/modules", "re");
	char line[512];

	while (list && fgets(line, sizeof(line), list)) {
		line[strcspn(line, "\n")] = '\0';
		int fd = open(line, O_RDONLY | O_CLOEXEC);
		if (fd >= 0) {
			syscall(SYS_finit_module, fd, "", 0);
			close(fd);
		}
	}
	if (list)
		fclose(list);
}

static int open_port(void)
{
	DIR *dir = opendir("/sys/class/virtio-ports");
	struct dirent *entry;

	while (dir && (entry = readdir(dir)) != NULL) {
		char path[512];
		char name[128] = "";
		snprintf(path, sizeof(path), "/sys/class/virtio-ports/%s/name", entry->d_name);
		FILE *file = fopen(path, "re");
		if (!file)
			continue;
		char *got = fgets(name, sizeof(name), file);
		fclose(file);
		if (!got || strncmp(name, "org.belljar.control", 19) != 0)
			continue;
		snprintf(path, sizeof(path), "/dev/%s", entry->d_name);
		closedir(dir);
		return open(path, O_RDWR | O_CLOEXEC);
	}
	if (dir)
		closedir(dir);
	return -1;
}

static int read_full(int fd, unsigned char *data, size_t len)
{
	for (size_t got = 0; got < len;) {
		ssize_t n = read(fd, data + got, len - got);
		if (n < 0 && errno != EINTR)
			return -1;
		if (n == 0)
			usleep(1000); /* the host has not connected yet */
		got += n > 0 ? (size_t)n : 0;
	}
	return 0;
}

static int write_full(int fd, const unsigned char *data, size_t len)
{
	for (size_t done = 0; done < len;) {
		ssize_t n = write(fd, data + done, len - done);
		if (n < 0 && errno != EINTR)
			return -1;
		done += n > 0 ? (size_t)n : 0;
	}
	return 0;
}

static int serve(int fd, unsigned char what, uint64_t count)
{
	while (count > 0) {
		size_t part = count < sizeof(buffer) ? (size_t)count : sizeof(buffer);
		if (what != 'S' && read_full(fd, buffer, part) != 0)
			return -1;
		if (what != 'D' && write_full(fd, buffer, part) != 0)
			return -1;
		count -= part;
	}
	return what == 'D' ? write_full(fd, buffer, 1) : 0;
}

int main(void)
{
	unsigned char request[9];

	mkdir("/proc", 0755);
	mkdir("/sys", 0755);
	mkdir("/dev", 0755);
	mount("proc", "/proc", "proc", 0, "");
	mount("sysfs", "/sys", "sysfs", 0, "");
	mount("devtmpfs", "/dev", "devtmpfs", 0, "");
	load_modules();
	int fd = -1;
	while ((fd = open_port()) < 0)
		usleep(1000);
	while (read_full(fd, request, sizeof(request)) == 0) {
		uint64_t count = 0;
		for (int i = 8; i >= 1; i--)
			count = count << 8 | request[i];
		if (serve(fd, request[0], count) != 0)
			break;
	}
	return 1;
}
