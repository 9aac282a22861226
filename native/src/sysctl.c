#define _GNU_SOURCE
#include "sysctl.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/vfs.h>

#include "kernel.h"
#include "util.h"

int sysctl_set(int root, const struct record *record, struct error *err) {
    const char *name = record_text(record, 0), *value = record_text(record, 1);
    char path[512];
    if ((size_t)snprintf(path, sizeof path, "/proc/sys/%s", name) >= sizeof path)
        return error_make(err, ENAMETOOLONG, "sysctl %s", name);
    cleanup_close int fd = sys_openat2(root, path, O_WRONLY | O_CLOEXEC, RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS);
    struct statfs fs;
    if (fd < 0 || fstatfs(fd, &fs) < 0)
        return error_make(err, errno, "sysctl %s", name);
    if (fs.f_type != PROC_SUPER_MAGIC)
        return error_make(err, 0, "sysctl %s: the container has no /proc", name);
    if (write(fd, value, strlen(value)) < 0)
        return error_make(err, errno, "sysctl %s=%s", name, value);
    return 0;
}
