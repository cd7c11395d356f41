#include "reap.h"

#include <errno.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent.h"
#include "principal.h"

static struct source signals = { .fd = -1 };
static struct exit_info *early;
static size_t early_count, early_cap;
static int expected;

static void keep_early(const struct exit_info *info)
{
	if (expected == 0)
		return;
	if (early_count == early_cap) {
		size_t cap = early_cap ? early_cap * 2 : 16;
		struct exit_info *list = realloc(early, cap * sizeof(*list));
		if (!list)
			return;
		early = list;
		early_cap = cap;
	}
	early[early_count++] = *info;
}

bool reap_take_early(pid_t pid, struct exit_info *out)
{
	bool found = false;
	for (size_t i = 0; i < early_count; i++) {
		if (early[i].pid != pid)
			continue;
		*out = early[i];
		early[i].pid = 0;
		found = true;
	}
	return found;
}

void reap_expect(int change)
{
	expected += change;
	if (expected == 0)
		early_count = 0;
}

static void reap_children(void)
{
	bool any_ended = false;
	for (;;) {
		siginfo_t si = { 0 };
		int flags = WEXITED | WSTOPPED | WCONTINUED | WNOHANG | __WALL;
		if (waitid(P_ALL, 0, &si, flags) < 0 && errno == EINTR)
			continue;
		if (si.si_pid == 0)
			break;
		struct exit_info info = { .pid = si.si_pid, .how = si.si_code, .status = si.si_status };
		any_ended |= si.si_code == CLD_EXITED || si.si_code == CLD_KILLED || si.si_code == CLD_DUMPED;
		if (!proc_child_changed(&info) && !worker_child_changed(&info))
			keep_early(&info);
	}
	if (any_ended)
		procs_look();
}

static void signal_ready(struct source *s, uint32_t events)
{
	struct signalfd_siginfo si;
	(void)events;
	bool child = false;
	while (read(s->fd, &si, sizeof(si)) == sizeof(si)) {
		if (si.ssi_signo == SIGCHLD)
			child = true;
		else
			agent_stop();
	}
	if (child)
		reap_children();
}

static void fill_set(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGCHLD);
	sigaddset(set, SIGTERM);
	sigaddset(set, SIGINT);
	sigaddset(set, SIGHUP);
}

void reap_block_signals(void)
{
	sigset_t set;
	fill_set(&set);
	sigprocmask(SIG_SETMASK, &set, NULL);
}

int reap_init(void)
{
	sigset_t set;
	fill_set(&set);
	signals.ready = signal_ready;
	signals.fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return signals.fd < 0 ? -errno : loop_add(&signals, EPOLLIN);
}
