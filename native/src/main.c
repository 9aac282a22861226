/* tsswarm-shim PLAN: makes the container the plan describes, holds it, records how it ended. Says on standard output
 * "R PID SHIM_PID" once it is made, or "E sentence". The first process only forks: the shim is nobody's child. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "shim.h"
#include "util.h"

static int load_plan(struct plan *plan, const char *path, struct error *err) {
    size_t length;
    char *data = read_file(path, PLAN_BYTES_MAX, &length);
    if (data == NULL)
        return error_make(err, errno, "plan %s", path);
    return plan_check(plan, data, length, err);
}

static int listen_on(struct shim *shim, struct error *err) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct record record;
    if (!plan_find(&shim->plan, PLAN_SOCKET, &record))
        return error_make(err, 0, "the plan has no socket");
    shim->socket_path = record_text(&record, 0);
    if (strlen(shim->socket_path) >= sizeof address.sun_path)
        return error_make(err, ENAMETOOLONG, "socket %s", shim->socket_path);
    memcpy(address.sun_path, shim->socket_path, strlen(shim->socket_path));
    shim->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    unlink(shim->socket_path);
    mode_t mask = umask(0177);
    int bound = shim->listener < 0 ? -1 : bind(shim->listener, (struct sockaddr *)&address, sizeof address);
    umask(mask);
    if (bound < 0 || listen(shim->listener, 64) < 0)
        return error_make(err, errno, "socket %s", shim->socket_path);
    return 0;
}

static int open_log(struct shim *shim, struct error *err) {
    struct record record;
    shim->log.fd = -1;
    if (!plan_find(&shim->plan, PLAN_LOG, &record))
        return 0;
    return log_open(&shim->log, record_text(&record, 0), record_number(&record, 1),
                    (unsigned int)record_number(&record, 2), err);
}

static int block_signals(struct shim *shim, struct error *err) {
    sigset_t all, watched;
    sigfillset(&all);
    sigemptyset(&watched);
    sigaddset(&watched, SIGCHLD);
    sigaddset(&watched, SIGTERM);
    sigprocmask(SIG_SETMASK, &all, NULL);
    shim->signals = signalfd(-1, &watched, SFD_CLOEXEC | SFD_NONBLOCK);
    return shim->signals < 0 ? error_make(err, errno, "signal descriptor") : 0;
}

/* Standard output becomes the ready pipe, then all three streams are /dev/null. */
static int detach(struct shim *shim, struct error *err) {
    shim->ready = fcntl(1, F_DUPFD_CLOEXEC, 3);
    cleanup_close int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (shim->ready < 0 || null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(null, 2) < 0)
        return error_make(err, errno, "standard streams");
    close_all_but(&shim->ready, 1);
    null = -1;
    setsid();
    /* Orphans of a container that shares our pid namespace come to us; nobody may look into us; memory is given back.
     */
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    prctl(PR_SET_DUMPABLE, 0);
    prctl(PR_SET_NAME, "tsswarm-shim");
    mallopt(M_MMAP_THRESHOLD, 64 << 10);
    umask(022);
    return chdir("/") < 0 ? error_make(err, errno, "/") : 0;
}

/* Rather the container than its shim when memory runs out; not allowed everywhere, and then it is as it is. */
static void survive_oom(void) {
    struct error ignored;
    write_file("/proc/self/oom_score_adj", "-998", &ignored);
}

static int set_up(struct shim *shim, const char *plan, struct error *err) {
    if (detach(shim, err) < 0 || load_plan(&shim->plan, plan, err) < 0 || block_signals(shim, err) < 0 ||
        listen_on(shim, err) < 0 || open_log(shim, err) < 0)
        return -1;
    survive_oom();
    if (oom_open(&shim->oom, &shim->plan, err) < 0)
        return -1;
    return proc_spawn_container(&shim->container, &shim->plan, err);
}

int main(int argc, char **argv) {
    static struct shim shim = {.listener = -1, .ready = -1, .signals = -1};
    struct error err;
    if (argc != 2) {
        fprintf(stderr, "usage: tsswarm-shim PLAN\n");
        return 2;
    }
    pid_t child = fork();
    if (child != 0)
        return child < 0 ? 1 : 0;
    if (set_up(&shim, argv[1], &err) == 0)
        return shim_run(&shim);
    dprintf(shim.ready < 0 ? 1 : shim.ready, "E %s\n", err.text);
    if (shim.container.pid > 0)
        kill(shim.container.pid, SIGKILL);
    if (shim.socket_path != NULL)
        unlink(shim.socket_path);
    return 1;
}
