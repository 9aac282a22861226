#define _GNU_SOURCE
#include "pages.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BYTES_MAX (256L << 20)
#define SLEEP_MS_MAX 60000L

#ifndef VERSION
#define VERSION "1"
#endif

extern char **environ;

const char *status_text(int status) {
    switch (status) {
    case 200:
        return "OK";
    case 400:
        return "Bad Request";
    case 404:
        return "Not Found";
    case 405:
        return "Method Not Allowed";
    case 408:
        return "Request Timeout";
    case 431:
        return "Request Header Fields Too Large";
    case 503:
        return "Service Unavailable";
    default:
        return "Internal Server Error";
    }
}

static const char *variable(const char *name, const char *otherwise) {
    const char *value = getenv(name);
    return value == NULL || value[0] == '\0' ? otherwise : value;
}

/* Takes over `body` (which may be NULL when memory ran out). */
static void set_body(struct page *page, char *body) {
    page->body = body;
    page->body_length = body == NULL ? 0 : strlen(body);
    if (body == NULL)
        page->status = 500;
}

static char *format(const char *first, const char *second) {
    char *text;
    return asprintf(&text, "%s%s", first, second) < 0 ? NULL : text;
}

static char *about(const char *client) {
    char hostname[256] = "?", *text;
    gethostname(hostname, sizeof hostname - 1);
    const char *task = variable("TSSWARM_TASK_NAME", hostname), *version = variable("VERSION", VERSION);
    int length = asprintf(&text, "hostname: %s\ntask: %s\nclient: %s\nversion: %s\n", hostname, task, client, version);
    return length < 0 ? NULL : text;
}

static char *environment(void) {
    size_t length = 0;
    char *text = NULL;
    FILE *stream = open_memstream(&text, &length);
    if (stream == NULL)
        return NULL;
    for (char **entry = environ; *entry != NULL; entry++)
        fprintf(stream, "%s\n", *entry);
    return fclose(stream) == 0 ? text : NULL;
}

void page_status(struct page *page, int status) {
    *page = (struct page){.status = status, .exit_status = -1};
    set_body(page, format(status_text(status), "\n"));
}

void page_for(struct page *page, const struct request *request, const char *client, bool draining) {
    const char *path = request->path, *query = request->query;
    *page = (struct page){.status = 200, .exit_status = -1};
    if (strcmp(path, "/") == 0) {
        set_body(page, about(client));
    } else if (strcmp(path, "/health") == 0) {
        page->status = draining ? 503 : 200;
        set_body(page, strdup(draining ? "draining\n" : "ok\n"));
    } else if (strcmp(path, "/env") == 0) {
        set_body(page, environment());
    } else if (strcmp(path, "/sleep") == 0) {
        page->delay_ms = query_number(query, "ms", SLEEP_MS_MAX, 1000);
        set_body(page, strdup("slept\n"));
    } else if (strcmp(path, "/exit") == 0) {
        page->exit_status = (int)query_number(query, "code", 255, 0);
        set_body(page, strdup("bye\n"));
    } else if (strcmp(path, "/bytes") == 0) {
        page->filler = (size_t)query_number(query, "n", BYTES_MAX, 1024);
    } else {
        page_status(page, 404);
    }
}
