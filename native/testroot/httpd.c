/* A small HTTP server in one thread: the demo's image and tests of real containers run it. It says who it is, and on
 * TERM it stops taking connections, finishes what it has begun and exits with 0.
 *
 *   httpd [PORT]        PORT: the argument, else $PORT, else 80; IPv6 and IPv4
 *
 * Paths: / /health /env /sleep?ms=N /exit?code=N /bytes?n=N */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "pages.h"
#include "request.h"

#define CONNECTIONS_MAX 1024
/* Waiting for a request to begin, to be whole, and for the client to take the answer. */
#define IDLE_MS 60000
#define REQUEST_MS 15000
#define WRITE_MS 30000
/* Draining: clients that are between two requests may send one more within the first, all must be done within the
 * second. */
#define LINGER_MS 300
#define DRAIN_MS 8000
#define ACCEPT_PAUSE_MS 100
#define FILLER_BYTES 16384

struct connection {
    int fd;
    char client[INET6_ADDRSTRLEN + 16];
    char input[REQUEST_BYTES_MAX];
    size_t input_length;
    char head[256];
    size_t head_length;
    struct page page;
    size_t sent;      /* Of head, body and filler together. */
    bool answering;   /* `page` is to be sent. */
    bool keep_alive;  /* After the answer. */
    bool closing;     /* Said all: what the client still sends is thrown away until it hangs up, lest a reset eat the
                         answer. */
    int64_t begin_ms; /* When the answer may begin. */
    int64_t end_ms;   /* When the connection is given up. */
};

static struct connection *connections[CONNECTIONS_MAX];
static size_t connection_count;
static bool draining;
/* Out of descriptors: no connection is taken before this time. */
static int64_t accept_again_ms;
static int exit_status = -1;

static int64_t now_ms(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

static void set_client(struct connection *connection, const struct sockaddr_in6 *address) {
    char text[INET6_ADDRSTRLEN] = "?";
    unsigned int port = ntohs(address->sin6_port);
    if (address->sin6_family == AF_INET) {
        inet_ntop(AF_INET, &((const struct sockaddr_in *)(const void *)address)->sin_addr, text, sizeof text);
    } else if (IN6_IS_ADDR_V4MAPPED(&address->sin6_addr)) {
        inet_ntop(AF_INET, &address->sin6_addr.s6_addr[12], text, sizeof text);
    } else {
        inet_ntop(AF_INET6, &address->sin6_addr, text, sizeof text);
        snprintf(connection->client, sizeof connection->client, "[%s]:%u", text, port);
        return;
    }
    snprintf(connection->client, sizeof connection->client, "%s:%u", text, port);
}

static void accept_all(int listener) {
    while (connection_count < CONNECTIONS_MAX) {
        struct sockaddr_in6 address;
        socklen_t length = sizeof address;
        int fd = accept4(listener, (struct sockaddr *)&address, &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
                accept_again_ms = now_ms() + ACCEPT_PAUSE_MS;
            return;
        }
        struct connection *connection = calloc(1, sizeof *connection);
        if (connection == NULL) {
            close(fd);
            return;
        }
        int on = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        connection->fd = fd;
        connection->end_ms = now_ms() + REQUEST_MS;
        set_client(connection, &address);
        connections[connection_count++] = connection;
    }
}

static void drop(size_t index) {
    struct connection *connection = connections[index];
    close(connection->fd);
    free(connection->page.body);
    free(connection);
    connections[index] = connections[--connection_count];
}

static void begin_answer(struct connection *connection, bool head_only) {
    struct page *page = &connection->page;
    if (draining || page->exit_status >= 0)
        connection->keep_alive = false;
    int length = snprintf(
        connection->head, sizeof connection->head,
        "HTTP/1.1 %d %s\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %zu\r\n%s%s\r\n", page->status,
        status_text(page->status), page->body_length + page->filler, page->status == 405 ? "Allow: GET, HEAD\r\n" : "",
        connection->keep_alive ? "" : "Connection: close\r\n");
    connection->head_length = (size_t)length;
    if (head_only)
        page->body_length = page->filler = 0;
    connection->sent = 0;
    connection->answering = true;
    connection->begin_ms = now_ms() + page->delay_ms;
    connection->end_ms = connection->begin_ms + WRITE_MS;
}

/* Takes the next request out of what was read, if it is whole. */
static void next_request(struct connection *connection) {
    struct request request = {0};
    size_t used = connection->input_length;
    struct page *page = &connection->page;
    enum request_result result = request_read(&request, connection->input, connection->input_length, &used);
    if (result == REQUEST_PARTIAL)
        return;
    connection->keep_alive = result == REQUEST_WHOLE && request.keep_alive;
    if (result == REQUEST_WHOLE) {
        page_for(page, &request, connection->client, draining);
        if (strcmp(request.path, "/health") != 0) {
            printf("%s %s %d %s\n", request.head_only ? "HEAD" : "GET", request.path, page->status, connection->client);
            fflush(stdout);
        }
    } else {
        page_status(page, result == REQUEST_METHOD ? 405 : result == REQUEST_TOO_BIG ? 431 : 400);
    }
    connection->input_length -= used;
    begin_answer(connection, request.head_only);
    memmove(connection->input, connection->input + used, connection->input_length);
}

/* Sends what the socket takes. False when the connection is of no more use. */
static bool send_some(struct connection *connection) {
    static char filler[FILLER_BYTES];
    struct page *page = &connection->page;
    if (filler[0] == '\0')
        memset(filler, 'x', sizeof filler);
    for (;;) {
        size_t body_end = connection->head_length + page->body_length, end = body_end + page->filler;
        const char *from = filler;
        size_t count = end - connection->sent;
        if (connection->sent < connection->head_length) {
            from = connection->head + connection->sent;
            count = connection->head_length - connection->sent;
        } else if (connection->sent < body_end) {
            from = page->body + (connection->sent - connection->head_length);
            count = body_end - connection->sent;
        } else if (count > sizeof filler) {
            count = sizeof filler;
        }
        if (count == 0)
            break;
        ssize_t wrote = send(connection->fd, from, count, MSG_NOSIGNAL);
        if (wrote < 0)
            return errno == EAGAIN || errno == EINTR;
        connection->sent += (size_t)wrote;
        connection->end_ms = now_ms() + WRITE_MS;
    }
    if (page->exit_status >= 0)
        exit_status = page->exit_status;
    free(page->body);
    *page = (struct page){0};
    connection->answering = false;
    connection->closing = !connection->keep_alive;
    connection->end_ms = now_ms() + (draining || connection->closing ? LINGER_MS : IDLE_MS);
    if (connection->closing)
        shutdown(connection->fd, SHUT_WR);
    return true;
}

/* Reads what came. False when the client is gone. */
static bool receive_some(struct connection *connection) {
    if (connection->closing)
        connection->input_length = 0;
    size_t room = sizeof connection->input - connection->input_length;
    ssize_t got = recv(connection->fd, connection->input + connection->input_length, room, 0);
    if (got < 0)
        return errno == EAGAIN || errno == EINTR;
    if (got == 0)
        return false;
    if (connection->input_length == 0 && !draining && !connection->closing)
        connection->end_ms = now_ms() + REQUEST_MS;
    connection->input_length += (size_t)got;
    return true;
}

/* One turn for a connection that is ready or due. False: drop it. */
static bool serve(struct connection *connection, short events, int64_t now) {
    if (now >= connection->end_ms || (events & POLLERR) != 0)
        return false;
    if (!connection->answering && (events & (POLLIN | POLLHUP)) != 0 && !receive_some(connection))
        return false;
    /* As long as whole requests are there and their answers go out at once. */
    while (!connection->closing) {
        if (!connection->answering)
            next_request(connection);
        if (!connection->answering || now_ms() < connection->begin_ms)
            return true;
        if (!send_some(connection))
            return false;
        if (connection->answering)
            return true;
    }
    return true;
}

static int listen_on(unsigned int port) {
    int on = 1, off = 0;
    struct sockaddr_in6 any6 = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
    struct sockaddr_in any4 = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0) {
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
        if (bind(fd, (struct sockaddr *)&any6, sizeof any6) == 0 && listen(fd, SOMAXCONN) == 0)
            return fd;
        int cause = errno;
        close(fd);
        errno = cause;
        /* Only a machine without IPv6 is worth another try. */
        if (cause != EADDRNOTAVAIL && cause != EAFNOSUPPORT)
            return -1;
    }
    fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&any4, sizeof any4) < 0 || listen(fd, SOMAXCONN) < 0) {
        int cause = errno;
        close(fd);
        errno = cause;
        return -1;
    }
    return fd;
}

/* Those that wait for a request have a short while left, those that wait for the rest of one or for an answer a longer
 * one. */
static void start_draining(int *listener, int64_t now) {
    /* Whoever got through before is served too; what the queue still holds at the close would be reset. */
    accept_all(*listener);
    printf("draining %zu connections\n", connection_count);
    fflush(stdout);
    draining = true;
    close(*listener);
    *listener = -1;
    for (size_t i = 0; i < connection_count; i++)
        if (!connections[i]->answering && connections[i]->input_length == 0)
            connections[i]->end_ms = now + LINGER_MS;
}

/* When a connection wants to be looked at again without an event. */
static int64_t due_ms(const struct connection *connection, int64_t now) {
    bool waits = connection->answering && connection->begin_ms > now;
    return waits ? connection->begin_ms : connection->end_ms;
}

static short wanted_events(const struct connection *connection, int64_t now) {
    if (!connection->answering)
        return POLLIN;
    return connection->begin_ms > now ? 0 : POLLOUT;
}

static int run(int listener, int signals) {
    static struct pollfd polled[CONNECTIONS_MAX + 2];
    int64_t drained_ms = INT64_MAX;
    while (exit_status < 0 && !(draining && connection_count == 0) && now_ms() < drained_ms) {
        int64_t now = now_ms(), next = drained_ms;
        polled[0] = (struct pollfd){.fd = signals, .events = POLLIN};
        bool paused = now < accept_again_ms;
        polled[1] =
            (struct pollfd){.fd = paused || connection_count == CONNECTIONS_MAX ? -1 : listener, .events = POLLIN};
        if (paused && accept_again_ms < next)
            next = accept_again_ms;
        size_t count = connection_count;
        for (size_t i = 0; i < count; i++) {
            polled[i + 2] = (struct pollfd){.fd = connections[i]->fd, .events = wanted_events(connections[i], now)};
            int64_t due = due_ms(connections[i], now);
            next = due < next ? due : next;
        }
        int timeout = next == INT64_MAX ? -1 : next <= now ? 0 : (int)(next - now < 60000 ? next - now : 60000);
        if (poll(polled, count + 2, timeout) < 0 && errno != EINTR)
            return 1;
        now = now_ms();
        /* From the last to the first: dropping one moves the last into its place, which was served already. */
        for (size_t i = count; i-- > 0;) {
            bool ready = polled[i + 2].revents != 0 || now >= due_ms(connections[i], now) || connections[i]->answering;
            if (ready && !serve(connections[i], polled[i + 2].revents, now))
                drop(i);
        }
        struct signalfd_siginfo info;
        if (read(signals, &info, sizeof info) == sizeof info && !draining) {
            drained_ms = now + DRAIN_MS;
            start_draining(&listener, now);
        }
        if (listener >= 0 && now >= accept_again_ms)
            accept_all(listener);
    }
    return exit_status < 0 ? 0 : exit_status;
}

int main(int argc, char **argv) {
    const char *text = argc > 1 ? argv[1] : getenv("PORT");
    char *end = NULL;
    unsigned long port = text == NULL ? 80 : strtoul(text, &end, 10);
    if (port == 0 || port > 65535 || (end != NULL && *end != '\0')) {
        fprintf(stderr, "httpd: \"%s\" is no port; give a number from 1 to 65535\n", text == NULL ? "" : text);
        return 2;
    }
    sigset_t mask;
    sigemptyset(&mask);
    sigaddset(&mask, SIGTERM);
    sigaddset(&mask, SIGINT);
    sigprocmask(SIG_BLOCK, &mask, NULL);
    int signals = signalfd(-1, &mask, SFD_NONBLOCK | SFD_CLOEXEC);
    int listener = listen_on((unsigned int)port);
    if (signals < 0 || listener < 0) {
        fprintf(stderr, "httpd: cannot listen on port %lu: %s\n", port, strerror(errno));
        return 1;
    }
    printf("listening on port %lu\n", port);
    fflush(stdout);
    return run(listener, signals);
}
