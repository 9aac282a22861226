#define _GNU_SOURCE
#include "mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "kernel.h"
#include "resolve.h"
#include "util.h"

static int attach(int tree, int target, const char *path, struct error *err) {
    if (move_mount(tree, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) == 0)
        return 0;
    if (errno == ENOTDIR)
        return error_make(err, 0, "mounting on %s: one of source and target is a directory and the other a file", path);
    return error_make(err, errno, "mounting on %s", path);
}

/* Gives "key=value" or "flag" to a file system being made. */
static int configure(int fs, const char *option) {
    char key[64];
    const char *equals = strchr(option, '=');
    if (equals == NULL)
        return fsconfig(fs, FSCONFIG_SET_FLAG, option, NULL, 0);
    size_t length = (size_t)(equals - option);
    if (length >= sizeof key) {
        errno = EINVAL;
        return -1;
    }
    memcpy(key, option, length);
    key[length] = '\0';
    return fsconfig(fs, FSCONFIG_SET_STRING, key, equals + 1, 0);
}

/* A detached mount of a new file system; options are the record's fields from `first` on. */
static int make_filesystem(const struct record *record, unsigned int first, unsigned int attributes,
                           struct error *err) {
    const char *type = record_text(record, 0), *source = record_text(record, 1), *option;
    cleanup_close int fs = fsopen(type, FSOPEN_CLOEXEC);
    if (fs < 0)
        return error_make(err, errno, "file system %s", type);
    if (source[0] != '\0' && fsconfig(fs, FSCONFIG_SET_STRING, "source", source, 0) < 0)
        return error_make(err, errno, "source %s of a %s mount", source, type);
    for (unsigned int i = first; (option = record_field(record, i)) != NULL; i++)
        if (configure(fs, option) < 0)
            return error_make(err, errno, "option %s of a %s mount", option, type);
    if (fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
        return error_make(err, errno, "making a %s mount", type);
    int tree = fsmount(fs, FSMOUNT_CLOEXEC, attributes);
    return tree < 0 ? error_make(err, errno, "making a %s mount", type) : tree;
}

int mount_filesystem(int root, const struct record *record, struct error *err) {
    const char *path = record_text(record, 2);
    cleanup_close int tree = make_filesystem(record, 4, (unsigned int)record_number(record, 3), err);
    if (tree < 0)
        return error_wrap(err, "mounting on %s", path);
    cleanup_close int target = resolve_path(root, path, RESOLVE_MAKE_DIRECTORY, err);
    return target < 0 ? -1 : attach(tree, target, path, err);
}

int mount_bind(int root, const struct record *record, struct error *err) {
    const char *source = record_text(record, 0), *path = record_text(record, 1);
    unsigned int recursive = record_number(record, 3) != 0 ? AT_RECURSIVE : 0;
    cleanup_close int tree = open_tree(AT_FDCWD, source, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | recursive);
    if (tree < 0 && errno == ENOENT)
        return error_make(err, 0, "bind source path does not exist: %s", source);
    struct stat st;
    if (tree < 0 || fstat(tree, &st) < 0)
        return error_make(err, errno, "bind source %s", source);
    struct mount_attr attributes = {
        .attr_set = record_number(record, 2),
        .propagation = record_number(record, 4) != 0 ? record_number(record, 4) : MS_PRIVATE,
    };
    if (mount_setattr(tree, "", AT_EMPTY_PATH | recursive, &attributes, sizeof attributes) < 0)
        return error_make(err, errno, "options of the bind mount on %s", path);
    enum resolve_create create = S_ISDIR(st.st_mode) ? RESOLVE_MAKE_DIRECTORY : RESOLVE_MAKE_FILE;
    cleanup_close int target = resolve_path(root, path, create, err);
    return target < 0 ? -1 : attach(tree, target, path, err);
}

/* A detached copy of the host's /dev/null, which must really be the null device. */
static int clone_null(int null, struct error *err) {
    int tree = open_tree(null, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
    struct stat st;
    if (tree < 0)
        return error_make(err, errno, "copying /dev/null");
    if (fstat(tree, &st) == 0 && S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3))
        return tree;
    close(tree);
    return error_make(err, 0, "/dev/null of this machine is not the null device");
}

int mount_mask(int root, int null, const char *path, struct error *err) {
    static const char empty[] = "tmpfs\0tmpfs\0size=4k\0nr_inodes=1\0mode=555\0ro";
    static const struct record record = {.op = PLAN_MOUNT, .length = sizeof empty, .payload = empty};
    cleanup_close int target = resolve_path(root, path, RESOLVE_EXISTING, err);
    if (target < 0)
        return err->status == ENOENT || err->status == ENOTDIR ? 0 : -1;
    struct stat st;
    if (fstat(target, &st) < 0)
        return error_make(err, errno, "masking %s", path);
    const unsigned int attributes = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
    cleanup_close int tree = S_ISDIR(st.st_mode) ? make_filesystem(&record, 2, attributes, err) : clone_null(null, err);
    if (tree < 0)
        return error_wrap(err, "masking %s", path);
    return attach(tree, target, path, err);
}

static int set_read_only(int tree, unsigned int flags) {
    struct mount_attr attributes = {.attr_set = MOUNT_ATTR_RDONLY};
    return mount_setattr(tree, "", AT_EMPTY_PATH | flags, &attributes, sizeof attributes);
}

int mount_read_only(int root, const char *path, struct error *err) {
    cleanup_close int target = resolve_path(root, path, RESOLVE_EXISTING, err);
    if (target < 0)
        return err->status == ENOENT || err->status == ENOTDIR ? 0 : -1;
    cleanup_close int tree = open_tree(target, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | AT_RECURSIVE);
    if (tree < 0 || set_read_only(tree, AT_RECURSIVE) < 0)
        return error_make(err, errno, "making %s read-only", path);
    return attach(tree, target, path, err);
}

int mount_root_read_only(int root, struct error *err) {
    cleanup_close int target = resolve_path(root, "/", RESOLVE_EXISTING, err);
    if (target < 0)
        return -1;
    return set_read_only(target, 0) < 0 ? error_make(err, errno, "making the root read-only") : 0;
}

int mount_console(int root, int slave, struct error *err) {
    cleanup_close int tree = open_tree(slave, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
    if (tree < 0)
        return error_make(err, errno, "copying the terminal");
    cleanup_close int target = resolve_path(root, "/dev/console", RESOLVE_MAKE_FILE, err);
    return target < 0 ? -1 : attach(tree, target, "/dev/console", err);
}
