/* Workers, seen from the agent: processes of their own that run requests in order. */
#ifndef PRINCIPAL_H
#define PRINCIPAL_H

#include "call.h"
#include "reap.h"

bool worker_exists(uint16_t number);
void worker_submit(struct call *c);
bool worker_withdraw(struct call *c);
void worker_nudge(struct call *c);
bool worker_child_changed(const struct exit_info *info);
/* A process of this principal has ended with all its members. */
void principal_proc_ended(uint16_t number);
void workers_kill_all(void);
unsigned workers_count(void);
/* Open files of all principals. */
unsigned principals_files(void);
pid_t worker_pid(uint16_t number);
int start_worker_spawn(struct call *c);
void finish_worker_spawn(struct call *c);
int start_worker_close(struct call *c);
int start_worker_signal(struct call *c);
/* Whatever was for this conversation has nobody to tell any more. */
void subjects_conn_lost(struct conn *c);

#endif
