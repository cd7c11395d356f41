#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "init.h"
#include "util.h"

/* What processes have to end themselves when the machine goes down. */
#define GRACE_MS 1000

/* Waits until no child is left; orphans of others become ours. */
static void await_children(uint64_t limit_ms)
{
	uint64_t until = monotonic_ns() + limit_ms * 1000000u;
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	for (;;) {
		pid_t pid = waitpid(-1, NULL, WNOHANG | __WALL);
		if (pid > 0)
			continue;
		uint64_t now = monotonic_ns();
		if ((pid < 0 && errno == ECHILD) || now >= until)
			return;
		struct timespec left = {
			.tv_sec = (time_t)((until - now) / 1000000000u),
			.tv_nsec = (long)((until - now) % 1000000000u),
		};
		sigtimedwait(&set, NULL, &left);
	}
}

void init_end(char how)
{
	sigset_t all;
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	kill(-1, SIGTERM);
	/* A stopped process hears of it only when it goes on. */
	kill(-1, SIGCONT);
	await_children(GRACE_MS);
	kill(-1, SIGKILL);
	await_children(GRACE_MS);
	sync();
	mount(NULL, "/", NULL, MS_REMOUNT | MS_RDONLY, NULL);
	/* Some of the kernel's magic numbers do not fit the library's int. */
	reboot((int)(how == 'r' ? (unsigned)RB_AUTOBOOT : how == 'h' ? (unsigned)RB_HALT_SYSTEM : (unsigned)RB_POWER_OFF));
	perror("belljar: cannot end the machine");
	for (;;)
		pause();
}
