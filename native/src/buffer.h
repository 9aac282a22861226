/* A queue of bytes that gives its memory back when it is empty. */
#ifndef TSSWARM_BUFFER_H
#define TSSWARM_BUFFER_H

#include <stddef.h>

struct buffer {
    char *data;
    size_t start, end, capacity;
};

/* Bytes in it. */
size_t buffer_length(const struct buffer *buffer);
/* The first of them. */
char *buffer_bytes(const struct buffer *buffer);
/* Room for `length` more at the answer; NULL without memory. buffer_added says how much of it was used. */
char *buffer_room(struct buffer *buffer, size_t length);
void buffer_added(struct buffer *buffer, size_t length);
void buffer_take(struct buffer *buffer, size_t length);
void buffer_free(struct buffer *buffer);

#endif
