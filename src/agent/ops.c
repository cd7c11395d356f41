#include "ops.h"

#include <errno.h>

#include "call.h"

static void (*const operations[OP_COUNT])(struct call *c) = {
	[OP_SPAWN] = op_spawn,
	[OP_PROC_SIGNAL] = op_proc_signal,
	[OP_PROC_STATUS] = op_proc_status,
	[OP_PROC_MEMBERS] = op_proc_members,
	[OP_READ_FILE] = op_read_file,
	[OP_WRITE_FILE] = op_write_file,
	[OP_STAT] = op_stat,
	[OP_READ_DIR] = op_read_dir,
	[OP_GLOB] = op_glob,
	[OP_MKDIR] = op_mkdir,
	[OP_REMOVE] = op_remove,
	[OP_RENAME] = op_rename,
	[OP_SYMLINK] = op_symlink,
	[OP_READ_LINK] = op_read_link,
	[OP_REAL_PATH] = op_real_path,
	[OP_LINK] = op_link,
	[OP_CHMOD] = op_chmod,
	[OP_CHOWN] = op_chown,
	[OP_TRUNCATE] = op_truncate,
	[OP_UTIME] = op_utime,
	[OP_MKNOD] = op_mknod,
	[OP_STATFS] = op_statfs,
};

int ops_run(struct call *c)
{
	if (!operations[c->op])
		return -ENOSYS;
	operations[c->op](c);
	return 0;
}
