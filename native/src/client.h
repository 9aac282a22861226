/* A connection to the shim's socket: frames in, frames out through a bounded queue. */
#ifndef TSSWARM_CLIENT_H
#define TSSWARM_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buffer.h"
#include "frames.h"

/* What may wait for a slow reader before it is cut off. */
#define CLIENT_QUEUE_MAX (1u << 20)
/* Above this an exec's own output is left in its pipe. */
#define CLIENT_QUEUE_HIGH (256u << 10)

struct proc;

struct client {
    struct client *next;
    int fd;
    bool gone;         /* closed; to be freed */
    bool starting;     /* waits for the answer to FRAME_START */
    struct proc *proc; /* of a session, until it is done; NULL for a control connection */
    bool session;
    struct buffer in, out;
    struct buffer stdin_bytes; /* taken from it, not yet by the process */
};

struct frame {
    uint8_t type;
    uint32_t stream;
    const char *payload;
    uint32_t length;
};

/* Queues a frame and sends what goes. Cuts the client off when its queue is full. */
void client_send(struct client *client, enum frame_type type, uint32_t stream, const void *payload, size_t length);
/* Payload of one byte, 0 or the exit code, and a sentence. */
void client_send_result(struct client *client, enum frame_type type, int code, const char *failure);
void client_flush(struct client *client);
/* Reads what is there; false when nothing more comes. */
bool client_receive(struct client *client);
/* The next whole frame: 1, 0 when there is none yet, -1 when what came is no frame. client_next drops it. */
int client_peek(const struct client *client, struct frame *frame);
void client_next(struct client *client, const struct frame *frame);
void client_cut(struct client *client);

#endif
