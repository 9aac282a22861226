#include "buffer.h"

#include <stdlib.h>
#include <string.h>

size_t buffer_length(const struct buffer *buffer) { return buffer->end - buffer->start; }

char *buffer_bytes(const struct buffer *buffer) { return buffer->data + buffer->start; }

char *buffer_room(struct buffer *buffer, size_t length) {
    if (buffer->capacity - buffer->end >= length)
        return buffer->data + buffer->end;
    size_t have = buffer_length(buffer);
    if (buffer->start > 0) {
        memmove(buffer->data, buffer->data + buffer->start, have);
        buffer->start = 0;
        buffer->end = have;
    }
    if (buffer->capacity - have < length) {
        size_t wanted = have + length;
        size_t capacity = wanted < 2 * buffer->capacity ? 2 * buffer->capacity : wanted;
        char *data = realloc(buffer->data, capacity);
        if (data == NULL)
            return NULL;
        buffer->data = data;
        buffer->capacity = capacity;
    }
    return buffer->data + buffer->end;
}

void buffer_added(struct buffer *buffer, size_t length) { buffer->end += length; }

void buffer_take(struct buffer *buffer, size_t length) {
    buffer->start += length;
    if (buffer->start == buffer->end)
        buffer_free(buffer);
}

void buffer_free(struct buffer *buffer) {
    free(buffer->data);
    memset(buffer, 0, sizeof *buffer);
}
