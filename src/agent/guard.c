/* guard --watch: the command keeps this process' number, so that the harness' child is the command itself. */
#include "guard.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "util.h"

/* Whether the pipe has ended: what the harness may write into it means nothing. */
static bool has_ended(int fd)
{
	char scrap[256];
	ssize_t n = read(fd, scrap, sizeof(scrap));
	return n == 0 || (n < 0 && errno != EINTR && errno != EAGAIN);
}

static void kill_command(int command, pid_t pid)
{
	/* By descriptor: a number may be somebody else's by now. Its group only while it holds the number itself. */
	if (getpgid(pid) == pid)
		kill(-pid, SIGKILL);
	syscall(SYS_pidfd_send_signal, command, SIGKILL, NULL, 0);
}

static void watch(int command, pid_t pid)
{
	struct pollfd fds[] = {
		{ .fd = STDIN_FILENO, .events = POLLIN },
		{ .fd = command, .events = POLLIN },
	};
	for (;;) {
		if (poll(fds, ARRAY_SIZE(fds), -1) < 0) {
			if (errno == EINTR)
				continue;
			_exit(1);
		}
		/* It has ended by itself. */
		if (fds[1].revents)
			_exit(0);
		if (fds[0].revents && has_ended(STDIN_FILENO)) {
			kill_command(command, pid);
			_exit(0);
		}
	}
}

/* What ends a group; none of it ends the watcher. */
static const int ignored[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE };

/* Leaves the watcher nothing but the pipe and the command's descriptor. */
static void watcher_main(int command, pid_t pid)
{
	for (size_t i = 0; i < ARRAY_SIZE(ignored); i++)
		signal(ignored[i], SIG_IGN);
	/* Out of the command's group: the group is killed from here. */
	setsid();
	prctl(PR_SET_NAME, "belljar-watch");
	int null_fd = open("/dev/null", O_RDWR);
	if (null_fd >= 0) {
		dup2(null_fd, STDOUT_FILENO);
		dup2(null_fd, STDERR_FILENO);
	}
	if (command != 3) {
		dup2(command, 3);
		command = 3;
	}
	syscall(SYS_close_range, 4, ~0u, 0);
	watch(command, pid);
}

static int fail(const char *what)
{
	fprintf(stderr, "belljar-agent guard: cannot %s: %s\n", what, strerror(errno));
	return 126;
}

int guard_watch(char **command)
{
	pid_t pid = getpid();
	/* First of all: until then a terminal's Ctrl-C is for the harness and for us. It fails where that was done for us. */
	setsid();
	int self = (int)syscall(SYS_pidfd_open, pid, 0);
	if (self < 0)
		return fail("watch itself");
	/* Held back until the watcher ignores them: it begins in the command's group. */
	sigset_t held, before;
	sigemptyset(&held);
	for (size_t i = 0; i < ARRAY_SIZE(ignored); i++)
		sigaddset(&held, ignored[i]);
	sigprocmask(SIG_BLOCK, &held, &before);
	/* Twice, so that the command has no child that it does not know of. */
	pid_t child = fork();
	if (child < 0)
		return fail("fork");
	if (child == 0) {
		pid_t watcher = fork();
		if (watcher == 0)
			watcher_main(self, pid);
		_exit(watcher < 0);
	}
	int status = 0;
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	if (status != 0)
		return fail("fork the watcher");
	close(self);
	int null_fd = open("/dev/null", O_RDONLY);
	if (null_fd < 0 || dup2(null_fd, STDIN_FILENO) < 0)
		return fail("open /dev/null");
	if (null_fd > 2)
		close(null_fd);
	sigprocmask(SIG_SETMASK, &before, NULL);
	execvp(command[0], command);
	int err = errno;
	fprintf(stderr, "belljar-agent guard: cannot run %s: %s\n", command[0], strerror(err));
	return err == ENOENT ? 127 : 126;
}
