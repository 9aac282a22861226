/* exit.json: how the container ended, and the durable truth about it. */
#ifndef TSSWARM_EXIT_RECORD_H
#define TSSWARM_EXIT_RECORD_H

#include <stdbool.h>
#include <stdint.h>

#include "error.h"

struct exit_record {
    int code, signal;
    bool oom_killed;
    int64_t started_ms, exited_ms;
    const char *failure; /* what kept it from running, or "" */
};

/* Whole or not at all: written beside, flushed to disk, renamed. */
int exit_record_write(const char *path, const struct exit_record *record, struct error *err);

#endif
