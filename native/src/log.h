/* The container's log file: lines `<unix us> <o|e> <F|P> <data>`; F ends with a newline that the program wrote, P does
 * not (more of the line follows, or the program ended). A line `# N` says that the next one is line number N of the
 * container: each file begins with one, so that a reader can tell what rotation, or a full disk, took away. */
#ifndef TSSWARM_LOG_H
#define TSSWARM_LOG_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "error.h"

#define LOG_LINE_MAX (16u << 10)
#define LOG_BATCH_MAX (48u << 10)

struct log_line {
    char *data; /* LOG_LINE_MAX bytes while something is in it */
    size_t length;
    int64_t at_us;
};

struct log {
    int fd;
    const char *path;
    uint64_t size, bytes_max;
    unsigned int files_max;
    uint64_t next_line;
    bool renumber;
    struct log_line lines[2]; /* standard output, standard error */
    char *batch;              /* LOG_BATCH_MAX bytes while something is in it */
    size_t batch_length;
};

/* Opens `path` (which must outlive the log); bytes_max 0 never rotates. */
int log_open(struct log *log, const char *path, uint64_t bytes_max, unsigned int files_max, struct error *err);
/* Takes what the program wrote to stream 1 or 2. Never fails: lines that the disk does not take are counted as lost. */
void log_write(struct log *log, int stream, const char *data, size_t length);
/* Writes out begun lines. */
void log_finish(struct log *log);

#endif
