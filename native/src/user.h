/* Who the process is to be, as Docker reads "user[:group]" with the container's own /etc/passwd and /etc/group. */
#ifndef TSSWARM_USER_H
#define TSSWARM_USER_H

#include <stddef.h>
#include <sys/types.h>

#include "error.h"

#define USER_GROUPS_MAX 256

struct user {
    uid_t uid;
    gid_t gid;
    gid_t groups[USER_GROUPS_MAX];
    size_t groups_count;
    char home[256];
};

/* Resolves `name` ("" is root) inside this process's root. Groups already in `user` are kept. */
int user_find(struct user *user, const char *name, struct error *err);
/* Becomes the user. */
int user_become(const struct user *user, struct error *err);

#endif
