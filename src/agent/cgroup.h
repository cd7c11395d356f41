/* A control group per job, where the kernel lets us make them. */
#ifndef CGROUP_H
#define CGROUP_H

#include <sys/types.h>

#include "util.h"

/* Finds out whether groups can be made. */
void cgroup_init(void);
bool cgroup_usable(void);
/* Makes the group. Returns its folder's descriptor or -errno. */
int cgroup_make(const char *token);
/* Removes the group with all groups below it; for those whose processes are gone. */
void cgroup_remove(const char *token);
/* Opens a file of the group. */
int cgroup_open(int dir, const char *name, int flags);
/* Whether a process lives in it or below: 1, 0 or -errno. Zombies do not count. */
int cgroup_populated(int events_fd);
/* Calls `each` for every process in the group and below. Returns how many there were. */
int cgroup_each(int dir, void (*each)(pid_t pid, void *arg), void *arg);
/* Opens cgroup.procs of the group of all workers; -errno without groups. */
int cgroup_open_workers(void);
/* Kills everything in all groups of earlier agents. */
void cgroup_kill_leftovers(void);

#endif
