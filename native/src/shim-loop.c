#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "shim.h"
#include "util.h"

enum source { SOURCE_SIGNALS, SOURCE_LISTENER, SOURCE_OOM, SOURCE_CLIENT, SOURCE_SYNC, SOURCE_OUTPUT, SOURCE_INPUT };

#define SOURCES_MAX (3 + SHIM_CLIENTS_MAX + 4 * (SHIM_EXECS_MAX + 1))

/* What is polled in one round. Whoever goes away during the round is only marked, and freed after it. */
struct round {
    struct pollfd fds[SOURCES_MAX];
    struct {
        enum source source;
        struct client *client;
        struct proc *proc;
        int which;
    } who[SOURCES_MAX];
    nfds_t count;
};

static void add(struct round *round, int fd, short events, enum source source) {
    if (fd < 0)
        return;
    round->fds[round->count] = (struct pollfd){.fd = fd, .events = events};
    round->who[round->count].source = source;
    round->count++;
}

static void add_proc_fd(struct round *round, int fd, short events, enum source source, struct proc *proc, int which) {
    if (fd < 0)
        return;
    add(round, fd, events, source);
    round->who[round->count - 1].proc = proc;
    round->who[round->count - 1].which = which;
}

static bool has_input(const struct shim *shim, const struct proc *proc) {
    for (const struct client *client = shim->clients; client != NULL; client = client->next)
        if (client->proc == proc && buffer_length(&client->stdin_bytes) > 0)
            return true;
    return false;
}

static void add_proc(struct round *round, const struct shim *shim, struct proc *proc) {
    if (proc->done)
        return;
    add_proc_fd(round, proc->sync, POLLIN, SOURCE_SYNC, proc, 0);
    if (proc->state != PROC_RUNNING)
        return;
    bool input = has_input(shim, proc);
    /* An exec whose reader is slow waits for it; the container never waits for anybody. */
    bool full = proc->client != NULL && buffer_length(&proc->client->out) > CLIENT_QUEUE_HIGH;
    short events = (short)((full ? 0 : POLLIN) | (proc->tty && input ? POLLOUT : 0));
    if (events != 0)
        add_proc_fd(round, proc->outs[0], events, SOURCE_OUTPUT, proc, 0);
    if (!full)
        add_proc_fd(round, proc->outs[1], POLLIN, SOURCE_OUTPUT, proc, 1);
    if (!proc->tty && input)
        add_proc_fd(round, proc->in, POLLOUT, SOURCE_INPUT, proc, 0);
}

static void collect(struct round *round, struct shim *shim) {
    round->count = 0;
    add(round, shim->signals, POLLIN, SOURCE_SIGNALS);
    if (shim->clients_count < SHIM_CLIENTS_MAX)
        add(round, shim->listener, POLLIN, SOURCE_LISTENER);
    add(round, shim->finished ? -1 : shim->oom.fd, shim->oom.events, SOURCE_OOM);
    for (struct client *client = shim->clients; client != NULL; client = client->next) {
        add(round, client->fd, (short)(POLLIN | (buffer_length(&client->out) > 0 ? POLLOUT : 0)), SOURCE_CLIENT);
        round->who[round->count - 1].client = client;
    }
    add_proc(round, shim, &shim->container);
    for (struct proc *proc = shim->execs; proc != NULL; proc = proc->next)
        add_proc(round, shim, proc);
}

static void accept_client(struct shim *shim) {
    int fd = accept4(shim->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return;
    struct client *client = calloc(1, sizeof *client);
    if (client == NULL) {
        close(fd);
        return;
    }
    client->fd = fd;
    client->next = shim->clients;
    shim->clients = client;
    shim->clients_count++;
}

static void serve_client(struct shim *shim, struct client *client, short events) {
    if (client->gone)
        return;
    if ((events & POLLOUT) != 0)
        client_flush(client);
    if (!client->gone && (events & (POLLIN | POLLHUP | POLLERR)) != 0)
        shim_on_client(shim, client);
}

static void serve_output(struct shim *shim, struct proc *proc, int which, short events) {
    if ((events & POLLOUT) != 0)
        shim_on_stdin_room(shim, proc);
    if ((events & (POLLIN | POLLHUP | POLLERR)) != 0 && proc->outs[which] >= 0)
        shim_on_output(shim, proc, which);
}

static void serve(struct shim *shim, const struct round *round) {
    for (nfds_t i = 0; i < round->count; i++) {
        short events = round->fds[i].revents;
        if (events == 0)
            continue;
        struct proc *proc = round->who[i].proc;
        switch (round->who[i].source) {
        case SOURCE_SIGNALS:
            shim_on_signals(shim);
            break;
        case SOURCE_LISTENER:
            accept_client(shim);
            break;
        case SOURCE_OOM:
            shim_on_oom(shim);
            break;
        case SOURCE_CLIENT:
            serve_client(shim, round->who[i].client, events);
            break;
        case SOURCE_SYNC:
            shim_on_sync(shim, proc);
            break;
        case SOURCE_OUTPUT:
            serve_output(shim, proc, round->who[i].which, events);
            break;
        case SOURCE_INPUT:
            shim_on_stdin_room(shim, proc);
            break;
        }
    }
}

static void free_gone(struct shim *shim) {
    for (struct client **at = &shim->clients; *at != NULL;) {
        struct client *client = *at;
        if (!client->gone) {
            at = &client->next;
            continue;
        }
        shim_forget_client(shim, client);
        *at = client->next;
        free(client);
        shim->clients_count--;
    }
    for (struct proc **at = &shim->execs; *at != NULL;) {
        struct proc *proc = *at;
        if (!proc->done) {
            at = &proc->next;
            continue;
        }
        *at = proc->next;
        free(proc);
        shim->execs_count--;
    }
}

/* All was said to everybody, or whoever does not listen had long enough. */
static bool may_leave(const struct shim *shim) {
    if (!shim->finished)
        return false;
    if (shim->shutdown || monotonic_ms() >= shim->leave_at_ms)
        return true;
    for (const struct client *client = shim->clients; client != NULL; client = client->next)
        if (buffer_length(&client->out) > 0)
            return false;
    return true;
}

int shim_run(struct shim *shim) {
    static struct round round;
    while (!may_leave(shim)) {
        collect(&round, shim);
        if (poll(round.fds, round.count, shim->finished ? 1000 : -1) < 0 && errno != EINTR)
            return 1;
        serve(shim, &round);
        shim_finish_ended(shim);
        free_gone(shim);
    }
    unlink(shim->socket_path);
    return 0;
}
