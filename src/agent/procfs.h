/* What /proc says about processes. */
#ifndef PROCFS_H
#define PROCFS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* The command line with blanks between its words; the name in brackets where there is none. */
size_t read_command(pid_t pid, const char *name, char *out, size_t size);
/* A number from a line such as "Uid:	0" of /proc/PID/status; -1 when it is missing. */
int64_t read_status_number(const char *status, const char *key);
/* Reads the system call that a thread is blocked in; -1 when it runs or that cannot be known. */
int64_t read_blocked_call(const char *task);
unsigned count_entries(const char *path);

#endif
