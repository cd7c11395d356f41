/* Roles on the host: nothing outlives the harness. */
#ifndef GUARD_H
#define GUARD_H

/* Becomes the command, with a watcher that kills it when stdin ends. */
int guard_watch(char **command);
/* Ends all processes of a run and removes its folder when stdin ends without "done". */
int guard_run(const char *folder, const char *token);

#endif
