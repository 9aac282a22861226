#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "exit-record.h"
#include "shim.h"
#include "sync.h"
#include "terminal.h"
#include "util.h"

#define CHUNK_BYTES (32u << 10)
/* What is read at most of an ended process's pipes, which somebody else may still write to. */
#define DRAIN_CONTAINER_MAX (4u << 20)
#define DRAIN_EXEC_MAX (256u << 10)
#define LINGER_MS 10000

static void say_ready(struct shim *shim, const char *failure) {
    char line[700];
    if (shim->ready < 0)
        return;
    int length = failure[0] == '\0' ? snprintf(line, sizeof line, "R %d %d\n", shim->container.pid, getpid())
                                    : snprintf(line, sizeof line, "E %s\n", failure);
    if (write_all(shim->ready, line, (size_t)length) < 0)
        kill(shim->container.pid, SIGKILL);
    close_fd(&shim->ready);
}

static void answer_start(struct shim *shim, int code, const char *failure) {
    for (struct client *client = shim->clients; client != NULL; client = client->next) {
        if (!client->starting)
            continue;
        client->starting = false;
        client_send_result(client, FRAME_START, code, failure);
    }
}

static void answer_exec(struct proc *proc) {
    uint32_t pid = (uint32_t)proc->pid;
    char payload[5] = {0};
    if (proc->client == NULL)
        return;
    if (proc->failure.text[0] != '\0') {
        client_send_result(proc->client, FRAME_EXEC, proc->failure_code, proc->failure.text);
        return;
    }
    memcpy(payload + 1, &pid, 4);
    client_send(proc->client, FRAME_EXEC, 0, payload, sizeof payload);
}

/* The end of the pair without a failure: exec closed it, the program runs. */
static void on_running(struct shim *shim, struct proc *proc) {
    close_fd(&proc->sync);
    if (proc->failure.text[0] != '\0' || proc->state == PROC_RUNNING)
        return;
    if (!proc->released) {
        error_make(&proc->failure, 0, "the process ended before its program could run");
        proc->failure_code = 125;
        if (proc->pid == 0) {
            /* The helper of an exec died: nobody is left to wait for. */
            proc->reaped = true;
            proc->status = 125 << 8;
        }
        return;
    }
    proc->state = PROC_RUNNING;
    proc->started_ms = now_us() / 1000;
    if (proc->container)
        answer_start(shim, 0, "");
    else
        answer_exec(proc);
}

/* The helper has made the process: into its cgroups, and go. */
static void on_pid(struct shim *shim, struct proc *proc, pid_t pid) {
    proc->pid = pid;
    proc->pidfd = pidfd_open(pid, 0);
    if (proc->pidfd < 0) {
        error_make(&proc->failure, errno, "the process ended before its program could run");
        proc->reaped = true;
        proc->status = SIGKILL;
        return;
    }
    if (proc_join_cgroups(&shim->plan, pid, &proc->failure) < 0) {
        proc->failure_code = 125;
        proc_kill(proc, SIGKILL);
        return;
    }
    proc->state = PROC_CREATED;
    proc->released = sync_send(proc->sync, SYNC_GO) == 0;
}

static void on_message(struct shim *shim, struct proc *proc, const struct sync_message *message, int passed) {
    switch (message->type) {
    case SYNC_TERMINAL:
        if (passed >= 0 && proc->tty && proc->outs[0] < 0) {
            proc->outs[0] = passed;
            terminal_resize(passed, proc->rows, proc->columns);
            return;
        }
        break;
    case SYNC_READY:
        proc->state = PROC_CREATED;
        say_ready(shim, "");
        break;
    case SYNC_PID:
        on_pid(shim, proc, message->pid);
        break;
    case SYNC_FAILED:
        proc->failure_code = message->exit_code;
        snprintf(proc->failure.text, sizeof proc->failure.text, "%s", message->text);
        if (proc->pid == 0) {
            proc->reaped = true;
            proc->status = message->exit_code << 8;
        }
        break;
    default:
        break;
    }
    close_fd(&passed);
}

void shim_on_sync(struct shim *shim, struct proc *proc) {
    struct sync_message message;
    int passed, got;
    while (proc->sync >= 0 && (got = sync_receive(proc->sync, &message, &passed)) >= 0) {
        if (got == 0)
            on_running(shim, proc);
        else
            on_message(shim, proc, &message, passed);
    }
}

static void give_output(struct shim *shim, struct proc *proc, uint32_t stream, const char *data, size_t length) {
    if (!proc->container) {
        if (proc->client != NULL)
            client_send(proc->client, FRAME_OUTPUT, stream, data, length);
        return;
    }
    log_write(&shim->log, (int)stream, data, length);
    for (struct client *client = shim->clients; client != NULL; client = client->next)
        if (client->proc == proc)
            client_send(client, FRAME_OUTPUT, stream, data, length);
}

/* Reads once; the bytes read, or 0 when the pipe is closed or empty. */
static size_t pump(struct shim *shim, struct proc *proc, int which) {
    static char chunk[CHUNK_BYTES];
    ssize_t count = read(proc->outs[which], chunk, sizeof chunk);
    if (count > 0) {
        give_output(shim, proc, (uint32_t)which + 1, chunk, (size_t)count);
        return (size_t)count;
    }
    if (count == 0 || (errno != EAGAIN && errno != EINTR))
        close_fd(&proc->outs[which]);
    return 0;
}

void shim_on_output(struct shim *shim, struct proc *proc, int which) { pump(shim, proc, which); }

/* What an ended process left in its pipes. Poll first: it is what moves a terminal's last bytes over. */
static void drain(struct shim *shim, struct proc *proc) {
    size_t max = proc->container ? DRAIN_CONTAINER_MAX : DRAIN_EXEC_MAX;
    for (int which = 0; which < 2; which++) {
        for (size_t total = 0; total < max && proc->outs[which] >= 0;) {
            struct pollfd poller = {.fd = proc->outs[which], .events = POLLIN};
            if (poll(&poller, 1, 0) <= 0 || (poller.revents & POLLIN) == 0)
                break;
            total += pump(shim, proc, which) + 1;
        }
    }
}

void shim_on_stdin_room(struct shim *shim, struct proc *proc) {
    int fd = proc->tty ? proc->outs[0] : proc->in;
    for (struct client *client = shim->clients; client != NULL; client = client->next) {
        size_t length = buffer_length(&client->stdin_bytes);
        if (client->proc != proc || length == 0)
            continue;
        ssize_t count = fd < 0 ? (ssize_t)length : write(fd, buffer_bytes(&client->stdin_bytes), length);
        if (count < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        /* Nobody reads any more: swallow it, as a closed pipe does after its signal. */
        if (count < 0) {
            count = (ssize_t)length;
            close_fd(&proc->in);
        }
        buffer_take(&client->stdin_bytes, (size_t)count);
        if (buffer_length(&client->stdin_bytes) == 0)
            client_send(client, FRAME_STDIN, 0, NULL, 0);
        return;
    }
}

static void reap(struct shim *shim) {
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG | __WALL)) > 0) {
        struct proc *found = shim->container.pid == pid ? &shim->container : NULL;
        for (struct proc *proc = shim->execs; proc != NULL && found == NULL; proc = proc->next)
            if (proc->pid == pid && !proc->reaped)
                found = proc;
        if (found == NULL)
            continue;
        found->reaped = true;
        found->status = status;
    }
}

void shim_on_signals(struct shim *shim) {
    struct signalfd_siginfo info;
    while (read(shim->signals, &info, sizeof info) == sizeof info)
        if (info.ssi_signo == SIGTERM)
            proc_kill(&shim->container, SIGTERM);
    reap(shim);
}

void shim_on_oom(struct shim *shim) {
    if (!oom_check(&shim->oom))
        return;
    for (struct client *client = shim->clients; client != NULL; client = client->next)
        if (!client->session)
            client_send(client, FRAME_OOM, 0, &shim->oom.kills, 4);
}

static void write_exit(struct shim *shim, const struct proc *proc, int code) {
    struct record record;
    struct error err;
    struct exit_record exit = {
        .code = code,
        .signal = proc_exit_signal(proc),
        .oom_killed = shim->oom.kills > 0 && code != 0,
        .started_ms = proc->started_ms,
        .exited_ms = now_us() / 1000,
        .failure = proc->failure.text,
    };
    /* Without a record the agent finds the container lost, which is then the truth. */
    if (plan_find(&shim->plan, PLAN_EXIT_FILE, &record) && exit_record_write(record_text(&record, 0), &exit, &err) < 0)
        log_write(&shim->log, 2, err.text, strlen(err.text));
}

static void send_exit(struct client *client, const struct proc *proc, int code) {
    uint32_t payload[2] = {(uint32_t)code, (uint32_t)proc_exit_signal(proc)};
    client_send(client, FRAME_EXIT, 0, payload, sizeof payload);
}

static void finish_container(struct shim *shim, struct proc *proc, int code) {
    shim_on_oom(shim);
    log_finish(&shim->log);
    say_ready(shim, proc->failure.text[0] == '\0' ? "the container's first process was killed" : proc->failure.text);
    write_exit(shim, proc, code);
    answer_start(shim, code, proc->failure.text[0] == '\0' ? "the container was killed" : proc->failure.text);
    for (struct client *client = shim->clients; client != NULL; client = client->next)
        if (!client->session || client->proc == proc)
            send_exit(client, proc, code);
    shim->finished = true;
    shim->leave_at_ms = monotonic_ms() + LINGER_MS;
}

static void finish(struct shim *shim, struct proc *proc) {
    shim_on_sync(shim, proc);
    /* The helper of an exec may hold the pair open a little longer than the command itself lived. */
    if (proc->sync >= 0)
        on_running(shim, proc);
    drain(shim, proc);
    int code = proc->failure.text[0] != '\0' && proc->failure_code != 0 ? proc->failure_code : proc_exit_code(proc);
    if (proc->container) {
        finish_container(shim, proc, code);
    } else if (proc->client != NULL) {
        if (proc->failure.text[0] != '\0')
            answer_exec(proc);
        else
            send_exit(proc->client, proc, code);
        proc->client->proc = NULL;
        proc->client = NULL;
    }
    proc_close(proc);
    proc->done = true;
}

void shim_finish_ended(struct shim *shim) {
    for (struct proc *proc = shim->execs; proc != NULL; proc = proc->next)
        if (proc->reaped && !proc->done)
            finish(shim, proc);
    if (shim->container.reaped && !shim->container.done)
        finish(shim, &shim->container);
}
