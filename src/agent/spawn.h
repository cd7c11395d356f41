#ifndef SPAWN_H
#define SPAWN_H

#include "call.h"

/* What the descriptors of a spawn are, behind the three standard streams: its control group's file and folder. */
#define SPAWN_GROUP_PROCS 3
#define SPAWN_GROUP 4

/* Children become the agent's, and come with a descriptor for it. */
extern bool spawn_from_worker;

/* `base` with the entries of a list field put over it. NULL with the failure set if that fails. */
char **merge_env(struct call *c, unsigned field, char **base, size_t base_count, size_t *count);

#endif
