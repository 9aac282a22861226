/* Paths inside the container's root while we are still outside of it. Images and volumes are hostile: every step is
 * resolved by the kernel with the root as "/", so "..", absolute and dangling links never lead out. */
#ifndef TSSWARM_RESOLVE_H
#define TSSWARM_RESOLVE_H

#include "error.h"

enum resolve_create {
    RESOLVE_EXISTING,
    RESOLVE_MAKE_DIRECTORY, /* make what is missing, the last part as a directory */
    RESOLVE_MAKE_FILE,      /* make what is missing, the last part as an empty file */
};

/* An O_PATH descriptor of `path` below `root`. Negative with `err` filled; err->status ENOENT when it is not there. */
int resolve_path(int root, const char *path, enum resolve_create create, struct error *err);

/* Resolves the folder of `path` (made where missing) and points `name` at the last part of it. */
int resolve_parent(int root, const char *path, const char **name, struct error *err);

#endif
