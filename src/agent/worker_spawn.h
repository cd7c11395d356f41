#ifndef WORKER_SPAWN_H
#define WORKER_SPAWN_H

#include <sys/types.h>

/* What op_worker_spawn leaves in c->nums. */
enum { SPAWNED_INIT, SPAWNED_HAS_INIT };

#endif
