/* Written by scripts/generate_wire.ts from src/wire/messages.ts: do not edit. */
#ifndef WIRE_GEN_H
#define WIRE_GEN_H

#define BELLJAR_VERSION "0.1.0"
#define PROTOCOL_VERSION 1
#define WIRE_HEADER_SIZE 16
#define WIRE_MAX_PAYLOAD 1048560
#define WIRE_MAX_DATA 131072
#define WIRE_INITIAL_CREDIT 262144
#define WIRE_MAX_DEPTH 8
#define WIRE_MAX_FILE_IO 524288
#define WIRE_MAX_SYSCALL_BYTES 786432
#define WIRE_MAX_PATH 4096
#define WIRE_SECRET_SIZE 32
#define WIRE_NONCE_SIZE 16
#define WIRE_PROOF_SIZE 32
#define WIRE_MAGIC_SIZE 16
#define WIRE_MAGIC_BYTES { 0x42, 0x45, 0x4c, 0x4c, 0x4a, 0x41, 0x52, 0x01, \
	0x73, 0x79, 0x6e, 0x63, 0x0d, 0x0a, 0x1a, 0x0a }

#define FRAME_HELLO 1
#define FRAME_REQUEST 2
#define FRAME_REPLY 3
#define FRAME_ERROR 4
#define FRAME_DATA 5
#define FRAME_CREDIT 6
#define FRAME_EVENT 7
#define FRAME_CANCEL 8
#define FRAME_CLOSE 9

enum wire_op {
	OP_PING,
	OP_COUNTERS,
	OP_SPAWN,
	OP_PROC_SIGNAL,
	OP_PROC_STATUS,
	OP_PROC_MEMBERS,
	OP_PROC_RESIZE,
	OP_PROC_RELEASE,
	OP_PROC_ATTACH,
	OP_PROCESSES,
	OP_READ_FILE,
	OP_WRITE_FILE,
	OP_STAT,
	OP_READ_DIR,
	OP_GLOB,
	OP_MKDIR,
	OP_REMOVE,
	OP_RENAME,
	OP_SYMLINK,
	OP_READ_LINK,
	OP_REAL_PATH,
	OP_LINK,
	OP_CHMOD,
	OP_CHOWN,
	OP_TRUNCATE,
	OP_UTIME,
	OP_MKNOD,
	OP_STATFS,
	OP_GET_XATTR,
	OP_SET_XATTR,
	OP_LIST_XATTR,
	OP_REMOVE_XATTR,
	OP_FILE_OPEN,
	OP_FILE_READ,
	OP_FILE_WRITE,
	OP_FILE_SEEK,
	OP_FILE_SYNC,
	OP_FILE_STAT,
	OP_FILE_TRUNCATE,
	OP_FILE_CLOSE,
	OP_WATCH,
	OP_UNWATCH,
	OP_SYSCALL,
	OP_SYSCALL_ASYNC,
	OP_SYSCALL_STATE,
	OP_SYSCALL_CANCEL,
	OP_READ_MEM,
	OP_WORKER_SPAWN,
	OP_WORKER_CLOSE,
	OP_WORKER_SIGNAL,
	OP_CONNECT,
	OP_CLOCK_GET,
	OP_CLOCK_SET,
	OP_CLONE,
	OP_QUIESCE,
	OP_SET_HOSTNAME,
	OP_RESEED,
	OP_KMSG,
	OP_SHUTDOWN,
	OP_COUNT
};

#define WIRE_MAX_FIELDS 11

enum {
	F_SPAWN_PROC,
	F_SPAWN_ARGV,
	F_SPAWN_ENV,
	F_SPAWN_CLEAR_ENV,
	F_SPAWN_CWD,
	F_SPAWN_USER,
	F_SPAWN_STDIN,
	F_SPAWN_STDOUT,
	F_SPAWN_STDERR,
	F_SPAWN_PTY,
	F_SPAWN_LIMITS,
};
enum {
	F_PROC_SIGNAL_PROC,
	F_PROC_SIGNAL_SIG,
	F_PROC_SIGNAL_TARGET,
};
enum {
	F_PROC_STATUS_PROC,
};
enum {
	F_PROC_MEMBERS_PROC,
};
enum {
	F_PROC_RESIZE_PROC,
	F_PROC_RESIZE_COLS,
	F_PROC_RESIZE_ROWS,
};
enum {
	F_PROC_RELEASE_PROC,
};
enum {
	F_PROC_ATTACH_PROC,
	F_PROC_ATTACH_STREAMS,
};
enum {
	F_PROCESSES_STREAM,
};
enum {
	F_READ_FILE_PATH,
	F_READ_FILE_STREAM,
	F_READ_FILE_OFFSET,
	F_READ_FILE_LENGTH,
};
enum {
	F_WRITE_FILE_PATH,
	F_WRITE_FILE_STREAM,
	F_WRITE_FILE_MODE,
	F_WRITE_FILE_APPEND,
	F_WRITE_FILE_CREATE_NEW,
	F_WRITE_FILE_PARENTS,
};
enum {
	F_STAT_PATH,
	F_STAT_FOLLOW,
};
enum {
	F_READ_DIR_PATH,
	F_READ_DIR_STREAM,
};
enum {
	F_GLOB_PATTERN,
	F_GLOB_STREAM,
};
enum {
	F_MKDIR_PATH,
	F_MKDIR_MODE,
	F_MKDIR_RECURSIVE,
};
enum {
	F_REMOVE_PATH,
	F_REMOVE_RECURSIVE,
};
enum {
	F_RENAME_PATH,
	F_RENAME_TO,
};
enum {
	F_SYMLINK_PATH,
	F_SYMLINK_TO,
};
enum {
	F_READ_LINK_PATH,
};
enum {
	F_REAL_PATH_PATH,
};
enum {
	F_LINK_PATH,
	F_LINK_TO,
};
enum {
	F_CHMOD_PATH,
	F_CHMOD_MODE,
};
enum {
	F_CHOWN_PATH,
	F_CHOWN_UID,
	F_CHOWN_GID,
	F_CHOWN_FOLLOW,
};
enum {
	F_TRUNCATE_PATH,
	F_TRUNCATE_SIZE,
};
enum {
	F_UTIME_PATH,
	F_UTIME_ATIME_NS,
	F_UTIME_MTIME_NS,
	F_UTIME_FOLLOW,
};
enum {
	F_MKNOD_PATH,
	F_MKNOD_MODE,
	F_MKNOD_DEV,
};
enum {
	F_STATFS_PATH,
};
enum {
	F_GET_XATTR_PATH,
	F_GET_XATTR_NAME,
	F_GET_XATTR_FOLLOW,
};
enum {
	F_SET_XATTR_PATH,
	F_SET_XATTR_NAME,
	F_SET_XATTR_DATA,
	F_SET_XATTR_FOLLOW,
};
enum {
	F_LIST_XATTR_PATH,
	F_LIST_XATTR_FOLLOW,
};
enum {
	F_REMOVE_XATTR_PATH,
	F_REMOVE_XATTR_NAME,
	F_REMOVE_XATTR_FOLLOW,
};
enum {
	F_FILE_OPEN_FILE,
	F_FILE_OPEN_PATH,
	F_FILE_OPEN_FLAGS,
	F_FILE_OPEN_MODE,
};
enum {
	F_FILE_READ_FILE,
	F_FILE_READ_LENGTH,
	F_FILE_READ_OFFSET,
};
enum {
	F_FILE_WRITE_FILE,
	F_FILE_WRITE_DATA,
	F_FILE_WRITE_OFFSET,
};
enum {
	F_FILE_SEEK_FILE,
	F_FILE_SEEK_OFFSET,
	F_FILE_SEEK_WHENCE,
};
enum {
	F_FILE_SYNC_FILE,
};
enum {
	F_FILE_STAT_FILE,
};
enum {
	F_FILE_TRUNCATE_FILE,
	F_FILE_TRUNCATE_SIZE,
};
enum {
	F_FILE_CLOSE_FILE,
};
enum {
	F_WATCH_WATCH,
	F_WATCH_PATH,
	F_WATCH_MASK,
};
enum {
	F_UNWATCH_WATCH,
};
enum {
	F_SYSCALL_NR,
	F_SYSCALL_ARGS,
	F_SYSCALL_BUFS,
	F_SYSCALL_PTRS,
	F_SYSCALL_NESTED,
	F_SYSCALL_FILES,
};
enum {
	F_SYSCALL_ASYNC_CALL,
	F_SYSCALL_ASYNC_NR,
	F_SYSCALL_ASYNC_ARGS,
	F_SYSCALL_ASYNC_BUFS,
	F_SYSCALL_ASYNC_PTRS,
	F_SYSCALL_ASYNC_NESTED,
	F_SYSCALL_ASYNC_FILES,
};
enum {
	F_SYSCALL_STATE_CALL,
};
enum {
	F_SYSCALL_CANCEL_CALL,
};
enum {
	F_READ_MEM_ADDR,
	F_READ_MEM_LENGTH,
};
enum {
	F_WORKER_SPAWN_WORKER,
	F_WORKER_SPAWN_UID,
	F_WORKER_SPAWN_GID,
	F_WORKER_SPAWN_GROUPS,
	F_WORKER_SPAWN_CAPS,
	F_WORKER_SPAWN_CWD,
	F_WORKER_SPAWN_UMASK,
	F_WORKER_SPAWN_UNSHARE,
	F_WORKER_SPAWN_ENV,
};
enum {
	F_WORKER_CLOSE_WORKER,
};
enum {
	F_WORKER_SIGNAL_WORKER,
	F_WORKER_SIGNAL_SIG,
};
enum {
	F_CONNECT_PORT,
	F_CONNECT_STDIN,
	F_CONNECT_STDOUT,
};
enum {
	F_CLOCK_SET_REALTIME_NS,
};
enum {
	F_CLONE_EPOCH,
	F_CLONE_SECRET,
	F_CLONE_SEED,
	F_CLONE_REALTIME_NS,
	F_CLONE_HOSTNAME,
	F_CLONE_MACHINE_ID,
	F_CLONE_MACS,
};
enum {
	F_SET_HOSTNAME_HOSTNAME,
};
enum {
	F_RESEED_SEED,
};
enum {
	F_KMSG_LEVEL,
};
enum {
	F_SHUTDOWN_HOW,
};

#define EV_EXIT "exit"
#define EV_EMPTY "empty"
#define EV_STOPPED "stopped"
#define EV_CONTINUED "continued"
#define EV_WATCH "watch"
#define EV_SYSCALL "syscall"
#define EV_WORKER_EXIT "workerExit"
#define EV_SERVING "serving"
#define EV_KMSG "kmsg"
#define EV_POWER_BUTTON "powerButton"
#define EV_RESTARTED "restarted"

#endif

/* Outside of the guard: only wire.c, which knows the types, wants these. */
#ifdef WIRE_TABLES
static const struct wire_field fields_of_spawn[] = {
	{ "proc", WT_INT, 0, 0 },
	{ "argv", WT_BIN, 1, 0 },
	{ "env", WT_BIN, 1, 1 },
	{ "clearEnv", WT_BOOL, 0, 1 },
	{ "cwd", WT_BIN, 0, 1 },
	{ "user", WT_STR, 0, 1 },
	{ "stdin", WT_INT, 0, 1 },
	{ "stdout", WT_INT, 0, 1 },
	{ "stderr", WT_INT, 0, 1 },
	{ "pty", WT_INT, 1, 1 },
	{ "limits", WT_INT, 2, 1 },
};
static const struct wire_field fields_of_procSignal[] = {
	{ "proc", WT_INT, 0, 0 },
	{ "sig", WT_INT, 0, 0 },
	{ "target", WT_INT, 0, 0 },
};
static const struct wire_field fields_of_procStatus[] = {
	{ "proc", WT_INT, 0, 0 },
};
static const struct wire_field fields_of_procMembers[] = {
	{ "proc", WT_INT, 0, 0 },
};
static const struct wire_field fields_of_procResize[] = {
	{ "proc", WT_INT, 0, 0 },
	{ "cols", WT_INT, 0, 0 },
	{ "rows", WT_INT, 0, 0 },
};
static const struct wire_field fields_of_procRelease[] = {
	{ "proc", WT_INT, 0, 0 },
};
static const struct wire_field fields_of_procAttach[] = {
	{ "proc", WT_INT, 0, 0 },
	{ "streams", WT_INT, 1, 0 },
};
static const struct wire_field fields_of_processes[] = {
	{ "stream", WT_INT, 0, 0 },
};
static const struct wire_field fields_of_readFile[] = {
	{ "path", WT_BIN, 0, 0 },
	{ "stream", WT_INT, 0, 0 },
	{ "offset", WT_INT, 0, 1 },
	{ "length", WT_INT, 0, 1 },
};
static const struct wire_field fields_of_writeFile[] = {
	{ "path", WT_BIN, 0, 0 },
	{ "stream", WT_INT, 0, 0 },
	{ "mode", WT_INT, 0, 1 },
	{ "append", WT_BOOL, 0, 1 },
	{ "createNew", WT_BOOL, 0, 1 },
	{ "parents", WT_BOOL, 0, 1 },
};
static const struct wire_field fields_of_stat[] = {
	{ "path", WT_BIN, 0, 0 },
	{ "follow", WT_BOOL, 0, 0 },
};
static const struct wire_field fields_of_readDir[] = {
	{ "path", WT_BIN, 0, 0 },
	{ "stream", WT_INT, 0, 0 },
};
static const struct wire_field fields_of_glob[] = {
	{ "pattern", WT_BIN, 0, 0 },
	{ "stream", WT_INT, 0, 0 },
};
static const struct wire_field fields_of_mkdir[] = {
	{ "path", WT_BIN, 0, 0 },
	{ "mode", WT_INT, 0, 0 },
	{ "recursive", WT_BOOL, 0, 0 },
};
static const struct wire_field fields_of_remove[] = {
	{ "path", WT_BIN, 0, 0 },
	{ "recursive", WT_BOOL, 0, 0 },
};
static const struct wire_field fields_of_rename[] = {
	{ "path", WT_BIN, 0, 0 },
	{ "to", WT_BIN, 0, 0 },
};
static const struct wire_field fields_of_symlink[] = {
	{ "path", WT_BIN, 0, 0 },
	{ "to", WT_BIN, 0, 0 },
};
static const struct wire_field fields_of_readLink[] = {
	{ "path", WT_BIN, 0, 0 },
};
static const struct wire_field fields_of_realPath[] = {
	{ "path", WT_BIN, 0, 0 },
};
static const struct wire_field fields_of_link[] = {
	{ "path", WT_BIN, 0, 0 },
	{ "to", WT_BIN, 0, 0 },
};
static const struct wire_field fields_of_chmod[] = {
	{ "path", WT_BIN, 0, 0 },
	{ "mode", WT_INT, 0, 0 },
};
static const struct wire_field fields_of_chown[] = {
	{ "path", WT_BIN, 0, 0 },
	{ "uid", WT_INT, 0, 0 },
	{ "gid", WT_INT, 0, 0 },
	{ "follow", WT_BOOL, 0, 0 },
};
static const struct wire_field fields_of_truncate[] = {
	{ "path", WT_BIN, 0, 0 },
	{ "size", WT_INT, 0, 0 },
};
static const struct wire_field fields_of_utime[] = {
	{ "path", WT_BIN, 0, 0 },
	{ "atimeNs", WT_INT, 0, 0 },
	{ "mtimeNs", WT_INT, 0, 0 },
	{ "follow", WT_BOOL, 0, 0 },
};
static const struct wire_field fields_of_mknod[] = {
	{ "path", WT_BIN, 0, 0 },
	{ "mode", WT_INT, 0, 0 },
	{ "dev", WT_INT, 0, 0 },
};
static const struct wire_field fields_of_statfs[] = {
	{ "path", WT_BIN, 0, 0 },
};
static const struct wire_field fields_of_getXattr[] = {
	{ "path", WT_BIN, 0, 0 },
	{ "name", WT_BIN, 0, 0 },
	{ "follow", WT_BOOL, 0, 0 },
};
static const struct wire_field fields_of_setXattr[] = {
	{ "path", WT_BIN, 0, 0 },
	{ "name", WT_BIN, 0, 0 },
	{ "data", WT_BIN, 0, 0 },
	{ "follow", WT_BOOL, 0, 0 },
};
static const struct wire_field fields_of_listXattr[] = {
	{ "path", WT_BIN, 0, 0 },
	{ "follow", WT_BOOL, 0, 0 },
};
static const struct wire_field fields_of_removeXattr[] = {
	{ "path", WT_BIN, 0, 0 },
	{ "name", WT_BIN, 0, 0 },
	{ "follow", WT_BOOL, 0, 0 },
};
static const struct wire_field fields_of_fileOpen[] = {
	{ "file", WT_INT, 0, 0 },
	{ "path", WT_BIN, 0, 0 },
	{ "flags", WT_INT, 0, 0 },
	{ "mode", WT_INT, 0, 0 },
};
static const struct wire_field fields_of_fileRead[] = {
	{ "file", WT_INT, 0, 0 },
	{ "length", WT_INT, 0, 0 },
	{ "offset", WT_INT, 0, 1 },
};
static const struct wire_field fields_of_fileWrite[] = {
	{ "file", WT_INT, 0, 0 },
	{ "data", WT_BIN, 0, 0 },
	{ "offset", WT_INT, 0, 1 },
};
static const struct wire_field fields_of_fileSeek[] = {
	{ "file", WT_INT, 0, 0 },
	{ "offset", WT_INT, 0, 0 },
	{ "whence", WT_INT, 0, 0 },
};
static const struct wire_field fields_of_fileSync[] = {
	{ "file", WT_INT, 0, 0 },
};
static const struct wire_field fields_of_fileStat[] = {
	{ "file", WT_INT, 0, 0 },
};
static const struct wire_field fields_of_fileTruncate[] = {
	{ "file", WT_INT, 0, 0 },
	{ "size", WT_INT, 0, 0 },
};
static const struct wire_field fields_of_fileClose[] = {
	{ "file", WT_INT, 0, 0 },
};
static const struct wire_field fields_of_watch[] = {
	{ "watch", WT_INT, 0, 0 },
	{ "path", WT_BIN, 0, 0 },
	{ "mask", WT_INT, 0, 0 },
};
static const struct wire_field fields_of_unwatch[] = {
	{ "watch", WT_INT, 0, 0 },
};
static const struct wire_field fields_of_syscall[] = {
	{ "nr", WT_INT, 0, 0 },
	{ "args", WT_INT, 1, 0 },
	{ "bufs", WT_BIN_OR_INT, 1, 1 },
	{ "ptrs", WT_INT, 1, 1 },
	{ "nested", WT_INT, 2, 1 },
	{ "files", WT_INT, 2, 1 },
};
static const struct wire_field fields_of_syscallAsync[] = {
	{ "call", WT_INT, 0, 0 },
	{ "nr", WT_INT, 0, 0 },
	{ "args", WT_INT, 1, 0 },
	{ "bufs", WT_BIN_OR_INT, 1, 1 },
	{ "ptrs", WT_INT, 1, 1 },
	{ "nested", WT_INT, 2, 1 },
	{ "files", WT_INT, 2, 1 },
};
static const struct wire_field fields_of_syscallState[] = {
	{ "call", WT_INT, 0, 0 },
};
static const struct wire_field fields_of_syscallCancel[] = {
	{ "call", WT_INT, 0, 0 },
};
static const struct wire_field fields_of_readMem[] = {
	{ "addr", WT_INT, 0, 0 },
	{ "length", WT_INT, 0, 0 },
};
static const struct wire_field fields_of_workerSpawn[] = {
	{ "worker", WT_INT, 0, 0 },
	{ "uid", WT_INT, 0, 1 },
	{ "gid", WT_INT, 0, 1 },
	{ "groups", WT_INT, 1, 1 },
	{ "caps", WT_INT, 1, 1 },
	{ "cwd", WT_BIN, 0, 1 },
	{ "umask", WT_INT, 0, 1 },
	{ "unshare", WT_INT, 0, 1 },
	{ "env", WT_BIN, 1, 1 },
};
static const struct wire_field fields_of_workerClose[] = {
	{ "worker", WT_INT, 0, 0 },
};
static const struct wire_field fields_of_workerSignal[] = {
	{ "worker", WT_INT, 0, 0 },
	{ "sig", WT_INT, 0, 0 },
};
static const struct wire_field fields_of_connect[] = {
	{ "port", WT_INT, 0, 0 },
	{ "stdin", WT_INT, 0, 0 },
	{ "stdout", WT_INT, 0, 0 },
};
static const struct wire_field fields_of_clockSet[] = {
	{ "realtimeNs", WT_INT, 0, 0 },
};
static const struct wire_field fields_of_clone[] = {
	{ "epoch", WT_BIN, 0, 0 },
	{ "secret", WT_BIN, 0, 0 },
	{ "seed", WT_BIN, 0, 0 },
	{ "realtimeNs", WT_INT, 0, 0 },
	{ "hostname", WT_STR, 0, 1 },
	{ "machineId", WT_STR, 0, 1 },
	{ "macs", WT_BIN, 2, 1 },
};
static const struct wire_field fields_of_setHostname[] = {
	{ "hostname", WT_STR, 0, 0 },
};
static const struct wire_field fields_of_reseed[] = {
	{ "seed", WT_BIN, 0, 0 },
};
static const struct wire_field fields_of_kmsg[] = {
	{ "level", WT_INT, 0, 0 },
};
static const struct wire_field fields_of_shutdown[] = {
	{ "how", WT_STR, 0, 0 },
};
static const struct wire_op_info wire_ops[OP_COUNT] = {
	{ "ping", NULL, 0 },
	{ "counters", NULL, 0 },
	{ "spawn", fields_of_spawn, 11 },
	{ "procSignal", fields_of_procSignal, 3 },
	{ "procStatus", fields_of_procStatus, 1 },
	{ "procMembers", fields_of_procMembers, 1 },
	{ "procResize", fields_of_procResize, 3 },
	{ "procRelease", fields_of_procRelease, 1 },
	{ "procAttach", fields_of_procAttach, 2 },
	{ "processes", fields_of_processes, 1 },
	{ "readFile", fields_of_readFile, 4 },
	{ "writeFile", fields_of_writeFile, 6 },
	{ "stat", fields_of_stat, 2 },
	{ "readDir", fields_of_readDir, 2 },
	{ "glob", fields_of_glob, 2 },
	{ "mkdir", fields_of_mkdir, 3 },
	{ "remove", fields_of_remove, 2 },
	{ "rename", fields_of_rename, 2 },
	{ "symlink", fields_of_symlink, 2 },
	{ "readLink", fields_of_readLink, 1 },
	{ "realPath", fields_of_realPath, 1 },
	{ "link", fields_of_link, 2 },
	{ "chmod", fields_of_chmod, 2 },
	{ "chown", fields_of_chown, 4 },
	{ "truncate", fields_of_truncate, 2 },
	{ "utime", fields_of_utime, 4 },
	{ "mknod", fields_of_mknod, 3 },
	{ "statfs", fields_of_statfs, 1 },
	{ "getXattr", fields_of_getXattr, 3 },
	{ "setXattr", fields_of_setXattr, 4 },
	{ "listXattr", fields_of_listXattr, 2 },
	{ "removeXattr", fields_of_removeXattr, 3 },
	{ "fileOpen", fields_of_fileOpen, 4 },
	{ "fileRead", fields_of_fileRead, 3 },
	{ "fileWrite", fields_of_fileWrite, 3 },
	{ "fileSeek", fields_of_fileSeek, 3 },
	{ "fileSync", fields_of_fileSync, 1 },
	{ "fileStat", fields_of_fileStat, 1 },
	{ "fileTruncate", fields_of_fileTruncate, 2 },
	{ "fileClose", fields_of_fileClose, 1 },
	{ "watch", fields_of_watch, 3 },
	{ "unwatch", fields_of_unwatch, 1 },
	{ "syscall", fields_of_syscall, 6 },
	{ "syscallAsync", fields_of_syscallAsync, 7 },
	{ "syscallState", fields_of_syscallState, 1 },
	{ "syscallCancel", fields_of_syscallCancel, 1 },
	{ "readMem", fields_of_readMem, 2 },
	{ "workerSpawn", fields_of_workerSpawn, 9 },
	{ "workerClose", fields_of_workerClose, 1 },
	{ "workerSignal", fields_of_workerSignal, 2 },
	{ "connect", fields_of_connect, 3 },
	{ "clockGet", NULL, 0 },
	{ "clockSet", fields_of_clockSet, 1 },
	{ "clone", fields_of_clone, 7 },
	{ "quiesce", NULL, 0 },
	{ "setHostname", fields_of_setHostname, 1 },
	{ "reseed", fields_of_reseed, 1 },
	{ "kmsg", fields_of_kmsg, 1 },
	{ "shutdown", fields_of_shutdown, 1 },
};
#endif
