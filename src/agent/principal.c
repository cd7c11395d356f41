#include "principal.h"

#include "proc.h"

bool worker_exists(uint16_t number)
{
	(void)number;
	return false;
}

void worker_submit(struct call *c)
{
	fail_code(c, "noSuchId", "there is no such worker");
}

bool worker_withdraw(struct call *c)
{
	(void)c;
	return false;
}

void worker_nudge(struct call *c)
{
	(void)c;
}

bool worker_child_changed(const struct exit_info *info)
{
	(void)info;
	return false;
}

void principal_proc_ended(uint16_t number)
{
	(void)number;
}

void workers_kill_all(void)
{
}

void subjects_conn_lost(struct conn *c)
{
	procs_conn_lost(c);
}
