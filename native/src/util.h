/* Small tools every part uses: cleanup that cannot be forgotten, whole writes, and closing all but a few descriptors.
 */
#ifndef TSSWARM_UTIL_H
#define TSSWARM_UTIL_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "error.h"

#define cleanup_close __attribute__((cleanup(cleanup_close_fd)))
#define cleanup_free __attribute__((cleanup(cleanup_free_pointer)))

void cleanup_close_fd(int *fd);
void cleanup_free_pointer(void *pointer);

/* Closes and forgets. */
void close_fd(int *fd);

/* Writes all of it, or returns -1 with errno. */
int write_all(int fd, const void *data, size_t length);

/* Writes `text` to an existing file (of /proc or a cgroup) in one call. */
int write_file(const char *path, const char *text, struct error *err);

/* Reads a whole regular file of at most `limit` bytes; NUL-terminated, for the caller to free. NULL with errno. */
char *read_file(const char *path, size_t limit, size_t *length);

/* Closes every descriptor from 3 up that is not among `keep` (at most 8; negative ones are ignored). */
void close_all_but(const int *keep, size_t count);

/* Milliseconds or microseconds since 1970. */
int64_t now_us(void);
/* Milliseconds on a clock that only goes forward. */
int64_t monotonic_ms(void);

#endif
