/* The plan: what to do, compiled by native/plan.ts (the numbers are in native/plan-records.ts too, and a test compares
 * them). An 8-byte head, then records `u32 op | u32 length | payload`, padded to 8; the payload is NUL-terminated
 * fields, numbers in decimal, but for the seccomp filter, which is bytes. No policy is in here, and no JSON. */
#ifndef TSSWARM_PLAN_H
#define TSSWARM_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "error.h"

enum plan_op {
    /* For the shim. */
    PLAN_NAMESPACES = 1,     /* clone flags */
    PLAN_NAMESPACE_PATH = 2, /* clone flag, path */
    PLAN_CGROUP_DIR = 3,     /* v2: directory to clone into */
    PLAN_CGROUP_PROCS = 4,   /* v1: a cgroup.procs file */
    PLAN_OOM_V1 = 5,         /* memory.oom_control, cgroup.event_control */
    PLAN_OOM_V2 = 6,         /* memory.events */
    PLAN_LOG = 7,            /* path, bytes per file, files */
    PLAN_EXIT_FILE = 8,      /* path */
    PLAN_SOCKET = 9,         /* path */
    PLAN_STDIN = 10,         /* (nothing): keep standard input open */
    /* The root, in the order given. */
    PLAN_HOSTNAME = 32,         /* name */
    PLAN_OVERLAY = 33,          /* target, upper, work, lower... (topmost first) */
    PLAN_BIND_ROOT = 34,        /* directory */
    PLAN_MOUNT = 35,            /* type, source, target, mount attributes, option... */
    PLAN_BIND = 36,             /* source, target, mount attributes, recursive 0|1, propagation (MS_ flag) */
    PLAN_DEVICE = 37,           /* path, mode with type, major, minor, uid, gid */
    PLAN_SYMLINK = 38,          /* what it says, path */
    PLAN_DIRECTORY = 39,        /* path */
    PLAN_SYSCTL = 40,           /* path below /proc/sys, value */
    PLAN_MASK = 41,             /* path */
    PLAN_READ_ONLY = 42,        /* path */
    PLAN_ROOT_READ_ONLY = 43,   /* (nothing) */
    PLAN_ROOT_PROPAGATION = 44, /* MS_ flags */
    PLAN_LOOPBACK = 45,         /* (nothing): bring it up */
    /* The process; an exec's plan has only these, and they win over the container's. */
    PLAN_TTY = 64,               /* rows, columns */
    PLAN_RLIMIT = 65,            /* resource, soft, hard */
    PLAN_OOM_SCORE = 66,         /* oom_score_adj */
    PLAN_UMASK = 67,             /* mask */
    PLAN_CAPABILITIES = 68,      /* bounding, effective, permitted, inheritable, ambient */
    PLAN_USER = 69,              /* user[:group], additional gid... */
    PLAN_NO_NEW_PRIVILEGES = 70, /* (nothing) */
    PLAN_SECCOMP = 71,           /* struct sock_filter[] */
    PLAN_CWD = 72,               /* path */
    PLAN_ENV = 73,               /* KEY=VALUE */
    PLAN_ARG = 74,               /* one argument */
};

#define PLAN_BYTES_MAX (4u << 20)

struct plan {
    const char *data;
    size_t length;
};

struct record {
    uint32_t op;
    uint32_t length;
    const char *payload;
};

/* Checks the head and every record, so that the calls below need not. The plan points into `data`. */
int plan_check(struct plan *plan, const void *data, size_t length, struct error *err);

/* Steps through the records: begin with *at = 0; false at the end. */
bool plan_next(const struct plan *plan, size_t *at, struct record *record);
/* The first record of that op. */
bool plan_find(const struct plan *plan, enum plan_op op, struct record *record);

/* The field, or NULL when there are fewer. */
const char *record_field(const struct record *record, unsigned int index);
/* The field, or "" when there are fewer. */
const char *record_text(const struct record *record, unsigned int index);
/* The field as a number; 0 when there are fewer. */
uint64_t record_number(const struct record *record, unsigned int index);

#endif
