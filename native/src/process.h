/* What a process is to be: arguments, environment, user, rights and limits, read from a plan. An exec reads the
 * container's plan first and its own over it. */
#ifndef TSSWARM_PROCESS_H
#define TSSWARM_PROCESS_H

#include <stdbool.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "capabilities.h"
#include "error.h"
#include "plan.h"
#include "user.h"

#define PROCESS_RLIMITS_MAX 16

struct process {
    const char **args; /* NULL-terminated */
    size_t args_count;
    const char **env; /* NULL-terminated, one entry per key */
    size_t env_count;
    const char *cwd;
    const char *user;
    struct user account;
    struct capabilities capabilities;
    bool capabilities_set;
    bool no_new_privileges;
    const void *filter;
    size_t filter_length;
    struct {
        int resource;
        struct rlimit limit;
    } rlimits[PROCESS_RLIMITS_MAX];
    size_t rlimits_count;
    const char *oom_score;
    mode_t umask;
};

/* Begins with nothing set. */
void process_init(struct process *process);
/* Lays the plan's process records over what is there. Points into the plan; allocates, for a process about to exec. */
int process_read(struct process *process, const struct plan *plan, struct error *err);
/* Becomes it, all but the last step: limits, user, rights. `filter` is loaded here or in process_seal. */
int process_become(struct process *process, struct error *err);
/* The last rights given up: to be followed by exec at once. */
int process_seal(const struct process *process, struct error *err);

#endif
