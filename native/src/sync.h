/* What the shim and a child of it say to each other over a socket pair until the child has become the program. */
#ifndef TSSWARM_SYNC_H
#define TSSWARM_SYNC_H

#include <stddef.h>
#include <sys/types.h>

#include "error.h"

enum sync_type {
    SYNC_GO = 'G',       /* shim: you are in your cgroups */
    SYNC_START = 'S',    /* shim: become the program */
    SYNC_TERMINAL = 'C', /* child: here is the master end of my terminal (with a descriptor) */
    SYNC_READY = 'R',    /* child: my root is built, I wait for SYNC_START */
    SYNC_PID = 'P',      /* the helper of an exec: this is its pid */
    SYNC_FAILED = 'E',   /* child: exit code and sentence; I end */
    /* The end of the stream without SYNC_FAILED: exec succeeded, and closed it. */
};

struct sync_message {
    char type;
    unsigned char exit_code; /* of SYNC_FAILED */
    pid_t pid;               /* of SYNC_PID */
    char text[sizeof(((struct error *)0)->text)];
};

int sync_pair(int *shim, int *child, struct error *err);
/* Waits for one message of `type`; -1 when the shim is gone. */
int sync_await(int fd, enum sync_type type);
int sync_send(int fd, enum sync_type type);
int sync_send_pid(int fd, pid_t pid);
int sync_send_fd(int fd, enum sync_type type, int passed);
void sync_send_failure(int fd, int exit_code, const struct error *err);
/* Without waiting: 1 for a message (`passed` is a descriptor or -1), 0 at the end, -1 when there is nothing yet. */
int sync_receive(int fd, struct sync_message *message, int *passed);

#endif
