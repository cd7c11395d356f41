#include "cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "loop.h"

#define CGROUP_ROOT "/sys/fs/cgroup"
#define OUR_ROOT CGROUP_ROOT "/belljar"
/* linux/magic.h */
#define CGROUP2_MAGIC 0x63677270
#define MAX_NESTING 8

static int root_fd = -1;

/* One group that waits for its job. */
static struct { char token[TOKEN_SIZE]; int dir, events; } ready = { .dir = -1, .events = -1 };

/* Groups of ended jobs. */
struct ended_group {
	struct post post;
	char token[TOKEN_SIZE];
};

void cgroup_init(void)
{
	struct statfs fs;
	if (statfs(CGROUP_ROOT, &fs) < 0 || (unsigned long)fs.f_type != CGROUP2_MAGIC)
		return;
	if (mkdir(OUR_ROOT, 0755) < 0 && errno != EEXIST)
		return;
	root_fd = open(OUR_ROOT, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
	if (root_fd < 0 || faccessat(root_fd, "cgroup.procs", W_OK, AT_EACCESS) < 0)
		close_fd(&root_fd);
}

bool cgroup_usable(void)
{
	return root_fd >= 0;
}

void draw_token(char token[TOKEN_SIZE])
{
	static uint8_t prefix[4];
	static uint64_t serial;
	char hex[2 * sizeof(prefix) + 1];
	if (serial == 0)
		random_bytes(prefix, sizeof(prefix));
	hex_text(prefix, sizeof(prefix), hex);
	snprintf(token, TOKEN_SIZE, "%s-%llu", hex, (unsigned long long)++serial);
}

static int make_group(const char *token, int *events_fd)
{
	if (mkdirat(root_fd, token, 0755) < 0)
		return -errno;
	int dir = openat(root_fd, token, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
	int events = dir < 0 ? -errno : cgroup_open(dir, "cgroup.events", O_RDONLY);
	if (events < 0) {
		close_fd(&dir);
		unlinkat(root_fd, token, AT_REMOVEDIR);
		return events;
	}
	*events_fd = events;
	return dir;
}

int cgroup_take(char token[TOKEN_SIZE], int *events_fd)
{
	int dir = ready.dir;
	if (root_fd < 0)
		return -ENOTSUP;
	if (dir < 0) {
		draw_token(token);
		return make_group(token, events_fd);
	}
	memcpy(token, ready.token, TOKEN_SIZE);
	*events_fd = ready.events;
	ready.dir = ready.events = -1;
	return dir;
}

static void remove_tree(const char *token);

static void tidy(struct post *p)
{
	struct ended_group *ended = container_of(p, struct ended_group, post);
	remove_tree(ended->token);
	free(ended);
	if (ready.dir >= 0)
		return;
	/* If it fails the next job tries again, and says why. */
	draw_token(ready.token);
	ready.dir = make_group(ready.token, &ready.events);
}

void cgroup_give_back(const char *token)
{
	struct ended_group *ended = root_fd < 0 ? NULL : calloc(1, sizeof(*ended));
	if (!ended)
		return;
	memcpy(ended->token, token, TOKEN_SIZE);
	ended->post.run = tidy;
	loop_post(&ended->post);
}

int cgroup_open_workers(void)
{
	if (root_fd < 0)
		return -ENOTSUP;
	if (mkdirat(root_fd, "workers", 0755) < 0 && errno != EEXIST)
		return -errno;
	return cgroup_open(root_fd, "workers/cgroup.procs", O_WRONLY);
}

int cgroup_open(int dir, const char *name, int flags)
{
	int fd = openat(dir, name, flags | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int cgroup_populated(int events_fd)
{
	char text[256];
	ssize_t n = pread(events_fd, text, sizeof(text) - 1, 0);
	if (n < 0)
		return -errno;
	text[n] = '\0';
	const char *at = strstr(text, "populated ");
	return at ? at[strlen("populated ")] == '1' : -EBADMSG;
}

/* Calls `each` for every group below `dir`, which it keeps open. */
static void each_child_group(int dir, void (*each)(int fd, const char *name, int parent, void *arg), void *arg)
{
	int copy = openat(dir, ".", O_DIRECTORY | O_RDONLY | O_CLOEXEC);
	DIR *list = copy < 0 ? NULL : fdopendir(copy);
	if (!list) {
		close_fd(&copy);
		return;
	}
	for (struct dirent *e; (e = readdir(list));) {
		if (e->d_type != DT_DIR || !strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		int fd = openat(dir, e->d_name, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			continue;
		each(fd, e->d_name, dir, arg);
		close(fd);
	}
	closedir(list);
}

struct walk {
	void (*each)(pid_t pid, void *arg);
	void *arg;
	int count;
	int depth;
};

static void walk_group(int fd, const char *name, int parent, void *arg)
{
	struct walk *walk = arg;
	(void)name;
	(void)parent;
	int procs = cgroup_open(fd, "cgroup.procs", O_RDONLY);
	FILE *list = procs < 0 ? NULL : fdopen(procs, "r");
	if (!list) {
		close_fd(&procs);
		return;
	}
	char line[32];
	while (fgets(line, sizeof(line), list)) {
		pid_t pid = (pid_t)strtol(line, NULL, 10);
		if (pid <= 0)
			continue;
		walk->count++;
		if (walk->each)
			walk->each(pid, walk->arg);
	}
	fclose(list);
	if (walk->depth >= MAX_NESTING)
		return;
	walk->depth++;
	each_child_group(fd, walk_group, walk);
	walk->depth--;
}

int cgroup_each(int dir, void (*each)(pid_t pid, void *arg), void *arg)
{
	struct walk walk = { .each = each, .arg = arg };
	walk_group(dir, "", -1, &walk);
	return walk.count;
}

static void remove_group(int fd, const char *name, int parent, void *arg)
{
	int *depth = arg;
	if (*depth < MAX_NESTING) {
		++*depth;
		each_child_group(fd, remove_group, depth);
		--*depth;
	}
	unlinkat(parent, name, AT_REMOVEDIR);
}

static void remove_tree(const char *token)
{
	if (unlinkat(root_fd, token, AT_REMOVEDIR) == 0 || errno != EBUSY)
		return;
	int depth = 0;
	CLEANUP_FD int fd = openat(root_fd, token, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
	if (fd >= 0)
		remove_group(fd, token, root_fd, &depth);
}

static void kill_group(int fd, const char *name, int parent, void *arg)
{
	(void)name;
	(void)parent;
	(void)arg;
	CLEANUP_FD int kill_fd = cgroup_open(fd, "cgroup.kill", O_WRONLY);
	if (kill_fd >= 0)
		write_full(kill_fd, "1", 1);
}

void cgroup_kill_leftovers(void)
{
	if (root_fd >= 0)
		each_child_group(root_fd, kill_group, NULL);
}
