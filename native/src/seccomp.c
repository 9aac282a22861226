#define _GNU_SOURCE
#include "seccomp.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "util.h"

int seccomp_load(const void *filter, size_t length, struct error *err) {
    size_t count = length / sizeof(struct sock_filter);
    if (count == 0 || count > BPF_MAXINSNS)
        return error_make(err, EINVAL, "a seccomp filter of %zu instructions", count);
    cleanup_free struct sock_filter *aligned = malloc(length);
    if (aligned == NULL)
        return error_make(err, ENOMEM, "loading the seccomp filter");
    memcpy(aligned, filter, length);
    struct sock_fprog program = {.len = (unsigned short)count, .filter = aligned};
    if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) < 0)
        return error_make(err, errno, "loading the seccomp filter");
    return 0;
}
