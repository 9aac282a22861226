#define _GNU_SOURCE
#include "root.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "devices.h"
#include "kernel.h"
#include "mounts.h"
#include "network.h"
#include "overlay.h"
#include "resolve.h"
#include "sysctl.h"
#include "util.h"

static int bind_root(const char *path, struct error *err) {
    if (mount(path, path, NULL, MS_BIND | MS_REC, NULL) < 0)
        return error_make(err, errno, "root folder %s", path);
    int root = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    return root < 0 ? error_make(err, errno, "root folder %s", path) : root;
}

static int make_directory(int root, const char *path, struct error *err) {
    cleanup_close int made = resolve_path(root, path, RESOLVE_MAKE_DIRECTORY, err);
    return made < 0 ? -1 : 0;
}

static int set_hostname(const char *name, struct error *err) {
    return sethostname(name, strlen(name)) < 0 ? error_make(err, errno, "host name %s", name) : 0;
}

/* One record; `root` is -1 until the root is mounted. */
static int apply(const struct record *record, int *root, int null, struct error *err) {
    switch (record->op) {
    case PLAN_HOSTNAME:
        return set_hostname(record_text(record, 0), err);
    case PLAN_LOOPBACK:
        return network_loopback_up(err);
    case PLAN_OVERLAY:
        *root = overlay_mount(record, err);
        return *root < 0 ? -1 : 0;
    case PLAN_BIND_ROOT:
        *root = bind_root(record_text(record, 0), err);
        return *root < 0 ? -1 : 0;
    case PLAN_MOUNT:
        return mount_filesystem(*root, record, err);
    case PLAN_BIND:
        return mount_bind(*root, record, err);
    case PLAN_DEVICE:
        return device_make(*root, record, err);
    case PLAN_SYMLINK:
        return device_symlink(*root, record, err);
    case PLAN_DIRECTORY:
        return make_directory(*root, record_text(record, 0), err);
    case PLAN_SYSCTL:
        return sysctl_set(*root, record, err);
    case PLAN_MASK:
        return mount_mask(*root, null, record_text(record, 0), err);
    case PLAN_READ_ONLY:
        return mount_read_only(*root, record_text(record, 0), err);
    case PLAN_ROOT_READ_ONLY:
        return mount_root_read_only(*root, err);
    default:
        return 0;
    }
}

int root_build(const struct plan *plan, struct error *err) {
    /* What the host mounts and unmounts from here on may reach us, nothing of ours reaches the host. */
    if (mount("", "/", NULL, MS_REC | MS_SLAVE, NULL) < 0)
        return error_make(err, errno, "separating mounts from the host's");
    cleanup_close int null = open("/dev/null", O_PATH | O_CLOEXEC);
    if (null < 0)
        return error_make(err, errno, "/dev/null");
    int root = -1;
    struct record record;
    for (size_t at = 0; plan_next(plan, &at, &record);) {
        if (apply(&record, &root, null, err) < 0) {
            close_fd(&root);
            return -1;
        }
    }
    return root < 0 ? error_make(err, 0, "the plan has no root") : root;
}

int root_enter(const struct plan *plan, int root, struct error *err) {
    struct record record;
    if (fchdir(root) < 0 || sys_pivot_root(".", ".") < 0)
        return error_make(err, errno, "entering the root");
    if (mount("", ".", NULL, MS_REC | MS_SLAVE, NULL) < 0 || umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
        return error_make(err, errno, "leaving the host's root");
    if (plan_find(plan, PLAN_ROOT_PROPAGATION, &record) && mount("", "/", NULL, record_number(&record, 0), NULL) < 0)
        return error_make(err, errno, "propagation of the root");
    return 0;
}
