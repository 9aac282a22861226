#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shim.h"
#include "sync.h"
#include "terminal.h"
#include "util.h"

static void on_state(struct shim *shim, struct client *client) {
    const struct proc *proc = &shim->container;
    const char *state = proc->done ? "stopped" : proc->state == PROC_RUNNING ? "running" : "created";
    char text[128];
    int length =
        snprintf(text, sizeof text, "%s %d %lld %u", state, proc->pid, (long long)proc->started_ms, shim->oom.kills);
    client_send(client, FRAME_STATE, 0, text, (size_t)length);
}

static void on_start(struct shim *shim, struct client *client) {
    struct proc *proc = &shim->container;
    if (proc->state == PROC_RUNNING || proc->done || client->starting) {
        client_send_result(client, FRAME_START, 125, "the container was started before");
        return;
    }
    client->starting = true;
    if (proc->sync >= 0)
        proc->released = sync_send(proc->sync, SYNC_START) == 0;
}

static void on_kill(struct shim *shim, struct client *client, const struct frame *frame) {
    uint32_t number = 0, result = EINVAL;
    const struct proc *proc = client->session ? client->proc : &shim->container;
    if (frame->length == 4) {
        memcpy(&number, frame->payload, 4);
        result = proc == NULL ? ESRCH : (uint32_t)proc_kill(proc, (int)number);
    }
    client_send(client, FRAME_KILL, 0, &result, 4);
}

static void on_attach(struct shim *shim, struct client *client) {
    client->session = true;
    client->proc = shim->container.done ? NULL : &shim->container;
    client_send(client, FRAME_ATTACH, 0, NULL, 0);
    if (client->proc == NULL)
        client_cut(client);
}

static void refuse_exec(struct client *client, const char *why) { client_send_result(client, FRAME_EXEC, 125, why); }

static void on_exec(struct shim *shim, struct client *client, const struct frame *frame) {
    struct error err;
    struct plan plan;
    client->session = true;
    if (shim->container.state != PROC_RUNNING || shim->container.reaped) {
        refuse_exec(client, "the container is not running");
        return;
    }
    if (shim->execs_count >= SHIM_EXECS_MAX) {
        refuse_exec(client, "too many commands run in the container already");
        return;
    }
    if (plan_check(&plan, frame->payload, frame->length, &err) < 0) {
        refuse_exec(client, err.text);
        return;
    }
    struct proc *proc = calloc(1, sizeof *proc);
    if (proc == NULL) {
        refuse_exec(client, "out of memory");
        return;
    }
    if (proc_spawn_exec(proc, &shim->plan, shim->container.pidfd, &plan, &err) < 0) {
        refuse_exec(client, err.text);
        proc_close(proc);
        free(proc);
        return;
    }
    proc->client = client;
    client->proc = proc;
    proc->next = shim->execs;
    shim->execs = proc;
    shim->execs_count++;
}

static void on_stdin(struct shim *shim, struct client *client, const struct frame *frame) {
    struct proc *proc = client->proc;
    /* One piece at a time: the next one is due after this one was taken. */
    if (!client->session || frame->length > FRAME_STDIN_MAX || buffer_length(&client->stdin_bytes) > 0) {
        client_cut(client);
        return;
    }
    char *room = proc == NULL || frame->length == 0 ? NULL : buffer_room(&client->stdin_bytes, frame->length);
    if (room == NULL) {
        client_send(client, FRAME_STDIN, 0, NULL, 0);
        return;
    }
    memcpy(room, frame->payload, frame->length);
    buffer_added(&client->stdin_bytes, frame->length);
    shim_on_stdin_room(shim, proc);
}

static void on_resize(const struct client *client, const struct frame *frame) {
    uint16_t size[2];
    if (client->proc == NULL || !client->proc->tty || frame->length != sizeof size)
        return;
    memcpy(size, frame->payload, sizeof size);
    client->proc->rows = size[0];
    client->proc->columns = size[1];
    if (client->proc->outs[0] >= 0)
        terminal_resize(client->proc->outs[0], size[0], size[1]);
}

static void on_shutdown(struct shim *shim) {
    shim->shutdown = true;
    proc_kill(&shim->container, SIGKILL);
}

static void on_frame(struct shim *shim, struct client *client, const struct frame *frame) {
    bool opens = frame->type == FRAME_ATTACH || frame->type == FRAME_EXEC;
    if (opens && client->session) {
        client_cut(client);
        return;
    }
    switch (frame->type) {
    case FRAME_STATE:
        on_state(shim, client);
        break;
    case FRAME_START:
        on_start(shim, client);
        break;
    case FRAME_KILL:
        on_kill(shim, client, frame);
        break;
    case FRAME_ATTACH:
        on_attach(shim, client);
        break;
    case FRAME_STDIN:
        on_stdin(shim, client, frame);
        break;
    case FRAME_STDIN_CLOSE:
        if (client->proc != NULL)
            close_fd(&client->proc->in);
        break;
    case FRAME_RESIZE:
        on_resize(client, frame);
        break;
    case FRAME_EXEC:
        on_exec(shim, client, frame);
        break;
    case FRAME_SHUTDOWN:
        on_shutdown(shim);
        break;
    default:
        client_cut(client);
        break;
    }
}

void shim_on_client(struct shim *shim, struct client *client) {
    struct frame frame;
    int got = 0;
    bool more = client_receive(client);
    while (!client->gone && (got = client_peek(client, &frame)) > 0) {
        on_frame(shim, client, &frame);
        client_next(client, &frame);
    }
    if (!client->gone && (got < 0 || !more))
        client_cut(client);
}

void shim_forget_client(struct shim *shim, struct client *client) {
    struct proc *proc = client->proc;
    client->proc = NULL;
    if (proc == NULL || proc == &shim->container)
        return;
    proc->client = NULL;
    close_fd(&proc->in);
    proc_kill(proc, SIGHUP);
    if (proc->tty)
        close_fd(&proc->outs[0]);
}
