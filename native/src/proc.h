/* A process the shim is the parent of: the container's first, or an exec. */
#ifndef TSSWARM_PROC_H
#define TSSWARM_PROC_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "error.h"
#include "plan.h"

struct client;

enum proc_state { PROC_STARTING, PROC_CREATED, PROC_RUNNING };

struct proc {
    struct proc *next;
    bool container; /* the container's first process */
    enum proc_state state;
    bool released; /* told to become its program */
    bool tty;
    uint16_t rows, columns;
    pid_t pid; /* 0 until it is known */
    int pidfd;
    int sync;
    int in;      /* write end of standard input, or -1 */
    int outs[2]; /* read ends of standard output and error; the terminal's master is outs[0] */
    bool reaped; /* and `status` is from waitpid */
    int status;
    bool done; /* reported; to be freed */
    int64_t started_ms;
    struct client *client; /* of an exec, while connected */
    struct error failure;  /* what kept it from running; empty text when nothing did */
    int failure_code;
};

/* Makes the container's first process, waiting at the barrier. */
int proc_spawn_container(struct proc *proc, const struct plan *plan, struct error *err);
/* Begins an exec; SYNC_PID tells how it went on. */
int proc_spawn_exec(struct proc *proc, const struct plan *container, int container_pidfd, const struct plan *plan,
                    struct error *err);
/* Puts a process into the cgroups of v1. */
int proc_join_cgroups(const struct plan *plan, pid_t pid, struct error *err);
int proc_kill(const struct proc *proc, int number);
void proc_close(struct proc *proc);
/* 128 + signal when one ended it. */
int proc_exit_code(const struct proc *proc);
int proc_exit_signal(const struct proc *proc);

#endif
