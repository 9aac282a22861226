#define _GNU_SOURCE
#include "sync.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

union control {
    char bytes[CMSG_SPACE(sizeof(int))];
    struct cmsghdr align;
};

int sync_pair(int *shim, int *child, struct error *err) {
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return error_make(err, errno, "socket pair");
    *shim = pair[0];
    *child = pair[1];
    return 0;
}

int sync_await(int fd, enum sync_type type) {
    char got;
    ssize_t count;
    do
        count = recv(fd, &got, 1, 0);
    while (count < 0 && errno == EINTR);
    return count == 1 && got == (char)type ? 0 : -1;
}

static int send_message(int fd, const struct sync_message *message, size_t length) {
    return send(fd, message, length, MSG_NOSIGNAL) < 0 ? -1 : 0;
}

int sync_send(int fd, enum sync_type type) {
    struct sync_message message = {.type = (char)type};
    return send_message(fd, &message, 1);
}

int sync_send_pid(int fd, pid_t pid) {
    struct sync_message message = {.type = SYNC_PID, .pid = pid};
    return send_message(fd, &message, offsetof(struct sync_message, text));
}

void sync_send_failure(int fd, int exit_code, const struct error *err) {
    struct sync_message message = {.type = SYNC_FAILED, .exit_code = (unsigned char)exit_code};
    snprintf(message.text, sizeof message.text, "%s", err->text);
    send_message(fd, &message, offsetof(struct sync_message, text) + strlen(message.text) + 1);
}

int sync_send_fd(int fd, enum sync_type type, int passed) {
    char byte = (char)type;
    struct iovec data = {&byte, 1};
    union control control;
    memset(&control, 0, sizeof control);
    struct msghdr head = {
        .msg_iov = &data, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
    struct cmsghdr *part = CMSG_FIRSTHDR(&head);
    part->cmsg_level = SOL_SOCKET;
    part->cmsg_type = SCM_RIGHTS;
    part->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(part), &passed, sizeof passed);
    return sendmsg(fd, &head, MSG_NOSIGNAL) < 0 ? -1 : 0;
}

int sync_receive(int fd, struct sync_message *message, int *passed) {
    memset(message, 0, sizeof *message);
    *passed = -1;
    struct iovec data = {message, sizeof *message - 1};
    union control control;
    struct msghdr head = {
        .msg_iov = &data, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
    ssize_t count = recvmsg(fd, &head, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    /* The other end closed without reading all: told once, before what it had sent, which still lies here. */
    if (count < 0 && errno == ECONNRESET)
        count = recvmsg(fd, &head, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    if (count < 0)
        return errno == EAGAIN || errno == EINTR ? -1 : 0;
    if (count == 0)
        return 0;
    struct cmsghdr *part = CMSG_FIRSTHDR(&head);
    if (part != NULL && part->cmsg_level == SOL_SOCKET && part->cmsg_type == SCM_RIGHTS)
        memcpy(passed, CMSG_DATA(part), sizeof *passed);
    return 1;
}
