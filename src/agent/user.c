#include "user.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINE_SIZE 1024

/* Cuts a line of colon-separated fields into its parts. Returns how many there are. */
static int split(char *line, char *parts[], int max)
{
	int count = 0;
	line[strcspn(line, "\n")] = '\0';
	for (char *at = line; at && count < max;)
		parts[count++] = strsep(&at, ":");
	return count;
}

static int parse_id(const char *text, unsigned *out)
{
	char *end;
	if (!isdigit((unsigned char)text[0]))
		return -EINVAL;
	errno = 0;
	unsigned long value = strtoul(text, &end, 10);
	if (*end || errno || value >= 0xffffffffUL)
		return -EINVAL;
	*out = (unsigned)value;
	return 0;
}

static int find_passwd(const char *who, bool by_number, unsigned number, struct user *out)
{
	char line[LINE_SIZE], *parts[7];
	FILE *file = fopen("/etc/passwd", "re");
	int result = -ENOENT;
	if (!file)
		return -ENOENT;
	while (result && fgets(line, sizeof(line), file)) {
		unsigned uid, gid;
		if (split(line, parts, 7) < 6 || parse_id(parts[2], &uid) || parse_id(parts[3], &gid))
			continue;
		if (by_number ? uid != number : strcmp(parts[0], who) != 0)
			continue;
		out->uid = uid;
		out->gid = gid;
		snprintf(out->name, sizeof(out->name), "%s", parts[0]);
		snprintf(out->home, sizeof(out->home), "%s", parts[5]);
		result = 0;
	}
	fclose(file);
	return result;
}

static bool is_listed(char *list, const char *name)
{
	for (char *at = list; at;) {
		if (!strcmp(strsep(&at, ","), name))
			return true;
	}
	return false;
}

static void find_groups(struct user *out)
{
	char line[LINE_SIZE], *parts[4];
	out->groups[0] = out->gid;
	out->groups_count = 1;
	FILE *file = out->name[0] ? fopen("/etc/group", "re") : NULL;
	if (!file)
		return;
	while (out->groups_count < USER_GROUPS && fgets(line, sizeof(line), file)) {
		unsigned gid;
		if (split(line, parts, 4) == 4 && !parse_id(parts[2], &gid) && gid != out->gid &&
		    is_listed(parts[3], out->name))
			out->groups[out->groups_count++] = gid;
	}
	fclose(file);
}

int find_user(const char *who, struct user *out)
{
	unsigned number = 0;
	bool by_number = parse_id(who, &number) == 0;
	memset(out, 0, sizeof(*out));
	int result = find_passwd(who, by_number, number, out);
	if (result && !by_number)
		return result;
	if (result) {
		out->uid = out->gid = number;
		snprintf(out->home, sizeof(out->home), "/");
	}
	find_groups(out);
	return 0;
}
