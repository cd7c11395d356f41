/*
 * guard --run: ends what the harness started, once the harness is gone, and removes its folders.
 *
 * It reads lines: "group PGID STARTTICKS", "ungroup PGID", "dir PATH", "keep", "done".
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "guard.h"
#include "members.h"
#include "util.h"

#define GRACE_MS 2000
/* There is no event for the end of a process that is not our child. */
#define LOOK_MS 20
#define KILL_ROUNDS 250
#define MAX_LINE (PATH_MAX + 16)
#define MAX_DEPTH 64

struct group {
	struct group *next;
	pid_t pgid;
	uint64_t ticks;
};

struct folder {
	struct folder *next;
	char *path;
};

struct run {
	char *token;
	struct group *groups;
	struct folder *folders;
	bool keep;
	bool done;
};

static void add_folder(struct run *run, const char *path)
{
	struct folder *f = path[0] == '/' ? calloc(1, sizeof(*f)) : NULL;
	if (!f)
		return;
	f->path = strdup(path);
	f->next = run->folders;
	run->folders = f;
}

static void drop_group(struct run *run, pid_t pgid)
{
	for (struct group **at = &run->groups; *at;) {
		struct group *g = *at;
		if (g->pgid != pgid) {
			at = &g->next;
			continue;
		}
		*at = g->next;
		free(g);
	}
}

static void add_group(struct run *run, pid_t pgid, uint64_t ticks)
{
	struct group *g = pgid > 1 ? calloc(1, sizeof(*g)) : NULL;
	if (!g)
		return;
	drop_group(run, pgid);
	*g = (struct group){ .next = run->groups, .pgid = pgid, .ticks = ticks };
	run->groups = g;
}

static void take_line(struct run *run, char *line)
{
	int pgid;
	unsigned long long ticks;
	if (sscanf(line, "group %d %llu", &pgid, &ticks) == 2)
		add_group(run, pgid, ticks);
	else if (sscanf(line, "ungroup %d", &pgid) == 1)
		drop_group(run, pgid);
	else if (!strncmp(line, "dir ", 4))
		add_folder(run, line + 4);
	else if (!strcmp(line, "keep"))
		run->keep = true;
	else if (!strcmp(line, "done"))
		run->done = true;
}

/* Reads lines until the end. A last line without its newline is cut off, and does not count. */
static void read_lines(struct run *run)
{
	static char line[MAX_LINE];
	size_t len = 0;
	bool too_long = false;
	for (;;) {
		char byte;
		ssize_t n = read(STDIN_FILENO, &byte, 1);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return;
		if (byte == '\n') {
			line[len] = '\0';
			if (!too_long)
				take_line(run, line);
			len = 0;
			too_long = false;
		} else if (len < sizeof(line) - 1) {
			line[len++] = byte;
		} else {
			too_long = true;
		}
	}
}

static bool is_ours(const struct run *run, const struct member *m)
{
	if (m->pid == getpid() || m->state == 'Z' || m->state == 'X')
		return false;
	for (const struct group *g = run->groups; g; g = g->next) {
		/* A number that went to somebody else since has members that are older than the group, or none. */
		if (m->pgid == g->pgid && m->ticks >= g->ticks)
			return true;
	}
	return has_env(m->pid, "BELLJAR_TOKEN", run->token);
}

/* Signals everything that belongs to the run. Returns how much there was. */
static unsigned signal_run(const struct run *run, int sig)
{
	unsigned count = 0;
	DIR *dir = opendir("/proc");
	if (!dir)
		return 0;
	for (struct dirent *e; (e = readdir(dir));) {
		struct member m;
		if (!isdigit((unsigned char)e->d_name[0]) ||
		    read_member((pid_t)strtol(e->d_name, NULL, 10), &m) || !is_ours(run, &m))
			continue;
		count++;
		if (sig)
			signal_member(&m, sig);
	}
	closedir(dir);
	return count;
}

static void end_processes(const struct run *run)
{
	uint64_t until = monotonic_ns() + GRACE_MS * 1000000ull;
	if (signal_run(run, SIGTERM) == 0)
		return;
	signal_run(run, SIGCONT);
	while (monotonic_ns() < until) {
		if (signal_run(run, 0) == 0)
			return;
		poll(NULL, 0, LOOK_MS);
	}
	for (int i = 0; i < KILL_ROUNDS && signal_run(run, SIGKILL) > 0; i++)
		poll(NULL, 0, LOOK_MS);
}

static void remove_tree(int dir, const char *name, int depth)
{
	if (unlinkat(dir, name, 0) == 0 || depth > MAX_DEPTH)
		return;
	/* Never through a link: what it points at is not ours. */
	int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *list = fd < 0 ? NULL : fdopendir(fd);
	if (!list) {
		close_fd(&fd);
		return;
	}
	for (struct dirent *e; (e = readdir(list));) {
		if (strcmp(e->d_name, ".") && strcmp(e->d_name, ".."))
			remove_tree(dirfd(list), e->d_name, depth + 1);
	}
	closedir(list);
	unlinkat(dir, name, AT_REMOVEDIR);
}

static void detach(void)
{
	static const int ignored[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE };
	for (size_t i = 0; i < ARRAY_SIZE(ignored); i++)
		signal(ignored[i], SIG_IGN);
	setsid();
	chdir("/");
	prctl(PR_SET_NAME, "belljar-guard");
}

static void free_run(struct run *run)
{
	while (run->groups)
		drop_group(run, run->groups->pgid);
	while (run->folders) {
		struct folder *next = run->folders->next;
		free(run->folders->path);
		free(run->folders);
		run->folders = next;
	}
	free(run->token);
}

int guard_run(const char *folder, const char *token)
{
	struct run run = { .token = strdup(token) };
	if (folder[0] != '/' || token[0] == '\0' || !run.token) {
		fputs("belljar-agent guard: DIR is no absolute path, or TOKEN is empty\n", stderr);
		return 2;
	}
	add_folder(&run, folder);
	detach();
	read_lines(&run);
	if (!run.done)
		end_processes(&run);
	for (const struct folder *f = run.folders; f && !run.done && !run.keep; f = f->next)
		remove_tree(AT_FDCWD, f->path, 0);
	free_run(&run);
	return 0;
}
