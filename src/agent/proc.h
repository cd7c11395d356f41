/* Processes of the harness: what is known of each, its members, its signals. */
#ifndef PROC_H
#define PROC_H

#include "call.h"
#include "members.h"

struct proc {
	struct proc *next;
	uint64_t id;
	uint16_t principal;
	/* Who is told; NULL once that conversation is over. */
	struct conn *conn;
	struct job job;
	/* The group's cgroup.events, watched once the leader has ended before the others. */
	struct source events;
	bool is_watched;
	/* The spawn's call while it has not been answered. */
	bool is_starting;
	bool is_running;
	bool is_stopped;
	bool is_empty;
	bool exit_sent;
	bool group_given_back;
	/* Forgotten by the host; stays here while calls or members are left. */
	bool is_released;
	/* Calls that refer to it. */
	unsigned looks;
	bool look_under_way;
	bool look_again;
	int code;
	int sig;
	int terminal;
};

struct proc *proc_find(uint64_t id);
unsigned procs_count(void);
/* A child of ours changed. */
struct exit_info {
	pid_t pid;
	/* CLD_* of siginfo_t. */
	int how;
	int status;
};
/* Whether it was a process of the harness. */
bool proc_child_changed(const struct exit_info *info);
/* After children were reaped: members of ended processes may have gone with them. */
void procs_look(void);
void procs_conn_lost(struct conn *c);
void procs_kill_all(void);
/* Whether a process of this worker runs or has members. */
bool procs_of_worker(uint16_t principal);

int start_spawn(struct call *c);
void finish_spawn(struct call *c);
int start_proc_signal(struct call *c);
void finish_proc_signal(struct call *c);
int start_proc_status(struct call *c);
void finish_proc_status(struct call *c);
void finish_proc_call(struct call *c);
int start_proc_members(struct call *c);
int start_proc_resize(struct call *c);
int start_proc_release(struct call *c);
int start_proc_attach(struct call *c);

#endif
