#define _GNU_SOURCE
#include "resolve.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "kernel.h"
#include "util.h"

#define INSIDE (RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)
#define LINKS_MAX 40

/* A walk: `done` is resolved and free of links ("" is the root), `rest` is still to go. */
struct walk {
    int root;
    char done[PATH_MAX];
    char rest[2 * PATH_MAX];
    int links;
};

static int open_done(const struct walk *walk, uint64_t flags) {
    return sys_openat2(walk->root, walk->done[0] == '\0' ? "/" : walk->done, O_PATH | O_CLOEXEC | flags, INSIDE);
}

/* Takes the next part of `rest` into `part`; false when nothing is left. */
static bool take_part(struct walk *walk, char *part) {
    char *rest = walk->rest + strspn(walk->rest, "/");
    size_t length = strcspn(rest, "/");
    if (length == 0)
        return false;
    if (length > NAME_MAX)
        length = NAME_MAX;
    memcpy(part, rest, length);
    part[length] = '\0';
    memmove(walk->rest, rest + length, strlen(rest + length) + 1);
    return true;
}

static int follow_link(struct walk *walk, int link) {
    char target[PATH_MAX];
    ssize_t length = readlinkat(link, "", target, sizeof target - 1);
    if (length < 0)
        return -1;
    target[length] = '\0';
    if (++walk->links > LINKS_MAX || (size_t)length + strlen(walk->rest) + 2 > sizeof walk->rest) {
        errno = ELOOP;
        return -1;
    }
    memmove(walk->rest + length + 1, walk->rest, strlen(walk->rest) + 1);
    memcpy(walk->rest, target, (size_t)length);
    walk->rest[length] = '/';
    if (target[0] == '/')
        walk->done[0] = '\0';
    return 0;
}

static int make_part(struct walk *walk, const char *part, bool file) {
    cleanup_close int parent = open_done(walk, O_DIRECTORY);
    if (parent < 0)
        return -1;
    if (!file)
        return mkdirat(parent, part, 0755) < 0 && errno != EEXIST ? -1 : 0;
    cleanup_close int made = openat(parent, part, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC | O_NOFOLLOW, 0644);
    return made < 0 && errno != EEXIST ? -1 : 0;
}

/* Goes one part further, making it when it is missing. */
static int step(struct walk *walk, const char *part, enum resolve_create create) {
    if (strcmp(part, ".") == 0)
        return 0;
    size_t length = strlen(walk->done);
    if (strcmp(part, "..") == 0) {
        char *slash = strrchr(walk->done, '/');
        if (slash != NULL)
            *slash = '\0';
        return 0;
    }
    bool last = walk->rest[strspn(walk->rest, "/")] == '\0';
    char next[PATH_MAX];
    if ((size_t)snprintf(next, sizeof next, "%.*s/%s", (int)length, walk->done, part) >= sizeof next) {
        errno = ENAMETOOLONG;
        return -1;
    }
    cleanup_close int fd = sys_openat2(walk->root, next, O_PATH | O_CLOEXEC | O_NOFOLLOW, INSIDE);
    struct stat st;
    if (fd < 0) {
        if (errno != ENOENT || make_part(walk, part, last && create == RESOLVE_MAKE_FILE) < 0)
            return -1;
    } else if (fstat(fd, &st) < 0) {
        return -1;
    } else if (S_ISLNK(st.st_mode)) {
        return follow_link(walk, fd);
    }
    memcpy(walk->done, next, sizeof next);
    return 0;
}

int resolve_path(int root, const char *path, enum resolve_create create, struct error *err) {
    int fd = sys_openat2(root, path, O_PATH | O_CLOEXEC, INSIDE);
    if (fd >= 0)
        return fd;
    if (errno != ENOENT || create == RESOLVE_EXISTING || strlen(path) >= PATH_MAX)
        return error_make(err, errno, "%s in the container", path);
    struct walk walk = {.root = root};
    snprintf(walk.rest, sizeof walk.rest, "%s", path);
    char part[NAME_MAX + 1];
    while (take_part(&walk, part))
        if (step(&walk, part, create) < 0)
            return error_make(err, errno, "making %s in the container", path);
    fd = open_done(&walk, 0);
    return fd < 0 ? error_make(err, errno, "making %s in the container", path) : fd;
}

int resolve_parent(int root, const char *path, const char **name, struct error *err) {
    const char *slash = strrchr(path, '/');
    char parent[PATH_MAX];
    if (slash == NULL || slash[1] == '\0' || strcmp(slash, "/..") == 0 || strcmp(slash, "/.") == 0 ||
        (size_t)(slash - path) >= sizeof parent)
        return error_make(err, EINVAL, "%s in the container", path);
    snprintf(parent, sizeof parent, "%.*s", (int)(slash - path), path);
    *name = slash + 1;
    return resolve_path(root, parent[0] == '\0' ? "/" : parent, RESOLVE_MAKE_DIRECTORY, err);
}
