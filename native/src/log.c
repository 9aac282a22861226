#define _GNU_SOURCE
#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util.h"

#define STAMP_MAX 64

static int open_file(struct log *log, int flags) {
    log->fd = open(log->path, O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC | O_NOFOLLOW | flags, 0640);
    log->renumber = true;
    return log->fd;
}

int log_open(struct log *log, const char *path, uint64_t bytes_max, unsigned int files_max, struct error *err) {
    struct stat st;
    memset(log, 0, sizeof *log);
    log->path = path;
    log->bytes_max = bytes_max;
    log->files_max = files_max == 0 ? 1 : files_max;
    log->next_line = 1;
    if (open_file(log, 0) < 0 || fstat(log->fd, &st) < 0)
        return error_make(err, errno, "log file %s", path);
    log->size = (uint64_t)st.st_size;
    return 0;
}

/* Writes the batch; what does not go is cut off again, so that no line is torn, and the next line tells its number. */
static void flush_batch(struct log *log) {
    if (log->batch_length == 0 || log->fd < 0)
        return;
    if (write_all(log->fd, log->batch, log->batch_length) == 0) {
        log->size += log->batch_length;
    } else {
        if (ftruncate(log->fd, (off_t)log->size) < 0)
            log->size = 0;
        log->renumber = true;
    }
    log->batch_length = 0;
}

static void rotate(struct log *log) {
    char from[PATH_MAX], to[PATH_MAX];
    flush_batch(log);
    for (unsigned int i = log->files_max - 1; i > 0; i--) {
        if (i == 1)
            snprintf(from, sizeof from, "%s", log->path);
        else
            snprintf(from, sizeof from, "%s.%u", log->path, i - 1);
        snprintf(to, sizeof to, "%s.%u", log->path, i);
        rename(from, to);
    }
    /* With one file only, readers keep the old one open and see that it was replaced. */
    unlink(log->path);
    int old = log->fd;
    if (open_file(log, 0) < 0) {
        log->fd = old;
        if (ftruncate(old, 0) == 0)
            log->size = 0;
        return;
    }
    close(old);
    log->size = 0;
}

static void put(struct log *log, const char *data, size_t length) {
    memcpy(log->batch + log->batch_length, data, length);
    log->batch_length += length;
}

static void emit(struct log *log, int stream, char ending, const char *data, size_t length, int64_t at_us) {
    char stamp[STAMP_MAX];
    if (log->batch == NULL && (log->batch = malloc(LOG_BATCH_MAX)) == NULL) {
        log->next_line++;
        log->renumber = true;
        return;
    }
    if (log->batch_length + length + 2 * STAMP_MAX > LOG_BATCH_MAX)
        flush_batch(log);
    if (log->bytes_max != 0 && log->size + log->batch_length >= log->bytes_max)
        rotate(log);
    if (log->renumber) {
        put(log, stamp, (size_t)snprintf(stamp, sizeof stamp, "# %llu\n", (unsigned long long)log->next_line));
        log->renumber = false;
    }
    int head = snprintf(stamp, sizeof stamp, "%lld %c %c ", (long long)at_us, stream == 1 ? 'o' : 'e', ending);
    put(log, stamp, (size_t)head);
    put(log, data, length);
    put(log, "\n", 1);
    log->next_line++;
}

/* Emits the line that was begun. */
static void emit_begun(struct log *log, int stream, char ending) {
    struct log_line *line = &log->lines[stream - 1];
    emit(log, stream, ending, line->data, line->length, line->at_us);
    line->length = 0;
}

/* Adds to the line that was begun. Returns how many bytes found room. */
static size_t begin(struct log_line *line, const char *data, size_t length, int64_t at_us) {
    if (line->data == NULL && (line->data = malloc(LOG_LINE_MAX)) == NULL)
        return length;
    if (line->length == 0)
        line->at_us = at_us;
    if (length > LOG_LINE_MAX - line->length)
        length = LOG_LINE_MAX - line->length;
    memcpy(line->data + line->length, data, length);
    line->length += length;
    return length;
}

void log_write(struct log *log, int stream, const char *data, size_t length) {
    if (log->fd < 0)
        return;
    struct log_line *line = &log->lines[stream - 1];
    int64_t at_us = now_us();
    while (length > 0) {
        const char *newline = memchr(data, '\n', length);
        size_t part = newline == NULL ? length : (size_t)(newline - data);
        if (line->length == 0 && newline != NULL && part <= LOG_LINE_MAX) {
            emit(log, stream, 'F', data, part, at_us);
        } else {
            size_t taken = part == 0 ? 0 : begin(line, data, part, at_us);
            if (taken < part || (newline == NULL && line->length == LOG_LINE_MAX)) {
                emit_begun(log, stream, 'P');
                data += taken;
                length -= taken;
                continue;
            }
            if (newline != NULL)
                emit_begun(log, stream, 'F');
        }
        size_t used = part + (newline != NULL);
        data += used;
        length -= used;
    }
    flush_batch(log);
    if (line->length == 0) {
        free(line->data);
        line->data = NULL;
    }
    free(log->batch);
    log->batch = NULL;
}

void log_finish(struct log *log) {
    for (int stream = 1; stream <= 2; stream++)
        if (log->lines[stream - 1].length > 0)
            emit_begun(log, stream, 'P');
    flush_batch(log);
}
