/* Where each operation runs, and what the loop does before and after. */
#include "async_calls.h"
#include "connect.h"
#include "dispatch.h"
#include "file_ops.h"
#include "machine.h"
#include "principal.h"
#include "proc.h"
#include "watch.h"

static int start_ping(struct call *c)
{
	(void)c;
	return 0;
}

static int start_read_file(struct call *c)
{
	return call_output(c, F_READ_FILE_STREAM);
}

/* A file in memory: the loop sends it, and answers at its end. */
static void finish_read_file(struct call *c)
{
	if (c->fail.code || c->ret_fd < 0 || !c->stream)
		return;
	stream_from_file(c->stream, c->ret_fd, c->nums[READ_FROM], c->nums[READ_END]);
	c->ret_fd = -1;
}

static int start_write_file(struct call *c)
{
	return call_input(c, F_WRITE_FILE_STREAM);
}

static int start_read_dir(struct call *c)
{
	return call_output(c, F_READ_DIR_STREAM);
}

static int start_glob(struct call *c)
{
	return call_output(c, F_GLOB_STREAM);
}

static int start_processes(struct call *c)
{
	return call_output(c, F_PROCESSES_STREAM);
}

static const struct plan plans[OP_COUNT] = {
	[OP_PING] = { LANE_LOOP, start_ping, NULL },
	[OP_SPAWN] = { LANE_FILES, start_spawn, finish_spawn },
	[OP_PROC_SIGNAL] = { LANE_NONE, start_proc_signal, finish_proc_signal },
	[OP_PROC_STATUS] = { LANE_POOL, start_proc_status, finish_proc_status },
	[OP_PROC_MEMBERS] = { LANE_POOL, start_proc_members, finish_proc_call },
	[OP_PROC_RESIZE] = { LANE_LOOP, start_proc_resize, NULL },
	[OP_PROC_RELEASE] = { LANE_LOOP, start_proc_release, NULL },
	[OP_PROC_ATTACH] = { LANE_LOOP, start_proc_attach, NULL },
	[OP_READ_FILE] = { LANE_FILES, start_read_file, finish_read_file },
	[OP_WRITE_FILE] = { LANE_FILES, start_write_file, NULL },
	[OP_READ_DIR] = { LANE_FILES, start_read_dir, NULL },
	[OP_GLOB] = { LANE_FILES, start_glob, NULL },
	[OP_PROCESSES] = { LANE_POOL, start_processes, NULL },
	[OP_COUNTERS] = { LANE_POOL, start_counters, NULL },
	[OP_WATCH] = { LANE_FILES, start_watch, finish_watch },
	[OP_UNWATCH] = { LANE_LOOP, start_unwatch, NULL },
	[OP_CONNECT] = { LANE_POOL, start_connect, finish_connect },
	[OP_SYSCALL] = { LANE_CALLS, NULL, NULL },
	[OP_READ_MEM] = { LANE_CALLS, NULL, NULL },
	[OP_SYSCALL_ASYNC] = { LANE_CALLS, start_syscall_async, finish_syscall_async },
	[OP_SYSCALL_STATE] = { LANE_POOL, start_syscall_state, NULL },
	[OP_SYSCALL_CANCEL] = { LANE_LOOP, start_syscall_cancel, NULL },
	[OP_WORKER_SPAWN] = { LANE_POOL, start_worker_spawn, finish_worker_spawn },
	[OP_WORKER_CLOSE] = { LANE_LOOP, start_worker_close, NULL },
	[OP_WORKER_SIGNAL] = { LANE_LOOP, start_worker_signal, NULL },
	[OP_CLOCK_GET] = { LANE_LOOP, start_clock_get, NULL },
	[OP_CLOCK_SET] = { LANE_LOOP, start_clock_set, NULL },
	[OP_CLONE] = { LANE_LOOP, start_clone, NULL },
	[OP_SET_HOSTNAME] = { LANE_LOOP, start_set_hostname, NULL },
	[OP_RESEED] = { LANE_LOOP, start_reseed, NULL },
	[OP_KMSG] = { LANE_LOOP, start_kmsg, NULL },
	[OP_QUIESCE] = { LANE_NONE, start_quiesce, NULL },
	[OP_SHUTDOWN] = { LANE_LOOP, start_shutdown, NULL },
};

/* What has no plan of its own runs for its principal: one path or open file. */
static const struct plan plain = { LANE_FILES, NULL, NULL };

const struct plan *plan_of(unsigned op)
{
	const struct plan *plan = op < OP_COUNT ? &plans[op] : &plain;
	bool is_given = plan->lane != LANE_LOOP || plan->start;
	return is_given ? plan : &plain;
}
