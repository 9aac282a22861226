/* Mounts into the container's root, each made detached and then put on a target that was resolved inside the root. */
#ifndef TSSWARM_MOUNTS_H
#define TSSWARM_MOUNTS_H

#include "error.h"
#include "plan.h"

/* A file system of its own: PLAN_MOUNT. */
int mount_filesystem(int root, const struct record *record, struct error *err);
/* A folder or file of the host: PLAN_BIND. */
int mount_bind(int root, const struct record *record, struct error *err);
/* Hides a path: an empty read-only folder over a folder, /dev/null (the host's, `null`) over a file. PLAN_MASK. */
int mount_mask(int root, int null, const char *path, struct error *err);
/* Makes what is at the path read-only. PLAN_READ_ONLY. */
int mount_read_only(int root, const char *path, struct error *err);
/* Makes the root itself read-only. */
int mount_root_read_only(int root, struct error *err);
/* Puts the terminal `slave` on /dev/console. */
int mount_console(int root, int slave, struct error *err);

#endif
