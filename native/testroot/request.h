/* One HTTP/1.x request head, read from bytes. Bodies are not read: nothing here takes one. */
#ifndef TESTROOT_REQUEST_H
#define TESTROOT_REQUEST_H

#include <stdbool.h>
#include <stddef.h>

/* Longest head, the closing blank line included. */
#define REQUEST_BYTES_MAX 8192

struct request {
    bool head_only;  /* HEAD */
    bool keep_alive; /* The client wants another request on this connection, and its bytes can be told apart. */
    const char *path;
    const char *query; /* "" without one. */
};

enum request_result {
    REQUEST_PARTIAL, /* More bytes are needed. */
    REQUEST_WHOLE,
    REQUEST_BAD,     /* Not HTTP. */
    REQUEST_TOO_BIG, /* The head is longer than REQUEST_BYTES_MAX. */
    REQUEST_METHOD,  /* Neither GET nor HEAD. */
};

/* Reads the first head in `data` (of `length` bytes, which are changed). `used` is set to its length when it is whole
 * or of another method. */
enum request_result request_read(struct request *request, char *data, size_t length, size_t *used);

/* The number of `name` in a query "a=1&b=2", at least 0 and at most `limit`; `otherwise` when it is absent or no
 * number. */
long query_number(const char *query, const char *name, long limit, long otherwise);

#endif
