#define _GNU_SOURCE
#include "client.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "util.h"

#define RECEIVE_BYTES (64u << 10)

void client_cut(struct client *client) {
    close_fd(&client->fd);
    buffer_free(&client->in);
    buffer_free(&client->out);
    buffer_free(&client->stdin_bytes);
    client->gone = true;
}

void client_flush(struct client *client) {
    while (!client->gone && buffer_length(&client->out) > 0) {
        ssize_t sent =
            send(client->fd, buffer_bytes(&client->out), buffer_length(&client->out), MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0 && errno == EAGAIN)
            return;
        if (sent < 0) {
            client_cut(client);
            return;
        }
        buffer_take(&client->out, (size_t)sent);
    }
}

void client_send(struct client *client, enum frame_type type, uint32_t stream, const void *payload, size_t length) {
    if (client->gone)
        return;
    char *room = NULL;
    if (buffer_length(&client->out) + length + FRAME_HEAD <= CLIENT_QUEUE_MAX)
        room = buffer_room(&client->out, length + FRAME_HEAD);
    if (room == NULL) {
        client_cut(client);
        return;
    }
    uint32_t whole = (uint32_t)(length + FRAME_HEAD - 4);
    memcpy(room, &whole, 4);
    room[4] = (char)type;
    memcpy(room + 5, &stream, 4);
    if (length > 0)
        memcpy(room + FRAME_HEAD, payload, length);
    buffer_added(&client->out, length + FRAME_HEAD);
    client_flush(client);
}

void client_send_result(struct client *client, enum frame_type type, int code, const char *failure) {
    char payload[640];
    payload[0] = failure[0] == '\0' ? 0 : (char)(code > 0 && code < 256 ? code : 125);
    int length = snprintf(payload + 1, sizeof payload - 1, "%s", failure);
    client_send(client, type, 0, payload, 1 + (size_t)length);
}

bool client_receive(struct client *client) {
    char *room = buffer_room(&client->in, RECEIVE_BYTES);
    if (room == NULL)
        return false;
    ssize_t count = recv(client->fd, room, RECEIVE_BYTES, MSG_DONTWAIT);
    if (count < 0)
        return errno == EAGAIN || errno == EINTR;
    buffer_added(&client->in, (size_t)count);
    return count > 0;
}

int client_peek(const struct client *client, struct frame *frame) {
    size_t have = buffer_length(&client->in);
    uint32_t whole;
    if (have < FRAME_HEAD)
        return 0;
    const char *bytes = buffer_bytes(&client->in);
    memcpy(&whole, bytes, 4);
    if (whole < FRAME_HEAD - 4 || whole > FRAME_BYTES_MAX)
        return -1;
    if (have < 4 + (size_t)whole)
        return 0;
    frame->type = (uint8_t)bytes[4];
    memcpy(&frame->stream, bytes + 5, 4);
    frame->payload = bytes + FRAME_HEAD;
    frame->length = whole - (FRAME_HEAD - 4);
    return 1;
}

void client_next(struct client *client, const struct frame *frame) {
    if (!client->gone)
        buffer_take(&client->in, frame->length + FRAME_HEAD);
}
