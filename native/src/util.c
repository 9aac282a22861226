#define _GNU_SOURCE
#include "util.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

void cleanup_close_fd(int *fd) {
    if (*fd >= 0)
        close(*fd);
}

void cleanup_free_pointer(void *pointer) { free(*(void **)pointer); }

void close_fd(int *fd) {
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

int write_all(int fd, const void *data, size_t length) {
    const char *at = data;
    while (length > 0) {
        ssize_t count = write(fd, at, length);
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return -1;
        at += count;
        length -= (size_t)count;
    }
    return 0;
}

int write_file(const char *path, const char *text, struct error *err) {
    cleanup_close int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, text, strlen(text)) < 0)
        return error_make(err, errno, "writing \"%s\" to %s", text, path);
    return 0;
}

char *read_file(const char *path, size_t limit, size_t *length) {
    /* O_NONBLOCK: a fifo in the place of the file must not hold us. */
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return NULL;
    if (!S_ISREG(st.st_mode)) {
        errno = EINVAL;
        return NULL;
    }
    if (st.st_size < 0 || (size_t)st.st_size > limit) {
        errno = EFBIG;
        return NULL;
    }
    size_t size = (size_t)st.st_size;
    char *data = malloc(size + 1);
    if (data == NULL)
        return NULL;
    size_t have = 0;
    while (have < size) {
        ssize_t count = read(fd, data + have, size - have);
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0) {
            free(data);
            return NULL;
        }
        if (count == 0)
            break;
        have += (size_t)count;
    }
    data[have] = '\0';
    *length = have;
    return data;
}

void close_all_but(const int *keep, size_t count) {
    int sorted[8];
    size_t used = 0;
    for (size_t i = 0; i < count && used < 8; i++) {
        if (keep[i] < 3)
            continue;
        size_t at = used++;
        for (; at > 0 && sorted[at - 1] > keep[i]; at--)
            sorted[at] = sorted[at - 1];
        sorted[at] = keep[i];
    }
    unsigned int first = 3;
    for (size_t i = 0; i < used; i++) {
        if ((unsigned int)sorted[i] > first)
            close_range(first, (unsigned int)sorted[i] - 1, 0);
        first = (unsigned int)sorted[i] + 1;
    }
    close_range(first, ~0U, 0);
}

int64_t now_us(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

int64_t monotonic_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}
