#define _GNU_SOURCE
#include "user.h"

#include <errno.h>
#include <grp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "util.h"

#define FILE_BYTES_MAX (8u << 20)
#define ID_MAX 2147483647L

/* A whole number from 0 to 2^31-1, or -1. */
static long parse_id(const char *text) {
    char *end;
    if (text[0] < '0' || text[0] > '9')
        return -1;
    errno = 0;
    long value = strtol(text, &end, 10);
    return *end != '\0' || errno != 0 || value > ID_MAX ? -1 : value;
}

static const char *next_field(char **rest) {
    char *field = strsep(rest, ":");
    return field == NULL ? "" : field;
}

/* Looks `wanted` (name or number) up in /etc/passwd; true when found, with the login name in `login`. */
static bool find_passwd(struct user *user, const char *wanted, char *login, size_t size) {
    size_t length;
    cleanup_free char *file = read_file("/etc/passwd", FILE_BYTES_MAX, &length);
    char *rest = file, *line;
    long id = parse_id(wanted);
    while (file != NULL && (line = strsep(&rest, "\n")) != NULL) {
        const char *name = next_field(&line);
        next_field(&line);
        long uid = parse_id(next_field(&line)), gid = parse_id(next_field(&line));
        next_field(&line);
        const char *home = next_field(&line);
        if (uid < 0 || gid < 0 || (strcmp(name, wanted) != 0 && uid != id))
            continue;
        user->uid = (uid_t)uid;
        user->gid = (gid_t)gid;
        snprintf(user->home, sizeof user->home, "%s", home[0] == '\0' ? "/" : home);
        snprintf(login, size, "%s", name);
        return true;
    }
    return false;
}

static bool is_member(char *members, const char *login) {
    char *member;
    while ((member = strsep(&members, ",")) != NULL)
        if (strcmp(member, login) == 0)
            return true;
    return false;
}

/* With `wanted`: its number becomes the group, true when found. Without: the groups that name `login` are added. */
static bool find_group(struct user *user, const char *wanted, const char *login) {
    size_t length;
    cleanup_free char *file = read_file("/etc/group", FILE_BYTES_MAX, &length);
    char *rest = file, *line;
    long id = parse_id(wanted);
    while (file != NULL && (line = strsep(&rest, "\n")) != NULL) {
        const char *name = next_field(&line);
        next_field(&line);
        long gid = parse_id(next_field(&line));
        if (gid < 0)
            continue;
        if (wanted[0] != '\0') {
            if (strcmp(name, wanted) != 0 && gid != id)
                continue;
            user->gid = (gid_t)gid;
            return true;
        }
        if (line != NULL && is_member(line, login) && user->groups_count < USER_GROUPS_MAX)
            user->groups[user->groups_count++] = (gid_t)gid;
    }
    return false;
}

static int bad_id(struct error *err) { return error_make(err, 0, "uids and gids must be in range 0-%ld", ID_MAX); }

int user_find(struct user *user, const char *spec, struct error *err) {
    char name[256], login[256] = "";
    if ((size_t)snprintf(name, sizeof name, "%s", spec) >= sizeof name)
        return error_make(err, 0, "the user's name is longer than %zu bytes", sizeof name);
    char *group = strchr(name, ':');
    if (group != NULL)
        *group++ = '\0';
    else
        group = name + strlen(name);
    user->uid = 0;
    user->gid = 0;
    snprintf(user->home, sizeof user->home, "/");
    if (!find_passwd(user, name[0] == '\0' ? "0" : name, login, sizeof login) && name[0] != '\0') {
        bool digits = strspn(name, "0123456789") == strlen(name);
        if (!digits)
            return error_make(err, 0, "unable to find user %s: no matching entries in passwd file", name);
        if (parse_id(name) < 0)
            return bad_id(err);
        user->uid = (uid_t)parse_id(name);
    }
    if (group[0] == '\0') {
        if (login[0] != '\0')
            find_group(user, "", login);
        return 0;
    }
    if (find_group(user, group, ""))
        return 0;
    if (strspn(group, "0123456789") != strlen(group))
        return error_make(err, 0, "unable to find group %s: no matching entries in group file", group);
    if (parse_id(group) < 0)
        return bad_id(err);
    user->gid = (gid_t)parse_id(group);
    return 0;
}

int user_become(const struct user *user, struct error *err) {
    if (setgroups(user->groups_count, user->groups) < 0)
        return error_make(err, errno, "setting the groups");
    if (setresgid(user->gid, user->gid, user->gid) < 0)
        return error_make(err, errno, "becoming group %u", user->gid);
    if (setresuid(user->uid, user->uid, user->uid) < 0)
        return error_make(err, errno, "becoming user %u", user->uid);
    return 0;
}
