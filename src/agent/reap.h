/* Every child is reaped here, whoever made it. */
#ifndef REAP_H
#define REAP_H

#include "proc.h"

/* Takes SIGCHLD and the signals that end the agent. Block them before any thread starts. */
int reap_init(void);
void reap_block_signals(void);
/* A child that ended before anybody knew its number; only kept while spawns are under way. */
bool reap_take_early(pid_t pid, struct exit_info *out);
void reap_expect(int change);

#endif
