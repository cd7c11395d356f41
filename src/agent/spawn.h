#ifndef SPAWN_H
#define SPAWN_H

#include <stdbool.h>

/* Children become the agent's, and come with a descriptor for it. */
extern bool spawn_from_worker;

#endif
