/*
 * Process 1: mounts, loads modules, reaps, and keeps the agent proper running. Everything that could fail because of what a
 * test does runs in the agent, its child.
 */
#include "init.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/klog.h>
#include <sys/reboot.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cgroup.h"
#include "util.h"
#include "wire_gen.h"

#define SECRET_FILE "/etc/belljar/secret"
#define MODULES_FILE "/etc/belljar/modules"
#define PORT_NAME "org.belljar.control"
#define PORTS_FOLDER "/sys/class/virtio-ports"
/* klogctl(2): warnings and worse go to the console. */
#define CONSOLE_LEVEL_ACTION 8
#define CONSOLE_LEVEL 5
#define MAX_STARTS 2

struct state {
	uint8_t secret[WIRE_SECRET_SIZE];
	bool has_secret;
	char port[64];
	char vsock_port[16];
	pid_t agent;
	int orders;
	int starts;
	int last_status;
	int signals;
	int uevents;
};

static void open_console(void)
{
	/* An initramfs without /dev/console leaves process 1 without any descriptor. */
	if (fcntl(2, F_GETFD) >= 0)
		return;
	int fd = open("/dev/console", O_RDWR);
	if (fd < 0)
		return;
	for (int i = 0; i < 3; i++)
		dup2(fd, i);
	if (fd > 2)
		close(fd);
}

static void take_secret(struct state *s)
{
	int fd = open(SECRET_FILE, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		fprintf(stderr, "belljar: cannot open %s: %s\n", SECRET_FILE, strerror(errno));
		return;
	}
	s->has_secret = read_full(fd, s->secret, sizeof(s->secret)) == 0;
	close(fd);
	unlink(SECRET_FILE);
	if (!s->has_secret)
		fprintf(stderr, "belljar: %s is too short\n", SECRET_FILE);
}

static void read_cmdline(struct state *s)
{
	char text[4096];
	if (read_text("/proc/cmdline", text, sizeof(text)) < 0)
		return;
	for (char *word = strtok(text, " \n"); word; word = strtok(NULL, " \n")) {
		if (!strncmp(word, "belljar.vsock=", 14))
			snprintf(s->vsock_port, sizeof(s->vsock_port), "%s", word + 14);
	}
}

/* Looks for the port by its name. The kernel names it a little after it has made it. */
static bool find_port(struct state *s)
{
	DIR *dir = opendir(PORTS_FOLDER);
	if (!dir)
		return false;
	for (struct dirent *e; !s->port[0] && (e = readdir(dir));) {
		char path[320], name[64];
		snprintf(path, sizeof(path), PORTS_FOLDER "/%s/name", e->d_name);
		if (e->d_name[0] == '.' || read_text(path, name, sizeof(name)) < 0)
			continue;
		name[strcspn(name, "\n")] = '\0';
		if (!strcmp(name, PORT_NAME) && strlen(e->d_name) < sizeof(s->port) - 5)
			snprintf(s->port, sizeof(s->port), "/dev/%.48s", e->d_name);
	}
	closedir(dir);
	return s->port[0] != '\0';
}

static int secret_pipe(const struct state *s)
{
	int fds[2];
	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	int result = write_full(fds[1], s->secret, sizeof(s->secret));
	close(fds[1]);
	if (result)
		close(fds[0]);
	return result ? result : fds[0];
}

static void exec_agent(const struct state *s, int secret, int orders)
{
	char secret_text[16], orders_text[16], status_text[16], listen_text[32];
	const char *argv[16] = { "belljar-agent", "agent", "--control", s->port };
	int argc = 4;
	char *env[] = { "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root",
			"LANG=C.UTF-8", NULL };
	snprintf(secret_text, sizeof(secret_text), "%d", secret);
	snprintf(orders_text, sizeof(orders_text), "%d", orders);
	argv[argc++] = "--secret-fd";
	argv[argc++] = secret_text;
	argv[argc++] = "--init-fd";
	argv[argc++] = orders_text;
	if (s->vsock_port[0]) {
		snprintf(listen_text, sizeof(listen_text), "vsock:%s", s->vsock_port);
		argv[argc++] = "--listen";
		argv[argc++] = listen_text;
	}
	if (s->starts > 1) {
		bool killed = WIFSIGNALED(s->last_status);
		snprintf(status_text, sizeof(status_text), "%d",
			 killed ? WTERMSIG(s->last_status) : WEXITSTATUS(s->last_status));
		argv[argc++] = killed ? "--restarted-signal" : "--restarted-code";
		argv[argc++] = status_text;
	}
	fcntl(secret, F_SETFD, 0);
	execve("/proc/self/exe", (char *const *)argv, env);
	fprintf(stderr, "belljar: cannot start the agent: %s\n", strerror(errno));
	_exit(127);
}

static void start_agent(struct state *s)
{
	int orders[2];
	int secret = secret_pipe(s);
	if (secret < 0 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, orders) < 0) {
		fprintf(stderr, "belljar: cannot prepare the agent: %s\n", strerror(errno));
		close_fd(&secret);
		return;
	}
	s->starts++;
	pid_t pid = fork();
	if (pid == 0) {
		sigset_t none;
		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
		setsid();
		fcntl(orders[1], F_SETFD, 0);
		exec_agent(s, secret, orders[1]);
	}
	close(secret);
	close(orders[1]);
	close_fd(&s->orders);
	s->orders = orders[0];
	s->agent = pid;
	klogctl(CONSOLE_LEVEL_ACTION, NULL, CONSOLE_LEVEL);
}

/* A letter is what to do with the machine; with a secret after it, what the agent is now asked to prove. */
static void take_orders(struct state *s)
{
	uint8_t order[1 + WIRE_SECRET_SIZE];
	ssize_t n;
	while ((n = recv(s->orders, order, sizeof(order), MSG_DONTWAIT)) > 0) {
		if (n == 1)
			init_end((char)order[0]);
		else if (n == sizeof(order) && order[0] == INIT_ORDER_SECRET)
			memcpy(s->secret, order + 1, sizeof(s->secret));
	}
}

static void agent_ended(struct state *s, int status)
{
	const char *how = WIFSIGNALED(status) ? "signal" : "code";
	int number = WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status);
	s->agent = -1;
	s->last_status = status;
	/* Its last words count for the next one. */
	take_orders(s);
	if (s->starts >= MAX_STARTS) {
		fprintf(stderr, "belljar: the agent ended again (%s %d); it is not restarted\n", how, number);
		return;
	}
	fprintf(stderr, "belljar: the agent ended (%s %d); restarting it\n", how, number);
	start_agent(s);
}

static void reap(struct state *s)
{
	for (;;) {
		int status;
		pid_t pid = waitpid(-1, &status, WNOHANG | __WALL);
		if (pid < 0 && errno == EINTR)
			continue;
		if (pid <= 0)
			return;
		if (pid == s->agent)
			agent_ended(s, status);
	}
}

/* The letters of init_end(), as busybox' poweroff, reboot and halt signal them. */
static char order_of(uint32_t sig)
{
	return sig == SIGUSR2 ? 'p' : sig == SIGUSR1 ? 'h' : 'r';
}

static void take_signals(struct state *s)
{
	struct signalfd_siginfo si;
	while (read(s->signals, &si, sizeof(si)) == sizeof(si)) {
		if (si.ssi_signo != SIGCHLD)
			init_end(order_of(si.ssi_signo));
	}
	reap(s);
}

static void take_uevents(struct state *s)
{
	char text[2048];
	bool is_disk = false;
	for (;;) {
		/* "add@/devices/pci0000:00/.../block/vda", then further fields. */
		ssize_t n = recv(s->uevents, text, sizeof(text) - 1, MSG_DONTWAIT);
		if (n < 0 && errno == ENOBUFS) {
			/* Some were lost. */
			is_disk = true;
			continue;
		}
		if (n <= 0)
			break;
		text[n] = '\0';
		is_disk |= strstr(text, "/block/vd") != NULL;
	}
	if (is_disk)
		init_disks();
	if (s->starts == 0 && s->has_secret && find_port(s))
		start_agent(s);
}

static int open_uevents(void)
{
	struct sockaddr_nl name = { .nl_family = AF_NETLINK, .nl_groups = 1 };
	int fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_KOBJECT_UEVENT);
	if (fd >= 0 && bind(fd, (const struct sockaddr *)&name, sizeof(name)) < 0)
		close_fd(&fd);
	return fd;
}

static int open_signals(void)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGUSR2);
	sigprocmask(SIG_SETMASK, &set, NULL);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static void run(struct state *s)
{
	for (;;) {
		struct pollfd fds[] = {
			{ .fd = s->signals, .events = POLLIN },
			{ .fd = s->orders, .events = POLLIN },
			{ .fd = s->uevents, .events = POLLIN },
		};
		if (poll(fds, ARRAY_SIZE(fds), -1) < 0)
			continue;
		if (fds[1].revents & POLLIN)
			take_orders(s);
		if (fds[1].revents & POLLHUP)
			close_fd(&s->orders);
		if (fds[0].revents)
			take_signals(s);
		if (fds[2].revents)
			take_uevents(s);
	}
}

int init_main(void)
{
	static struct state s = { .agent = -1, .orders = -1 };
	umask(022);
	reset_signals();
	init_mounts();
	open_console();
	setsid();
	chdir("/");
	reboot(RB_DISABLE_CAD);
	s.signals = open_signals();
	s.uevents = open_uevents();
	take_secret(&s);
	read_cmdline(&s);
	init_modules(MODULES_FILE);
	init_disks();
	init_network();
	init_hostname();
	if (s.has_secret && find_port(&s))
		start_agent(&s);
	run(&s);
	return 1;
}
