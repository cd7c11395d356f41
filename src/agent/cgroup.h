/* A control group per job, where the kernel lets us make them. */
#ifndef CGROUP_H
#define CGROUP_H

#include <sys/types.h>

#include "util.h"

#define TOKEN_SIZE 48

/* Finds out whether groups can be made. */
void cgroup_init(void);
bool cgroup_usable(void);
/* Draws a name that no other job of this machine has had. */
void draw_token(char token[TOKEN_SIZE]);
/*
 * A group for a new job, whose name is written to `token` and whose cgroup.events is opened: to make one takes as long as
 * to start a process, so there is one ready. Returns its folder's descriptor or -errno.
 */
int cgroup_take(char token[TOKEN_SIZE], int *events_fd);
/*
 * The job has ended with all its processes: removes the group and makes the next one ready, both once the host has been
 * told of the end.
 */
void cgroup_give_back(const char *token);
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
