#define _GNU_SOURCE
#include "request.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* True when the comma-separated list has the word, in any case. */
static bool has_word(const char *list, const char *word) {
    size_t length = strlen(word);
    while (*list != '\0') {
        list += strspn(list, ", \t");
        size_t span = strcspn(list, ", \t");
        if (span == length && strncasecmp(list, word, length) == 0)
            return true;
        list += span;
    }
    return false;
}

/* Cuts the next line off at its line break; NULL at the end. */
static char *next_line(char **rest) {
    char *line = strsep(rest, "\n");
    size_t length = line == NULL ? 0 : strlen(line);
    if (length > 0 && line[length - 1] == '\r')
        line[length - 1] = '\0';
    return line;
}

/* Headers that matter: whether the connection stays, and whether a body follows that would be taken for a request. */
static bool read_headers(struct request *request, char *rest) {
    char *line;
    while ((line = next_line(&rest)) != NULL && line[0] != '\0') {
        char *value = strchr(line, ':');
        if (value == NULL || value == line || isspace((unsigned char)value[-1]))
            return false;
        *value++ = '\0';
        value += strspn(value, " \t");
        if (strcasecmp(line, "connection") == 0) {
            if (has_word(value, "close"))
                request->keep_alive = false;
            else if (has_word(value, "keep-alive"))
                request->keep_alive = true;
        } else if (strcasecmp(line, "transfer-encoding") == 0 ||
                   (strcasecmp(line, "content-length") == 0 && strcmp(value, "0") != 0)) {
            request->keep_alive = false;
            /* No header after this one may undo it. */
            return true;
        }
    }
    return true;
}

/* Length of the head with its blank line, or 0. */
static size_t head_length(const char *data, size_t length) {
    for (size_t i = 0; i + 1 < length; i++) {
        if (data[i] != '\n')
            continue;
        if (data[i + 1] == '\n')
            return i + 2;
        if (data[i + 1] == '\r' && i + 2 < length && data[i + 2] == '\n')
            return i + 3;
    }
    return 0;
}

enum request_result request_read(struct request *request, char *data, size_t length, size_t *used) {
    size_t head = head_length(data, length);
    if (head == 0)
        return length >= REQUEST_BYTES_MAX ? REQUEST_TOO_BIG : REQUEST_PARTIAL;
    if (head > REQUEST_BYTES_MAX)
        return REQUEST_TOO_BIG;
    if (memchr(data, '\0', head) != NULL)
        return REQUEST_BAD;
    *used = head;
    data[head - 1] = '\0';
    char *rest = data;
    char *line = next_line(&rest);
    char *method = strsep(&line, " "), *target = strsep(&line, " "), *version = line;
    if (target == NULL || version == NULL || target[0] != '/' || strncmp(version, "HTTP/1.", 7) != 0)
        return REQUEST_BAD;
    request->keep_alive = strcmp(version, "HTTP/1.0") != 0;
    if (!read_headers(request, rest == NULL ? data + head - 1 : rest))
        return REQUEST_BAD;
    request->path = strsep(&target, "?");
    request->query = target == NULL ? "" : target;
    request->head_only = strcmp(method, "HEAD") == 0;
    return request->head_only || strcmp(method, "GET") == 0 ? REQUEST_WHOLE : REQUEST_METHOD;
}

long query_number(const char *query, const char *name, long limit, long otherwise) {
    size_t length = strlen(name);
    while (*query != '\0') {
        if (strncmp(query, name, length) == 0 && query[length] == '=' && isdigit((unsigned char)query[length + 1])) {
            long value = strtol(query + length + 1, NULL, 10);
            return value > limit ? limit : value;
        }
        query += strcspn(query, "&");
        query += *query == '&';
    }
    return otherwise;
}
