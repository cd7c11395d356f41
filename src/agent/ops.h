/* Operations that a pool thread, the pinned thread or a worker executes. */
#ifndef OPS_H
#define OPS_H

struct call;

/* Returns 0, or -ENOSYS if the operation is none of these. */
int ops_run(struct call *c);

/* file_ops.c: contents, by streams. */
void op_read_file(struct call *c);
void op_write_file(struct call *c);
/* fs_ops.c: one path at a time. */
void op_stat(struct call *c);
void op_rename(struct call *c);
void op_symlink(struct call *c);
void op_read_link(struct call *c);
void op_real_path(struct call *c);
void op_link(struct call *c);
void op_chmod(struct call *c);
void op_chown(struct call *c);
void op_truncate(struct call *c);
void op_utime(struct call *c);
void op_mknod(struct call *c);
void op_statfs(struct call *c);
/* xattr_ops.c */
void op_get_xattr(struct call *c);
void op_set_xattr(struct call *c);
void op_list_xattr(struct call *c);
void op_remove_xattr(struct call *c);
/* dir_ops.c: folders. */
void op_read_dir(struct call *c);
void op_glob(struct call *c);
void op_mkdir(struct call *c);
void op_remove(struct call *c);
/* handle_ops.c: open files. */
void op_file_open(struct call *c);
void op_file_read(struct call *c);
void op_file_write(struct call *c);
void op_file_seek(struct call *c);
void op_file_sync(struct call *c);
void op_file_stat(struct call *c);
void op_file_truncate(struct call *c);
void op_file_close(struct call *c);
/* spawn.c */
void op_spawn(struct call *c);
/* syscall.c */
void op_syscall(struct call *c);
void op_syscall_async(struct call *c);
void op_read_mem(struct call *c);
/* watch.c */
void op_watch(struct call *c);
/* connect.c */
void op_connect(struct call *c);
/* Only the agent itself: proc_ops.c, procfs.c, worker_spawn.c, async_calls.c. */
void op_proc_members(struct call *c);
void op_proc_signal(struct call *c);
void op_proc_status(struct call *c);
void op_processes(struct call *c);
void op_counters(struct call *c);
void op_worker_spawn(struct call *c);
void op_syscall_state(struct call *c);

#endif
