/* Extended attributes. */
#include <errno.h>
#include <string.h>
#include <sys/xattr.h>

#include "call.h"
#include "ops.h"

/* linux/limits.h: XATTR_SIZE_MAX and XATTR_LIST_MAX. */
#define MAX_VALUE 65536u

void op_get_xattr(struct call *c)
{
	char *path = get_text(c, F_GET_XATTR_PATH);
	char *name = path ? get_text(c, F_GET_XATTR_NAME) : NULL;
	char *value = name ? call_alloc(c, MAX_VALUE) : NULL;
	if (!value)
		return;
	ssize_t n = get_bool(c, F_GET_XATTR_FOLLOW) ? getxattr(path, name, value, MAX_VALUE)
						    : lgetxattr(path, name, value, MAX_VALUE);
	if (n < 0) {
		fail_path(c, errno, F_GET_XATTR_PATH);
		return;
	}
	mp_map(&c->out, 1);
	mp_put_bin(&c->out, "data", value, (size_t)n);
}

void op_set_xattr(struct call *c)
{
	const struct mp_val *data = &c->f[F_SET_XATTR_DATA];
	char *path = get_text(c, F_SET_XATTR_PATH);
	char *name = path ? get_text(c, F_SET_XATTR_NAME) : NULL;
	if (!name)
		return;
	int result = get_bool(c, F_SET_XATTR_FOLLOW) ? setxattr(path, name, data->data, data->size, 0)
						     : lsetxattr(path, name, data->data, data->size, 0);
	if (result < 0)
		fail_path(c, errno, F_SET_XATTR_PATH);
}

void op_list_xattr(struct call *c)
{
	char *path = get_text(c, F_LIST_XATTR_PATH);
	char *list = path ? call_alloc(c, MAX_VALUE) : NULL;
	uint32_t count = 0;
	if (!list)
		return;
	ssize_t n = get_bool(c, F_LIST_XATTR_FOLLOW) ? listxattr(path, list, MAX_VALUE)
						     : llistxattr(path, list, MAX_VALUE);
	if (n < 0) {
		fail_path(c, errno, F_LIST_XATTR_PATH);
		return;
	}
	for (ssize_t i = 0; i < n; i++)
		count += list[i] == '\0';
	mp_map(&c->out, 1);
	mp_str(&c->out, "names");
	mp_list(&c->out, count);
	for (ssize_t at = 0; at < n; at += (ssize_t)strlen(list + at) + 1)
		mp_bin(&c->out, list + at, strlen(list + at));
}

void op_remove_xattr(struct call *c)
{
	char *path = get_text(c, F_REMOVE_XATTR_PATH);
	char *name = path ? get_text(c, F_REMOVE_XATTR_NAME) : NULL;
	if (!name)
		return;
	int result = get_bool(c, F_REMOVE_XATTR_FOLLOW) ? removexattr(path, name) : lremovexattr(path, name);
	if (result < 0)
		fail_path(c, errno, F_REMOVE_XATTR_PATH);
}
