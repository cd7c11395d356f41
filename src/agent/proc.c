#include "proc.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent.h"
#include "dispatch.h"
#include "principal.h"
#include "proc_state.h"
#include "reap.h"

static struct proc *procs;

struct proc *proc_find(uint64_t id)
{
	for (struct proc *p = procs; p; p = p->next) {
		if (p->id == id && !p->is_released)
			return p;
	}
	return NULL;
}

unsigned procs_count(void)
{
	unsigned count = 0;
	for (struct proc *p = procs; p; p = p->next)
		count += !p->is_released;
	return count;
}

bool procs_of_worker(uint16_t principal)
{
	for (struct proc *p = procs; p; p = p->next) {
		if (p->principal == principal && !p->is_empty)
			return true;
	}
	return false;
}

struct proc *proc_new(uint64_t id)
{
	struct proc *p = calloc(1, sizeof(*p));
	if (!p)
		return NULL;
	p->id = id;
	p->job.cgroup = p->events.fd = p->terminal = -1;
	p->is_starting = true;
	p->next = procs;
	procs = p;
	reap_expect(1);
	return p;
}

static void proc_free(struct proc *p)
{
	struct proc **at = &procs;
	while (*at != p)
		at = &(*at)->next;
	*at = p->next;
	streams_forget_subject(p);
	if (p->is_watched)
		loop_remove(&p->events);
	close_fd(&p->events.fd);
	close_fd(&p->terminal);
	/* One that never started has never told that it is empty. */
	if (p->job.cgroup >= 0 && !p->group_given_back)
		cgroup_give_back(p->job.token);
	close_fd(&p->job.cgroup);
	free(p);
}

void proc_drop_if_done(struct proc *p)
{
	/* With a control group, what is left in it is watched to the end, so that the folder goes too. */
	if (p->is_released && p->looks == 0 && (p->is_empty || p->job.cgroup < 0))
		proc_free(p);
}

static struct conn *listener(const struct proc *p)
{
	return p->conn ? p->conn : conn_operating();
}

static void send_proc_event(const struct proc *p, const char *name, const char *key, int value)
{
	struct buf b = { 0 };
	mp_map(&b, key ? 2 : 1);
	mp_put_str(&b, "ev", name);
	if (key)
		mp_put_int(&b, key, value);
	if (!p->is_released)
		send_event(listener(p), p->id, p->principal, &b);
	buf_free(&b);
}

static void send_exit(struct proc *p, int alive)
{
	struct buf b = { 0 };
	p->exit_sent = true;
	mp_map(&b, 3);
	mp_put_str(&b, "ev", EV_EXIT);
	mp_put_int(&b, p->sig ? "sig" : "code", p->sig ? p->sig : p->code);
	mp_put_int(&b, "alive", alive);
	if (!p->is_released)
		send_event(listener(p), p->id, p->principal, &b);
	buf_free(&b);
}

/* What is known now of the members of a process that has ended. */
void proc_seen(struct proc *p, int alive)
{
	if (p->is_running || p->is_starting || p->is_empty)
		return;
	if (!p->exit_sent)
		send_exit(p, alive);
	if (alive > 0)
		return;
	p->is_empty = true;
	send_proc_event(p, EV_EMPTY, NULL, 0);
	if (p->job.cgroup >= 0) {
		p->group_given_back = true;
		cgroup_give_back(p->job.token);
	}
	principal_proc_ended(p->principal);
}

static void group_changed(struct source *s, uint32_t events)
{
	struct proc *p = container_of(s, struct proc, events);
	(void)events;
	if (cgroup_populated(s->fd) == 0)
		proc_seen(p, 0);
	proc_drop_if_done(p);
}

/* Has the kernel tell when the last member is gone. Most groups are empty when their leader ends, and need none of it. */
static void watch_group(struct proc *p)
{
	p->events.ready = group_changed;
	/* Read before: the kernel tells of changes after the last look. */
	cgroup_populated(p->events.fd);
	p->is_watched = loop_add(&p->events, EPOLLPRI) == 0;
}

static void look_at_group(struct proc *p)
{
	/* One read tells of an empty group; the folder is walked only to count. */
	bool is_empty = cgroup_populated(p->events.fd) == 0;
	if (!is_empty && !p->is_watched) {
		watch_group(p);
		is_empty = cgroup_populated(p->events.fd) == 0;
	}
	proc_seen(p, is_empty ? 0 : count_members(&p->job));
}

void proc_look(struct proc *p)
{
	if (p->job.cgroup >= 0) {
		look_at_group(p);
		return;
	}
	p->look_again = p->look_under_way;
	struct call *c = p->look_under_way ? NULL : call_internal(OP_PROC_STATUS);
	if (!c)
		return;
	p->look_under_way = true;
	p->looks++;
	c->subject = p;
	call_submit(c);
}

void procs_look(void)
{
	for (struct proc *p = procs; p; p = p->next) {
		if (!p->is_running && !p->is_starting && !p->is_empty && !p->is_watched)
			proc_look(p);
	}
}

static void proc_changed(struct proc *p, const struct exit_info *info)
{
	switch (info->how) {
	case CLD_STOPPED:
	case CLD_TRAPPED:
		p->is_stopped = true;
		send_proc_event(p, EV_STOPPED, "sig", info->status);
		break;
	case CLD_CONTINUED:
		p->is_stopped = false;
		send_proc_event(p, EV_CONTINUED, NULL, 0);
		break;
	default:
		p->is_running = p->is_stopped = false;
		if (info->how == CLD_EXITED)
			p->code = info->status;
		else
			p->sig = info->status;
		proc_look(p);
	}
}

bool proc_child_changed(const struct exit_info *info)
{
	for (struct proc *p = procs; p; p = p->next) {
		if (p->is_running && p->job.leader == info->pid) {
			proc_changed(p, info);
			return true;
		}
	}
	return false;
}

void proc_started(struct proc *p, pid_t pid)
{
	struct member self;
	struct exit_info info;
	p->is_starting = false;
	p->is_running = true;
	p->job.leader = pid;
	/* Members of a control group are found by that; without one the start time tells former users of the number apart. */
	if (p->job.cgroup < 0)
		p->job.leader_ticks = read_member(pid, &self) ? 0 : self.ticks;
	if (reap_take_early(pid, &info))
		proc_changed(p, &info);
	reap_expect(-1);
}

void proc_failed(struct proc *p)
{
	reap_expect(-1);
	p->is_starting = false;
	p->is_empty = p->is_released = true;
	proc_drop_if_done(p);
}

void procs_conn_lost(struct conn *c)
{
	for (struct proc *p = procs; p; p = p->next) {
		if (p->conn == c)
			p->conn = NULL;
	}
}

void procs_kill_all(void)
{
	for (struct proc *p = procs; p; p = p->next) {
		if (!p->is_empty && !p->is_starting)
			signal_job(&p->job, SIGKILL);
	}
}

void proc_release(struct proc *p)
{
	p->is_released = true;
	streams_forget_subject(p);
	proc_drop_if_done(p);
}
