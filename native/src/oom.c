#define _GNU_SOURCE
#include "oom.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "util.h"

/* v1: the kernel counts into an eventfd that is announced by a line in cgroup.event_control. */
static int watch_v1(struct oom *oom, const struct record *record, struct error *err) {
    char line[48];
    cleanup_close int control = open(record_text(record, 0), O_RDONLY | O_CLOEXEC);
    oom->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (control < 0 || oom->fd < 0)
        return error_make(err, errno, "watching %s", record_text(record, 0));
    snprintf(line, sizeof line, "%d %d", oom->fd, control);
    oom->events = POLLIN;
    return write_file(record_text(record, 1), line, err);
}

static int watch_v2(struct oom *oom, const struct record *record, struct error *err) {
    oom->fd = open(record_text(record, 0), O_RDONLY | O_CLOEXEC);
    oom->events = POLLPRI;
    return oom->fd < 0 ? error_make(err, errno, "watching %s", record_text(record, 0)) : 0;
}

int oom_open(struct oom *oom, const struct plan *plan, struct error *err) {
    struct record record;
    *oom = (struct oom){.fd = -1};
    int result = 0;
    if (plan_find(plan, PLAN_OOM_V1, &record))
        result = watch_v1(oom, &record, err);
    else if (plan_find(plan, PLAN_OOM_V2, &record))
        result = watch_v2(oom, &record, err);
    else
        return 0;
    oom->path = record_text(&record, 0);
    if (result == 0)
        oom_check(oom);
    return result;
}

int oom_check(struct oom *oom) {
    char text[1024];
    uint64_t events;
    if (oom->path == NULL)
        return 0;
    cleanup_close int fd = -1;
    ssize_t length;
    if (oom->events == POLLPRI) {
        /* Reading the watched file itself is what re-arms the poll. */
        length = pread(oom->fd, text, sizeof text - 1, 0);
    } else {
        if (read(oom->fd, &events, sizeof events) < 0 && errno != EAGAIN)
            return 0;
        fd = open(oom->path, O_RDONLY | O_CLOEXEC);
        length = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    }
    if (length < 0)
        return 0;
    text[length] = '\0';
    const char *found = strstr(text, "oom_kill ");
    uint32_t kills = found == NULL ? 0 : (uint32_t)strtoul(found + 9, NULL, 10);
    if (kills <= oom->kills)
        return 0;
    oom->kills = kills;
    return 1;
}
