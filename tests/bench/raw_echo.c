/*
 * Serves the bare bytes of a transport, the best that it can do. Three requests of 9 bytes each, a letter and a little-endian
 * count: 'E' echoes that many bytes, 'D' reads and drops them and answers one byte, 'S' sends them.
 *
 *   as PID 1                    of a machine: loads the image's modules and serves its virtio-serial port
 *   raw_echo unix PATH          connects to a unix socket and serves it
 *   raw_echo vsock PORT         listens there, says so, and serves the first that connects
 *   raw_echo spawn COUNT CMD…   serves nothing: runs CMD so often and prints the microseconds of each
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <linux/vm_sockets.h>

extern char **environ;

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

static int is_port; /* whose end is not the end: the host has not connected yet */

static int read_full(int fd, unsigned char *data, size_t len)
{
	for (size_t got = 0; got < len;) {
		ssize_t n = read(fd, data + got, len - got);
		if (n < 0 && errno != EINTR)
			return -1;
		if (n == 0 && !is_port)
			return -1;
		if (n == 0)
			usleep(1000);
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

static int serve_all(int fd)
{
	unsigned char request[9];

	while (read_full(fd, request, sizeof(request)) == 0) {
		uint64_t count = 0;
		for (int i = 8; i >= 1; i--)
			count = count << 8 | request[i];
		if (serve(fd, request[0], count) != 0)
			return 1;
	}
	return 0;
}

static int serve_port(void)
{
	int fd;

	mkdir("/proc", 0755);
	mkdir("/sys", 0755);
	mkdir("/dev", 0755);
	mount("proc", "/proc", "proc", 0, "");
	mount("sysfs", "/sys", "sysfs", 0, "");
	mount("devtmpfs", "/dev", "devtmpfs", 0, "");
	load_modules();
	while ((fd = open_port()) < 0)
		usleep(1000);
	is_port = 1;
	return serve_all(fd);
}

static int fail(const char *what)
{
	fprintf(stderr, "raw_echo: %s: %s\n", what, strerror(errno));
	return 1;
}

static int serve_unix(const char *path)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (strlen(path) >= sizeof(at.sun_path))
		return fail(path);
	memcpy(at.sun_path, path, strlen(path));
	if (fd < 0 || connect(fd, (struct sockaddr *)&at, sizeof(at)) != 0)
		return fail(path);
	return serve_all(fd);
}

static int serve_vsock(const char *port)
{
	struct sockaddr_vm at = {
		.svm_family = AF_VSOCK,
		.svm_cid = VMADDR_CID_ANY,
		.svm_port = (unsigned int)strtoul(port, NULL, 10),
	};
	int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof(at)) != 0 || listen(fd, 1) != 0)
		return fail("vsock");
	puts("listening");
	fflush(stdout);
	int conn = accept(fd, NULL, NULL);
	return conn < 0 ? fail("vsock") : serve_all(conn);
}

static double now_us(void)
{
	struct timespec at;

	clock_gettime(CLOCK_MONOTONIC, &at);
	return (double)at.tv_sec * 1e6 + (double)at.tv_nsec / 1e3;
}

static int measure_spawn(long count, char **command)
{
	for (long i = 0; i < count; i++) {
		double began = now_us();
		pid_t pid;
		int status;

		errno = posix_spawn(&pid, command[0], NULL, NULL, command, environ);
		if (errno != 0 || waitpid(pid, &status, 0) != pid || status != 0)
			return fail(command[0]);
		printf("%.0f\n", now_us() - began);
	}
	return 0;
}

int main(int argc, char **argv)
{
	if (getpid() == 1)
		return serve_port();
	if (argc == 3 && strcmp(argv[1], "unix") == 0)
		return serve_unix(argv[2]);
	if (argc == 3 && strcmp(argv[1], "vsock") == 0)
		return serve_vsock(argv[2]);
	if (argc > 3 && strcmp(argv[1], "spawn") == 0)
		return measure_spawn(strtol(argv[2], NULL, 10), argv + 3);
	fprintf(stderr, "raw_echo: see the head of raw_echo.c\n");
	return 2;
}
