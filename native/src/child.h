/* The two children of a shim on their way to a program: the container's first process, and an exec. Neither returns. */
#ifndef TSSWARM_CHILD_H
#define TSSWARM_CHILD_H

#include <stdbool.h>

#include "plan.h"

struct child {
    int sync;
    int stdio[3]; /* -1 each with a terminal */
    bool tty;
    unsigned short rows, columns; /* of the terminal */
};

/* In its new namespaces: builds the root, waits for the start, becomes the program. */
void child_run_container(const struct child *child, const struct plan *plan) __attribute__((noreturn));

/* In a fork of the shim: joins the namespaces of the process behind `pidfd`, has a child of the shim's there. */
void child_run_exec(const struct child *child, const struct plan *container, const struct plan *plan, int pidfd)
    __attribute__((noreturn));

#endif
