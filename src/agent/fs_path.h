/* What the file operations share. */
#ifndef FS_PATH_H
#define FS_PATH_H

#include <sys/stat.h>

#include "call.h"

int open_path(struct call *c, const char *path, int flags, mode_t mode);
/* Writes all of it; an interrupted write goes on unless the call is cancelled. */
int write_all(struct call *c, int fd, const void *data, size_t len);
/* Makes the folders above the path. Returns 0 or -errno. */
int make_parents(const char *path);
/* Makes a folder and those above it; one that is there already is no failure. */
int make_folders(const char *path, mode_t mode);
void put_stat(struct buf *b, const struct stat *st);

#endif
