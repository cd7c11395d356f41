/* Operations on one path. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "fs_path.h"
#include "ops.h"

static int64_t nanoseconds(struct timespec t)
{
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

void put_stat(struct buf *b, const struct stat *st)
{
	mp_map(b, 14);
	mp_put_int(b, "type", (int64_t)(st->st_mode & S_IFMT) >> 12);
	mp_put_int(b, "mode", st->st_mode & 07777);
	mp_put_int(b, "size", st->st_size);
	mp_put_int(b, "uid", st->st_uid);
	mp_put_int(b, "gid", st->st_gid);
	mp_put_uint(b, "nlink", st->st_nlink);
	mp_put_uint(b, "ino", st->st_ino);
	mp_put_uint(b, "dev", st->st_dev);
	mp_put_uint(b, "rdev", st->st_rdev);
	mp_put_int(b, "blocks", st->st_blocks);
	mp_put_int(b, "blockSize", st->st_blksize);
	mp_put_int(b, "atimeNs", nanoseconds(st->st_atim));
	mp_put_int(b, "mtimeNs", nanoseconds(st->st_mtim));
	mp_put_int(b, "ctimeNs", nanoseconds(st->st_ctim));
}

static void check(struct call *c, int result, unsigned field)
{
	if (result < 0)
		fail_path(c, errno, field);
}

static int at_flags(const struct call *c, unsigned follow)
{
	return get_bool(c, follow) ? 0 : AT_SYMLINK_NOFOLLOW;
}

void op_stat(struct call *c)
{
	struct stat st;
	char *path = get_text(c, F_STAT_PATH);
	if (!path)
		return;
	if (fstatat(AT_FDCWD, path, &st, at_flags(c, F_STAT_FOLLOW)) < 0)
		fail_path(c, errno, F_STAT_PATH);
	else
		put_stat(&c->out, &st);
}

/* Operations on two paths; the first is the one that errors name. */
static bool two_paths(struct call *c, unsigned from, unsigned to, char *paths[2])
{
	paths[0] = get_text(c, from);
	paths[1] = paths[0] ? get_text(c, to) : NULL;
	return paths[1] != NULL;
}

void op_rename(struct call *c)
{
	char *paths[2];
	if (two_paths(c, F_RENAME_PATH, F_RENAME_TO, paths))
		check(c, rename(paths[0], paths[1]), F_RENAME_PATH);
}

/* `path` is the link, `to` what it points at. */
void op_symlink(struct call *c)
{
	char *paths[2];
	if (two_paths(c, F_SYMLINK_PATH, F_SYMLINK_TO, paths))
		check(c, symlink(paths[1], paths[0]), F_SYMLINK_PATH);
}

/* `path` is what exists, `to` its new name. */
void op_link(struct call *c)
{
	char *paths[2];
	if (two_paths(c, F_LINK_PATH, F_LINK_TO, paths))
		check(c, link(paths[0], paths[1]), F_LINK_PATH);
}

void op_read_link(struct call *c)
{
	char *path = get_text(c, F_READ_LINK_PATH);
	char *to = path ? call_alloc(c, WIRE_MAX_PATH) : NULL;
	if (!to)
		return;
	ssize_t n = readlink(path, to, WIRE_MAX_PATH);
	if (n < 0) {
		fail_path(c, errno, F_READ_LINK_PATH);
		return;
	}
	mp_map(&c->out, 1);
	mp_put_bin(&c->out, "to", to, (size_t)n);
}

void op_real_path(struct call *c)
{
	char *path = get_text(c, F_REAL_PATH_PATH);
	if (!path)
		return;
	CLEANUP_FREE char *to = realpath(path, NULL);
	if (!to) {
		fail_path(c, errno, F_REAL_PATH_PATH);
		return;
	}
	mp_map(&c->out, 1);
	mp_put_bin(&c->out, "to", to, strlen(to));
}

void op_chmod(struct call *c)
{
	int64_t mode;
	char *path = get_text(c, F_CHMOD_PATH);
	if (path && get_ranged(c, F_CHMOD_MODE, 0, 07777, &mode))
		check(c, chmod(path, (mode_t)mode), F_CHMOD_PATH);
}

void op_chown(struct call *c)
{
	int64_t uid, gid;
	char *path = get_text(c, F_CHOWN_PATH);
	/* -1 leaves one of them as it is. */
	if (!path || !get_ranged(c, F_CHOWN_UID, -1, UINT32_MAX, &uid) ||
	    !get_ranged(c, F_CHOWN_GID, -1, UINT32_MAX, &gid))
		return;
	int flags = at_flags(c, F_CHOWN_FOLLOW);
	check(c, fchownat(AT_FDCWD, path, (uid_t)uid, (gid_t)gid, flags), F_CHOWN_PATH);
}

void op_truncate(struct call *c)
{
	int64_t size;
	char *path = get_text(c, F_TRUNCATE_PATH);
	if (path && get_ranged(c, F_TRUNCATE_SIZE, 0, INT64_MAX, &size))
		check(c, truncate(path, size), F_TRUNCATE_PATH);
}

static struct timespec timespec_of(int64_t ns)
{
	int64_t rest = ns % 1000000000;
	int64_t sec = ns / 1000000000 - (rest < 0);
	return (struct timespec){ .tv_sec = sec, .tv_nsec = rest < 0 ? rest + 1000000000 : rest };
}

void op_utime(struct call *c)
{
	char *path = get_text(c, F_UTIME_PATH);
	if (!path)
		return;
	struct timespec times[2] = {
		timespec_of(get_int(c, F_UTIME_ATIME_NS)), timespec_of(get_int(c, F_UTIME_MTIME_NS))
	};
	check(c, utimensat(AT_FDCWD, path, times, at_flags(c, F_UTIME_FOLLOW)), F_UTIME_PATH);
}

void op_mknod(struct call *c)
{
	int64_t mode;
	char *path = get_text(c, F_MKNOD_PATH);
	if (!path || !get_ranged(c, F_MKNOD_MODE, 0, 0177777, &mode))
		return;
	check(c, mknod(path, (mode_t)mode, (dev_t)get_bits(c, F_MKNOD_DEV)), F_MKNOD_PATH);
}

void op_statfs(struct call *c)
{
	struct statfs fs;
	char *path = get_text(c, F_STATFS_PATH);
	if (!path)
		return;
	if (statfs(path, &fs) < 0) {
		fail_path(c, errno, F_STATFS_PATH);
		return;
	}
	mp_map(&c->out, 8);
	mp_put_uint(&c->out, "type", (uint64_t)fs.f_type);
	mp_put_uint(&c->out, "blockSize", (uint64_t)fs.f_bsize);
	mp_put_uint(&c->out, "blocks", fs.f_blocks);
	mp_put_uint(&c->out, "free", fs.f_bfree);
	mp_put_uint(&c->out, "available", fs.f_bavail);
	mp_put_uint(&c->out, "files", fs.f_files);
	mp_put_uint(&c->out, "filesFree", fs.f_ffree);
	mp_put_uint(&c->out, "nameMax", (uint64_t)fs.f_namelen);
}
