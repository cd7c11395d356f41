/* Between proc.c, which knows what happens to a process, and proc_ops.c, which the host asks. */
#ifndef PROC_STATE_H
#define PROC_STATE_H

#include "proc.h"

struct proc *proc_new(uint64_t id);
void proc_started(struct proc *p, pid_t pid);
void proc_failed(struct proc *p);
/* Finds out whether members of an ended process are left. */
void proc_look(struct proc *p);
void proc_seen(struct proc *p, int alive);
void proc_release(struct proc *p);
void proc_drop_if_done(struct proc *p);

#endif
