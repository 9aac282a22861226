/* Loads a system call filter that was compiled elsewhere. */
#ifndef TSSWARM_SECCOMP_H
#define TSSWARM_SECCOMP_H

#include <stddef.h>

#include "error.h"

/* `filter` is `length` bytes of struct sock_filter. Needs CAP_SYS_ADMIN or no_new_privs. */
int seccomp_load(const void *filter, size_t length, struct error *err);

#endif
