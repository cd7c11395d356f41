/* Where each operation runs, and what the loop does before and after. */
#include "dispatch.h"
#include "machine.h"
#include "principal.h"
#include "proc.h"

static int start_ping(struct call *c)
{
	(void)c;
	return 0;
}

static int start_read_file(struct call *c)
{
	return call_output(c, F_READ_FILE_STREAM);
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

static const struct plan plans[OP_COUNT] = {
	[OP_PING] = { LANE_LOOP, start_ping, NULL },
	[OP_SPAWN] = { LANE_FILES, start_spawn, finish_spawn },
	[OP_PROC_SIGNAL] = { LANE_NONE, start_proc_signal, finish_proc_signal },
	[OP_PROC_STATUS] = { LANE_POOL, start_proc_status, finish_proc_status },
	[OP_PROC_MEMBERS] = { LANE_POOL, start_proc_members, finish_proc_call },
	[OP_PROC_RESIZE] = { LANE_LOOP, start_proc_resize, NULL },
	[OP_PROC_RELEASE] = { LANE_LOOP, start_proc_release, NULL },
	[OP_READ_FILE] = { LANE_FILES, start_read_file, NULL },
	[OP_WRITE_FILE] = { LANE_FILES, start_write_file, NULL },
	[OP_READ_DIR] = { LANE_FILES, start_read_dir, NULL },
	[OP_GLOB] = { LANE_FILES, start_glob, NULL },
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
