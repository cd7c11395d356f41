/* Which processes belong to a job. */
#ifndef MEMBERS_H
#define MEMBERS_H

#include <sys/types.h>

#include "call.h"
#include "cgroup.h"

/* What finds a job's processes, copied to whatever thread looks. */
struct job {
	pid_t leader;
	uint64_t leader_ticks;
	char token[TOKEN_SIZE];
	/* Folder of its control group, -1 without one. */
	int cgroup;
};

struct member {
	pid_t pid;
	pid_t ppid;
	pid_t pgid;
	pid_t sid;
	char state;
	uint64_t ticks;
	uint32_t threads;
	char command[64];
};

struct members {
	struct member *list;
	size_t count;
	size_t cap;
};

/* Reads /proc/PID/stat. Returns 0 or -errno. */
int read_member(pid_t pid, struct member *out);
/* Whether the environment that the process was started with has this entry. */
bool has_env(pid_t pid, const char *name, const char *value);
/* All live processes of the job, zombies excluded. */
int find_members(const struct job *job, struct members *out);
/* How many there are. */
int count_members(const struct job *job);
void free_members(struct members *m);
/* Signals the process only if it is still the one that was seen. Returns 1 or 0. */
int signal_member(const struct member *m, int sig);
/* Signals every member once, also those that appear meanwhile. Returns how many. */
int signal_job(const struct job *job, int sig);

#endif
