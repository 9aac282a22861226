/* The shim's state, and the steps its loop takes. One shim, one container, one thread. */
#ifndef TSSWARM_SHIM_H
#define TSSWARM_SHIM_H

#include <stdbool.h>
#include <stdint.h>

#include "client.h"
#include "log.h"
#include "oom.h"
#include "plan.h"
#include "proc.h"

#define SHIM_CLIENTS_MAX 64
#define SHIM_EXECS_MAX 64

struct shim {
    struct plan plan;
    const char *socket_path;
    int signals;  /* signalfd */
    int listener; /* unix socket */
    int ready;    /* where to say that the container is made, until it was said */
    struct log log;
    struct oom oom;
    struct proc container;
    struct proc *execs;
    unsigned int execs_count;
    struct client *clients;
    unsigned int clients_count;
    bool finished;       /* the exit record is written */
    bool shutdown;       /* asked for */
    int64_t leave_at_ms; /* monotonic: when to go although somebody still has output to read */
};

/* shim-loop.c: makes the container and serves until it has ended. The process's exit status. */
int shim_run(struct shim *shim);
/* shim-events.c: what processes do. */
void shim_on_sync(struct shim *shim, struct proc *proc);
void shim_on_output(struct shim *shim, struct proc *proc, int which);
void shim_on_stdin_room(struct shim *shim, struct proc *proc);
void shim_on_signals(struct shim *shim);
void shim_on_oom(struct shim *shim);
/* Reports every process that ended since the last call. */
void shim_finish_ended(struct shim *shim);
/* shim-requests.c: what clients ask. */
void shim_on_client(struct shim *shim, struct client *client);
/* The client's connection is over: its exec gets SIGHUP, as when a terminal goes away. */
void shim_forget_client(struct shim *shim, struct client *client);

#endif
