#define _GNU_SOURCE
#include "terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/ioctl.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "kernel.h"
#include "util.h"

/* The container may have put anything at this path: only a real devpts will do. */
static int open_multiplexer(int root, struct error *err) {
    const uint64_t flags = O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK;
    int fd = root < 0 ? open("/dev/pts/ptmx", (int)flags | O_NOFOLLOW)
                      : sys_openat2(root, "/dev/pts/ptmx", flags, RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS);
    struct statfs fs;
    if (fd < 0)
        return error_make(err, errno, "/dev/pts/ptmx in the container");
    if (fstatfs(fd, &fs) == 0 && fs.f_type == DEVPTS_SUPER_MAGIC)
        return fd;
    close(fd);
    return error_make(err, 0, "/dev/pts in the container is no devpts");
}

int terminal_open(int root, int *master, int *slave, struct error *err) {
    int fd = open_multiplexer(root, err), unlock = 0;
    if (fd < 0)
        return -1;
    int peer = ioctl(fd, TIOCSPTLCK, &unlock) < 0 ? -1 : ioctl(fd, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (peer < 0) {
        error_make(err, errno, "opening a terminal");
        close(fd);
        return -1;
    }
    *master = fd;
    *slave = peer;
    return 0;
}

int terminal_take(int slave, struct error *err) {
    if (ioctl(slave, TIOCSCTTY, 0) < 0)
        return error_make(err, errno, "taking the terminal");
    if (dup2(slave, 0) < 0 || dup2(slave, 1) < 0 || dup2(slave, 2) < 0)
        return error_make(err, errno, "taking the terminal");
    return 0;
}

void terminal_resize(int master, unsigned short rows, unsigned short columns) {
    struct winsize size = {.ws_row = rows, .ws_col = columns};
    ioctl(master, TIOCSWINSZ, &size);
}
