/* Folders: making, listing, matching, removing. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "fs_path.h"
#include "ops.h"

/* Entries are collected up to this size before they go into the stream. */
#define BATCH_SIZE (16u * 1024u)
/* Folders within folders; each level holds one descriptor. */
#define MAX_TREE_DEPTH 512

int make_folders(const char *path, mode_t mode)
{
	if (mkdir(path, mode) == 0)
		return 0;
	if (errno == EEXIST) {
		struct stat st;
		if (stat(path, &st) < 0)
			return -errno;
		return S_ISDIR(st.st_mode) ? 0 : -EEXIST;
	}
	if (errno != ENOENT)
		return -errno;
	int result = make_parents(path);
	if (result)
		return result;
	return mkdir(path, mode) < 0 && errno != EEXIST ? -errno : 0;
}

int make_parents(const char *path)
{
	size_t len = strlen(path);
	while (len > 0 && path[len - 1] == '/')
		len--;
	while (len > 0 && path[len - 1] != '/')
		len--;
	while (len > 0 && path[len - 1] == '/')
		len--;
	if (len == 0)
		return path[0] == '\0' ? -ENOENT : 0;
	CLEANUP_FREE char *parent = strndup(path, len);
	return parent ? make_folders(parent, 0777) : -ENOMEM;
}

void op_mkdir(struct call *c)
{
	int64_t mode;
	char *path = get_text(c, F_MKDIR_PATH);
	if (!path || !get_ranged(c, F_MKDIR_MODE, 0, 07777, &mode))
		return;
	int result = 0;
	if (get_bool(c, F_MKDIR_RECURSIVE))
		result = make_folders(path, (mode_t)mode);
	else if (mkdir(path, (mode_t)mode) < 0)
		result = -errno;
	if (result)
		fail_path(c, -result, F_MKDIR_PATH);
}

/* Sends what was collected, if it is enough. */
static int send_batch(struct call *c, struct buf *batch, bool last)
{
	if (batch->failed)
		return -ENOMEM;
	if (batch->len < BATCH_SIZE && !last)
		return 0;
	int result = write_all(c, c->fds[0], batch->data, batch->len);
	batch->len = 0;
	return result;
}

static int list_folder(struct call *c, DIR *dir, struct buf *batch, uint32_t *count)
{
	for (;;) {
		errno = 0;
		struct dirent *e = readdir(dir);
		if (!e)
			return errno ? -errno : send_batch(c, batch, true);
		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		mp_map(batch, 3);
		mp_put_bin(batch, "name", e->d_name, strlen(e->d_name));
		mp_put_int(batch, "type", e->d_type);
		mp_put_uint(batch, "ino", e->d_ino);
		++*count;
		int result = send_batch(c, batch, false);
		if (result)
			return result;
	}
}

void op_read_dir(struct call *c)
{
	uint32_t count = 0;
	struct buf batch = { 0 };
	char *path = get_text(c, F_READ_DIR_PATH);
	if (!path)
		return;
	DIR *dir = opendir(path);
	if (!dir) {
		fail_path(c, errno, F_READ_DIR_PATH);
		return;
	}
	int result = list_folder(c, dir, &batch, &count);
	closedir(dir);
	buf_free(&batch);
	if (result) {
		fail_path(c, -result, F_READ_DIR_PATH);
		return;
	}
	mp_map(&c->out, 1);
	mp_put_uint(&c->out, "count", count);
}

static int remove_tree(struct call *c, int dir, const char *name, int depth);

static int remove_entries(struct call *c, int fd, int depth)
{
	DIR *list = fdopendir(fd);
	int result = 0;
	if (!list) {
		close(fd);
		return -ENOMEM;
	}
	while (!result) {
		errno = 0;
		struct dirent *e = readdir(list);
		if (!e) {
			result = -errno;
			break;
		}
		if (call_cancelled(c))
			result = -EINTR;
		else if (strcmp(e->d_name, ".") && strcmp(e->d_name, ".."))
			result = remove_tree(c, dirfd(list), e->d_name, depth + 1);
	}
	closedir(list);
	return result;
}

/* Never follows a link: what it points at is not part of the tree. */
static int remove_tree(struct call *c, int dir, const char *name, int depth)
{
	if (unlinkat(dir, name, 0) == 0)
		return 0;
	if (errno != EISDIR && errno != EPERM)
		return errno == ENOENT && depth > 0 ? 0 : -errno;
	int not_a_folder = errno;
	if (depth > MAX_TREE_DEPTH)
		return -ELOOP;
	int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOTDIR ? -not_a_folder : -errno;
	int result = remove_entries(c, fd, depth);
	if (!result && unlinkat(dir, name, AT_REMOVEDIR) < 0)
		result = -errno;
	return result;
}

void op_remove(struct call *c)
{
	char *path = get_text(c, F_REMOVE_PATH);
	if (!path)
		return;
	int result = 0;
	if (get_bool(c, F_REMOVE_RECURSIVE))
		result = remove_tree(c, AT_FDCWD, path, 0);
	else if (remove(path) < 0)
		result = -errno;
	if (result)
		fail_path(c, -result, F_REMOVE_PATH);
}

struct matcher {
	struct call *call;
	struct buf batch;
	uint32_t count;
	char path[WIRE_MAX_PATH + 1];
};

static int match_rest(struct matcher *m, size_t len, const char *pattern, int depth);

static bool has_wildcard(const char *part)
{
	return strpbrk(part, "*?[\\") != NULL;
}

/* Adds one name to the path being matched. Returns the new length, or 0 if it is too long. */
static size_t append(struct matcher *m, size_t len, const char *name)
{
	size_t size = strlen(name);
	bool slash = len > 0 && m->path[len - 1] != '/';
	if (len + slash + size > WIRE_MAX_PATH)
		return 0;
	if (slash)
		m->path[len++] = '/';
	memcpy(m->path + len, name, size + 1);
	return len + size;
}

static int match_entries(struct matcher *m, size_t len, const char *part, const char *rest, int depth)
{
	bool any_depth = !strcmp(part, "**");
	DIR *dir = opendir(len ? m->path : ".");
	int result = 0;
	/* A folder that cannot be read matches nothing, as in a shell. */
	if (!dir)
		return 0;
	if (any_depth)
		result = match_rest(m, len, rest, depth + 1);
	for (struct dirent *e; !result && (e = readdir(dir));) {
		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		if (any_depth && (e->d_name[0] == '.' || e->d_type != DT_DIR))
			continue;
		if (!any_depth && fnmatch(part, e->d_name, FNM_PERIOD) != 0)
			continue;
		size_t longer = append(m, len, e->d_name);
		if (longer > 0)
			result = any_depth ? match_entries(m, longer, part, rest, depth + 1)
					   : match_rest(m, longer, rest, depth + 1);
		m->path[len] = '\0';
	}
	closedir(dir);
	return result;
}

static int found(struct matcher *m, size_t len)
{
	struct stat st;
	if (len == 0 || lstat(m->path, &st) < 0)
		return 0;
	mp_bin(&m->batch, m->path, len);
	m->count++;
	return send_batch(m->call, &m->batch, false);
}

static int match_rest(struct matcher *m, size_t len, const char *pattern, int depth)
{
	if (call_cancelled(m->call))
		return -EINTR;
	if (depth > MAX_TREE_DEPTH)
		return -ELOOP;
	while (*pattern == '/')
		pattern++;
	if (*pattern == '\0')
		return found(m, len);
	char part[256];
	size_t size = strcspn(pattern, "/");
	if (size >= sizeof(part))
		return -ENAMETOOLONG;
	memcpy(part, pattern, size);
	part[size] = '\0';
	if (has_wildcard(part))
		return match_entries(m, len, part, pattern + size, depth);
	size_t longer = append(m, len, part);
	int result = longer ? match_rest(m, longer, pattern + size, depth + 1) : 0;
	m->path[len] = '\0';
	return result;
}

void op_glob(struct call *c)
{
	char *pattern = get_text(c, F_GLOB_PATTERN);
	struct matcher *m = pattern ? call_alloc(c, sizeof(*m)) : NULL;
	if (!m)
		return;
	memset(m, 0, sizeof(*m));
	m->call = c;
	if (pattern[0] == '/')
		m->path[0] = '/';
	int result = match_rest(m, pattern[0] == '/', pattern, 0);
	if (!result)
		result = send_batch(c, &m->batch, true);
	buf_free(&m->batch);
	if (result) {
		fail_path(c, -result, F_GLOB_PATTERN);
		return;
	}
	mp_map(&c->out, 1);
	mp_put_uint(&c->out, "count", m->count);
}
