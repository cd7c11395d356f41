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
	[OP_GET_XATTR] = op_get_xattr,
	[OP_SET_XATTR] = op_set_xattr,
	[OP_LIST_XATTR] = op_list_xattr,
	[OP_REMOVE_XATTR] = op_remove_xattr,
	[OP_FILE_OPEN] = op_file_open,
	[OP_FILE_READ] = op_file_read,
	[OP_FILE_WRITE] = op_file_write,
	[OP_FILE_SEEK] = op_file_seek,
	[OP_FILE_SYNC] = op_file_sync,
	[OP_FILE_STAT] = op_file_stat,
	[OP_FILE_TRUNCATE] = op_file_truncate,
	[OP_FILE_CLOSE] = op_file_close,
	[OP_SYSCALL] = op_syscall,
	[OP_SYSCALL_ASYNC] = op_syscall_async,
	[OP_SYSCALL_STATE] = op_syscall_state,
	[OP_READ_MEM] = op_read_mem,
	[OP_WATCH] = op_watch,
	[OP_CONNECT] = op_connect,
	[OP_PROCESSES] = op_processes,
	[OP_COUNTERS] = op_counters,
	[OP_WORKER_SPAWN] = op_worker_spawn,
};

int ops_run(struct call *c)
{
	if (!operations[c->op])
		return -ENOSYS;
	operations[c->op](c);
	return 0;
}
