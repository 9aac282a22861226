/* Kills for want of memory in the container's cgroup. */
#ifndef TSSWARM_OOM_H
#define TSSWARM_OOM_H

#include <stdint.h>

#include "error.h"
#include "plan.h"

struct oom {
    int fd;           /* to poll, or -1 when nobody watches */
    short events;     /* what to poll for */
    const char *path; /* where the count is, or NULL */
    uint32_t kills;   /* last seen */
};

int oom_open(struct oom *oom, const struct plan *plan, struct error *err);
/* After fd was ready, or any time: true when there were kills since the last look. */
int oom_check(struct oom *oom);

#endif
