#define _GNU_SOURCE
#include "proc.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "child.h"
#include "kernel.h"
#include "sync.h"
#include "util.h"

/* The ends of the standard streams: ours in the proc, the process's in the child. */
static int open_streams(struct proc *proc, struct child *child, bool with_input, struct error *err) {
    int input[2] = {-1, -1}, output[2][2] = {{-1, -1}, {-1, -1}};
    if (proc->tty)
        return 0;
    if (with_input ? pipe2(input, O_CLOEXEC) < 0 : (input[0] = open("/dev/null", O_RDONLY | O_CLOEXEC)) < 0)
        return error_make(err, errno, "standard input");
    for (int i = 0; i < 2; i++)
        if (pipe2(output[i], O_CLOEXEC) < 0)
            return error_make(err, errno, "standard output");
    proc->in = input[1];
    child->stdio[0] = input[0];
    for (int i = 0; i < 2; i++) {
        proc->outs[i] = output[i][0];
        child->stdio[1 + i] = output[i][1];
        fcntl(output[i][0], F_SETFL, O_NONBLOCK);
    }
    if (proc->in >= 0)
        fcntl(proc->in, F_SETFL, O_NONBLOCK);
    return 0;
}

static void close_streams(struct child *child) {
    for (int i = 0; i < 3; i++)
        close_fd(&child->stdio[i]);
    close_fd(&child->sync);
}

static void prepare(struct proc *proc, struct child *child, const struct plan *plan) {
    struct record tty;
    proc->pidfd = proc->sync = proc->in = proc->outs[0] = proc->outs[1] = -1;
    proc->tty = plan_find(plan, PLAN_TTY, &tty);
    if (proc->tty) {
        proc->rows = (uint16_t)record_number(&tty, 0);
        proc->columns = (uint16_t)record_number(&tty, 1);
    }
    *child = (struct child){
        .sync = -1, .stdio = {-1, -1, -1}, .tty = proc->tty, .rows = proc->rows, .columns = proc->columns};
}

/* In a new child: lets go of the shim's sockets, logs and pipes. */
static void keep_only(const struct child *child, int extra) {
    int keep[] = {child->sync, child->stdio[0], child->stdio[1], child->stdio[2], extra};
    close_all_but(keep, sizeof keep / sizeof keep[0]);
}

int proc_join_cgroups(const struct plan *plan, pid_t pid, struct error *err) {
    char text[24];
    struct record record;
    snprintf(text, sizeof text, "%d", (int)pid);
    for (size_t at = 0; plan_next(plan, &at, &record);)
        if (record.op == PLAN_CGROUP_PROCS && write_file(record_text(&record, 0), text, err) < 0)
            return -1;
    return 0;
}

static int clone_container(struct proc *proc, struct child *child, const struct plan *plan, struct error *err) {
    struct record record;
    cleanup_close int cgroup = -1;
    struct clone_args args = {.flags = CLONE_PIDFD, .pidfd = (uint64_t)(uintptr_t)&proc->pidfd, .exit_signal = SIGCHLD};
    if (plan_find(plan, PLAN_NAMESPACES, &record))
        args.flags |= record_number(&record, 0) & ~(uint64_t)CLONE_NEWCGROUP;
    if (plan_find(plan, PLAN_CGROUP_DIR, &record)) {
        cgroup = open(record_text(&record, 0), O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (cgroup < 0)
            return error_make(err, errno, "cgroup %s", record_text(&record, 0));
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = (uint64_t)cgroup;
    }
    long pid = sys_clone3(&args);
    if (pid < 0)
        return error_make(err, errno, "new namespaces");
    if (pid == 0) {
        keep_only(child, -1);
        child_run_container(child, plan);
    }
    proc->pid = (pid_t)pid;
    return 0;
}

/* Puts the waiting child into its cgroups and lets it go on. It may have failed and ended by now: what it says of that
 * lies in the socket and is read with the other messages, so neither a missing process nor a closed socket is an error
 * here. */
static int let_go(struct proc *proc, const struct plan *plan, struct error *err) {
    struct error refused = {0};
    if (proc_join_cgroups(plan, proc->pid, &refused) < 0 && refused.status != ESRCH) {
        *err = refused;
        return -1;
    }
    if (sync_send(proc->sync, SYNC_GO) < 0 && errno != EPIPE && errno != ECONNRESET)
        return error_make(err, errno, "the container's first process");
    return 0;
}

int proc_spawn_container(struct proc *proc, const struct plan *plan, struct error *err) {
    struct child child;
    struct record record;
    prepare(proc, &child, plan);
    proc->container = true;
    int result = sync_pair(&proc->sync, &child.sync, err);
    if (result == 0)
        result = open_streams(proc, &child, plan_find(plan, PLAN_STDIN, &record), err);
    if (result == 0)
        result = clone_container(proc, &child, plan, err);
    close_streams(&child);
    if (result == 0)
        result = let_go(proc, plan, err);
    return result;
}

int proc_spawn_exec(struct proc *proc, const struct plan *container, int container_pidfd, const struct plan *plan,
                    struct error *err) {
    struct child child;
    struct record record;
    prepare(proc, &child, plan);
    int result = sync_pair(&proc->sync, &child.sync, err);
    if (result == 0)
        result = open_streams(proc, &child, plan_find(plan, PLAN_STDIN, &record), err);
    if (result == 0) {
        pid_t helper = fork();
        if (helper < 0)
            result = error_make(err, errno, "a helper process for exec");
        if (helper == 0) {
            keep_only(&child, container_pidfd);
            child_run_exec(&child, container, plan, container_pidfd);
        }
    }
    close_streams(&child);
    return result;
}

int proc_kill(const struct proc *proc, int number) {
    if (proc->reaped || proc->pidfd < 0)
        return ESRCH;
    /* A command leads a session: what it began goes with it. Until it is reaped its number is nobody else's. */
    if (number == SIGKILL && !proc->container && proc->pid > 1)
        kill(-proc->pid, SIGKILL);
    return pidfd_send_signal(proc->pidfd, number, NULL, 0) < 0 ? errno : 0;
}

void proc_close(struct proc *proc) {
    close_fd(&proc->pidfd);
    close_fd(&proc->sync);
    close_fd(&proc->in);
    close_fd(&proc->outs[0]);
    close_fd(&proc->outs[1]);
}

int proc_exit_signal(const struct proc *proc) { return WIFSIGNALED(proc->status) ? WTERMSIG(proc->status) : 0; }

int proc_exit_code(const struct proc *proc) {
    int number = proc_exit_signal(proc);
    return number != 0 ? 128 + number : WEXITSTATUS(proc->status);
}
