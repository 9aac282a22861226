#define _GNU_SOURCE
#include "child.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "kernel.h"
#include "mounts.h"
#include "process.h"
#include "program.h"
#include "root.h"
#include "sync.h"
#include "terminal.h"
#include "util.h"

#define EXIT_SETUP 125

static void fail(const struct child *child, int code, const struct error *err) __attribute__((noreturn));

static void fail(const struct child *child, int code, const struct error *err) {
    sync_send_failure(child->sync, code, err);
    _exit(code);
}

/* Makes the terminal and hands its master end to the shim; the slave, or -1. */
static int make_terminal(const struct child *child, int root, struct error *err) {
    int master, slave;
    if (terminal_open(root, &master, &slave, err) < 0)
        return -1;
    /* Before the program can ask for it: the shim hears of the terminal only while the program starts. */
    terminal_resize(master, child->rows, child->columns);
    if (root >= 0 && mount_console(root, slave, err) < 0)
        return -1;
    if (sync_send_fd(child->sync, SYNC_TERMINAL, master) < 0)
        return error_make(err, errno, "handing over the terminal");
    close(master);
    return slave;
}

static int take_stdio(const struct child *child, int slave, struct error *err) {
    setsid();
    if (child->tty)
        return terminal_take(slave, err);
    for (int i = 0; i < 3; i++)
        if (dup2(child->stdio[i], i) < 0)
            return error_make(err, errno, "standard streams");
    return 0;
}

static void become_program(const struct child *child, struct process *process, int slave) __attribute__((noreturn));

static void become_program(const struct child *child, struct process *process, int slave) {
    struct error err;
    if (take_stdio(child, slave, &err) < 0 || process_become(process, &err) < 0 || process_seal(process, &err) < 0)
        fail(child, EXIT_SETUP, &err);
    int code = program_exec(process->args, process->env, &err);
    fail(child, code, &err);
}

static int join_paths(const struct plan *plan, struct error *err) {
    struct record record;
    for (size_t at = 0; plan_next(plan, &at, &record);) {
        if (record.op != PLAN_NAMESPACE_PATH)
            continue;
        const char *path = record_text(&record, 1);
        cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0 || setns(fd, (int)record_number(&record, 0)) < 0)
            return error_make(err, errno, "joining namespace %s", path);
    }
    return 0;
}

/* Waits until this process is in its cgroups. Only then the namespace: its root is where its maker stands. */
static int enter_cgroups(const struct child *child, const struct plan *plan, struct error *err) {
    struct record record;
    if (sync_await(child->sync, SYNC_GO) < 0)
        _exit(EXIT_SETUP);
    if (plan_find(plan, PLAN_NAMESPACES, &record) && (record_number(&record, 0) & CLONE_NEWCGROUP) != 0 &&
        unshare(CLONE_NEWCGROUP) < 0)
        return error_make(err, errno, "new cgroup namespace");
    return 0;
}

/* Whether the root shows cgroup hierarchies, which must be mounted from inside the cgroup namespace. */
static bool shows_cgroups(const struct plan *plan) {
    struct record record;
    for (size_t at = 0; plan_next(plan, &at, &record);)
        if (record.op == PLAN_MOUNT && strncmp(record_text(&record, 0), "cgroup", 6) == 0)
            return true;
    return false;
}

/* Entering a v1 cgroup takes the kernel some 10 ms: meanwhile the root is built, where nothing speaks against it. */
static int set_up_container(const struct child *child, const struct plan *plan, int *slave, struct error *err) {
    bool cgroups_first = shows_cgroups(plan);
    if (join_paths(plan, err) < 0 || (cgroups_first && enter_cgroups(child, plan, err) < 0))
        return -1;
    cleanup_close int root = root_build(plan, err);
    if (root < 0 || (child->tty && (*slave = make_terminal(child, root, err)) < 0) || root_enter(plan, root, err) < 0)
        return -1;
    return cgroups_first ? 0 : enter_cgroups(child, plan, err);
}

void child_run_container(const struct child *child, const struct plan *plan) {
    struct error err;
    struct process process;
    int slave = -1;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    process_init(&process);
    if (process_read(&process, plan, &err) < 0 || set_up_container(child, plan, &slave, &err) < 0)
        fail(child, EXIT_SETUP, &err);
    if (sync_send(child->sync, SYNC_READY) < 0 || sync_await(child->sync, SYNC_START) < 0)
        _exit(EXIT_SETUP);
    become_program(child, &process, slave);
}

/* The namespaces the container has of its own or by path. */
static int namespaces_of(const struct plan *plan) {
    struct record record;
    uint64_t flags = 0;
    for (size_t at = 0; plan_next(plan, &at, &record);)
        if (record.op == PLAN_NAMESPACES || record.op == PLAN_NAMESPACE_PATH)
            flags |= record_number(&record, 0);
    return (int)flags;
}

/* In the namespaces and, with v2, in the cgroup; the shim's child. */
static void run_execed(const struct child *child, const struct plan *container, const struct plan *plan, int pidfd)
    __attribute__((noreturn));

static void run_execed(const struct child *child, const struct plan *container, const struct plan *plan, int pidfd) {
    struct error err;
    struct process process;
    int slave = -1;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (sync_await(child->sync, SYNC_GO) < 0)
        _exit(EXIT_SETUP);
    /* Cloned into the cgroup first: the other way round is ENOENT where cgroup2 is mounted with nsdelegate. */
    if ((namespaces_of(container) & CLONE_NEWCGROUP) != 0 && setns(pidfd, CLONE_NEWCGROUP) < 0) {
        error_make(&err, errno, "joining the container's cgroup namespace");
        fail(child, EXIT_SETUP, &err);
    }
    process_init(&process);
    if (process_read(&process, container, &err) < 0 || process_read(&process, plan, &err) < 0 ||
        (child->tty && (slave = make_terminal(child, -1, &err)) < 0))
        fail(child, EXIT_SETUP, &err);
    become_program(child, &process, slave);
}

void child_run_exec(const struct child *child, const struct plan *container, const struct plan *plan, int pidfd) {
    struct error err;
    struct record record;
    /* A sibling, not a child: the shim waits for it itself. */
    struct clone_args args = {.flags = CLONE_PARENT};
    if (plan_find(container, PLAN_CGROUP_DIR, &record)) {
        int cgroup = open(record_text(&record, 0), O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (cgroup < 0) {
            error_make(&err, errno, "cgroup %s", record_text(&record, 0));
            fail(child, EXIT_SETUP, &err);
        }
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = (uint64_t)cgroup;
    }
    if (setns(pidfd, namespaces_of(container) & ~CLONE_NEWCGROUP) < 0) {
        error_make(&err, errno, "joining the container's namespaces");
        fail(child, EXIT_SETUP, &err);
    }
    long pid = sys_clone3(&args);
    if (pid == 0)
        run_execed(child, container, plan, pidfd);
    if (pid < 0) {
        error_make(&err, errno, "a new process in the container");
        fail(child, EXIT_SETUP, &err);
    }
    sync_send_pid(child->sync, (pid_t)pid);
    _exit(0);
}
