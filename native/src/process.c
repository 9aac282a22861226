#define _GNU_SOURCE
#include "process.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "seccomp.h"
#include "util.h"

void process_init(struct process *process) {
    memset(process, 0, sizeof *process);
    process->cwd = "/";
    process->user = "";
    process->oom_score = "0";
    process->umask = 022;
}

static int append(const char ***list, size_t *count, const char *text, struct error *err) {
    const char **grown = realloc(*list, (*count + 2) * sizeof **list);
    if (grown == NULL)
        return error_make(err, ENOMEM, "reading the plan");
    grown[(*count)++] = text;
    grown[*count] = NULL;
    *list = grown;
    return 0;
}

/* A later value for a key replaces the earlier one in its place. */
static int set_env(struct process *process, const char *pair, struct error *err) {
    size_t key = strcspn(pair, "=");
    for (size_t i = 0; i < process->env_count; i++) {
        if (strncmp(process->env[i], pair, key) == 0 && process->env[i][key] == '=') {
            process->env[i] = pair;
            return 0;
        }
    }
    return append(&process->env, &process->env_count, pair, err);
}

static int add_rlimit(struct process *process, const struct record *record, struct error *err) {
    if (process->rlimits_count == PROCESS_RLIMITS_MAX)
        return error_make(err, 0, "more than %d resource limits", PROCESS_RLIMITS_MAX);
    process->rlimits[process->rlimits_count].resource = (int)record_number(record, 0);
    process->rlimits[process->rlimits_count].limit.rlim_cur = record_number(record, 1);
    process->rlimits[process->rlimits_count].limit.rlim_max = record_number(record, 2);
    process->rlimits_count++;
    return 0;
}

static void set_user(struct process *process, const struct record *record) {
    const char *group;
    process->user = record_text(record, 0);
    process->account.groups_count = 0;
    for (unsigned int i = 1; (group = record_field(record, i)) != NULL; i++)
        if (process->account.groups_count < USER_GROUPS_MAX)
            process->account.groups[process->account.groups_count++] = (gid_t)strtoul(group, NULL, 10);
}

static int read_record(struct process *process, const struct record *record, struct error *err) {
    switch (record->op) {
    case PLAN_RLIMIT:
        return add_rlimit(process, record, err);
    case PLAN_OOM_SCORE:
        process->oom_score = record_text(record, 0);
        return 0;
    case PLAN_UMASK:
        process->umask = (mode_t)record_number(record, 0);
        return 0;
    case PLAN_CAPABILITIES:
        process->capabilities = (struct capabilities){
            .bounding = record_number(record, 0),
            .effective = record_number(record, 1),
            .permitted = record_number(record, 2),
            .inheritable = record_number(record, 3),
            .ambient = record_number(record, 4),
        };
        process->capabilities_set = true;
        return 0;
    case PLAN_USER:
        set_user(process, record);
        return 0;
    case PLAN_NO_NEW_PRIVILEGES:
        process->no_new_privileges = true;
        return 0;
    case PLAN_SECCOMP:
        process->filter = record->payload;
        process->filter_length = record->length;
        return 0;
    case PLAN_CWD:
        process->cwd = record_text(record, 0);
        return 0;
    case PLAN_ENV:
        return set_env(process, record_text(record, 0), err);
    case PLAN_ARG:
        return append(&process->args, &process->args_count, record_text(record, 0), err);
    default:
        return 0;
    }
}

int process_read(struct process *process, const struct plan *plan, struct error *err) {
    struct record record;
    if (plan_find(plan, PLAN_ARG, &record))
        process->args_count = 0;
    for (size_t at = 0; plan_next(plan, &at, &record);)
        if (read_record(process, &record, err) < 0)
            return -1;
    return 0;
}

static int set_limits(const struct process *process, struct error *err) {
    for (size_t i = 0; i < process->rlimits_count; i++)
        if (setrlimit(process->rlimits[i].resource, &process->rlimits[i].limit) < 0)
            return error_make(err, errno, "resource limit %d", process->rlimits[i].resource);
    umask(process->umask);
    return write_file("/proc/self/oom_score_adj", process->oom_score, err);
}

static int enter_cwd(const struct process *process, struct error *err) {
    char path[4096];
    if (chdir(process->cwd) < 0)
        return error_make(err, errno, "working directory %s", process->cwd);
    /* A link through /proc could have led out of the root (CVE-2024-21626): then the path has no name from "/". */
    if (getcwd(path, sizeof path) == NULL || path[0] != '/')
        return error_make(err, 0, "working directory %s is outside of the container's root", process->cwd);
    return 0;
}

static int set_home(struct process *process, struct error *err) {
    for (size_t i = 0; i < process->env_count; i++)
        if (strncmp(process->env[i], "HOME=", 5) == 0)
            return 0;
    size_t size = strlen(process->account.home) + 6;
    char *pair = malloc(size);
    if (pair == NULL)
        return error_make(err, ENOMEM, "setting HOME");
    snprintf(pair, size, "HOME=%s", process->account.home);
    return append(&process->env, &process->env_count, pair, err);
}

int process_become(struct process *process, struct error *err) {
    if (set_limits(process, err) < 0 || user_find(&process->account, process->user, err) < 0 ||
        set_home(process, err) < 0 || enter_cwd(process, err) < 0)
        return -1;
    if (process->capabilities_set && capabilities_bound(&process->capabilities, err) < 0)
        return -1;
    /* Without no_new_privs a filter needs CAP_SYS_ADMIN, which goes with the user: load it now, else at the very end.
     */
    if (process->filter != NULL && !process->no_new_privileges &&
        seccomp_load(process->filter, process->filter_length, err) < 0)
        return -1;
    if (prctl(PR_SET_KEEPCAPS, 1) < 0)
        return error_make(err, errno, "keeping capabilities");
    if (user_become(&process->account, err) < 0)
        return -1;
    prctl(PR_SET_KEEPCAPS, 0);
    if (process->capabilities_set && capabilities_apply(&process->capabilities, err) < 0)
        return -1;
    if (process->no_new_privileges && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return error_make(err, errno, "no_new_privs");
    /* The change of user cleared it. */
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
        return error_make(err, errno, "tying the process to its shim");
    return 0;
}

int process_seal(const struct process *process, struct error *err) {
    sigset_t none;
    for (int number = 1; number < 65; number++)
        signal(number, SIG_DFL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    if (close_range(3, ~0U, CLOSE_RANGE_CLOEXEC) < 0)
        return error_make(err, errno, "closing descriptors");
    if (process->filter != NULL && process->no_new_privileges)
        return seccomp_load(process->filter, process->filter_length, err);
    return 0;
}
