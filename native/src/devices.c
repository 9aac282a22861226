#define _GNU_SOURCE
#include "devices.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "resolve.h"
#include "util.h"

int device_make(int root, const struct record *record, struct error *err) {
    const char *path = record_text(record, 0), *name;
    cleanup_close int parent = resolve_parent(root, path, &name, err);
    if (parent < 0)
        return error_wrap(err, "device %s", path);
    mode_t mode = (mode_t)record_number(record, 1);
    dev_t device = makedev((unsigned int)record_number(record, 2), (unsigned int)record_number(record, 3));
    uid_t uid = (uid_t)record_number(record, 4), gid = (gid_t)record_number(record, 5);
    mode_t mask = umask(0);
    int made = mknodat(parent, name, mode, device);
    if (made < 0 && errno == EEXIST && unlinkat(parent, name, 0) == 0)
        made = mknodat(parent, name, mode, device);
    int status = errno;
    umask(mask);
    if (made < 0)
        return error_make(err, status, "device %s", path);
    if ((uid != 0 || gid != 0) && fchownat(parent, name, uid, gid, AT_SYMLINK_NOFOLLOW) < 0)
        return error_make(err, errno, "owner of device %s", path);
    return 0;
}

int device_symlink(int root, const struct record *record, struct error *err) {
    const char *path = record_text(record, 1), *name;
    cleanup_close int parent = resolve_parent(root, path, &name, err);
    if (parent < 0)
        return error_wrap(err, "link %s", path);
    if (symlinkat(record_text(record, 0), parent, name) < 0 && errno != EEXIST)
        return error_make(err, errno, "link %s", path);
    return 0;
}
