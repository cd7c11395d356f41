/* Names for disks by their serial numbers, as udev would make them: there is none in a small image. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "init.h"
#include "util.h"

#define BLOCK_FOLDER "/sys/block"
#define LINKS_FOLDER "/dev/disk/by-id"
#define NAME_SIZE 64

/* A serial number comes from the host's command line: no more than a plain name becomes a link. */
static bool is_plain(const char *serial)
{
	for (const char *at = serial; *at; at++) {
		if (*at == '/' || *at <= ' ' || *at > '~')
			return false;
	}
	return serial[0] != '\0' && serial[0] != '.';
}

static void link_disk(const char *name)
{
	char path[320], serial[NAME_SIZE], link_path[160], target[96], former[96];
	snprintf(path, sizeof(path), BLOCK_FOLDER "/%.64s/serial", name);
	if (read_text(path, serial, sizeof(serial)) <= 0)
		return;
	serial[strcspn(serial, "\n")] = '\0';
	if (!is_plain(serial))
		return;
	snprintf(link_path, sizeof(link_path), LINKS_FOLDER "/virtio-%s", serial);
	snprintf(target, sizeof(target), "../../%.64s", name);
	ssize_t n = readlink(link_path, former, sizeof(former) - 1);
	if (n > 0) {
		former[n] = '\0';
		if (!strcmp(former, target))
			return;
		unlink(link_path);
	}
	mkdir("/dev/disk", 0755);
	mkdir(LINKS_FOLDER, 0755);
	if (symlink(target, link_path) < 0)
		fprintf(stderr, "belljar: cannot make %s: %s\n", link_path, strerror(errno));
}

/* Links to disks that have been unplugged. */
static void drop_stale(void)
{
	DIR *dir = opendir(LINKS_FOLDER);
	if (!dir)
		return;
	for (struct dirent *e; (e = readdir(dir));) {
		struct stat st;
		if (!strncmp(e->d_name, "virtio-", 7) && fstatat(dirfd(dir), e->d_name, &st, 0) < 0 &&
		    errno == ENOENT)
			unlinkat(dirfd(dir), e->d_name, 0);
	}
	closedir(dir);
}

void init_disks(void)
{
	DIR *dir = opendir(BLOCK_FOLDER);
	drop_stale();
	if (!dir)
		return;
	for (struct dirent *e; (e = readdir(dir));) {
		if (!strncmp(e->d_name, "vd", 2))
			link_disk(e->d_name);
	}
	closedir(dir);
}
