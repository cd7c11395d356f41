/* Makes the process of a spawn. */
#ifndef START_CHILD_H
#define START_CHILD_H

#include "call.h"

struct child_start {
	/* Runs in the child, on the stack given, while the caller stands still; returns never, or with the child's code. */
	int (*main)(void *arg);
	void *arg;
	char *stack;
	size_t stack_size;
	/* Folder of the control group that it is born in; -1 for the caller's. */
	int group;
	/* Whether the caller's parent becomes the child's, and the caller gets a descriptor of the child. */
	bool for_parent;
	/* Where its number is written before it runs, or the descriptor; see `for_parent`. */
	pid_t *pid;
	int *pidfd;
};

/*
 * Returns the child's number, or -1 with errno: among others EACCES if this thread may not put it into the group, and
 * ENOSYS where the kernel (before 5.7) or this architecture cannot make a process in a group at all.
 */
pid_t start_child(const struct child_start *s);

#endif
