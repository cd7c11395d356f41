/* Users of the guest, from /etc/passwd and /etc/group alone: no name service, no library. */
#ifndef USER_H
#define USER_H

#include <stdbool.h>
#include <sys/types.h>

#define USER_GROUPS 64

struct user {
	uid_t uid;
	gid_t gid;
	gid_t groups[USER_GROUPS];
	size_t groups_count;
	char name[64];
	char home[256];
};

/* `who` is a name or a number. Returns 0, or -ENOENT for a name that is not listed. */
int find_user(const char *who, struct user *out);

#endif
