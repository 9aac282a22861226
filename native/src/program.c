#define _GNU_SOURCE
#include "program.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATH_DEFAULT "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

static const char *path_of(const char *const *env) {
    for (; *env != NULL; env++)
        if (strncmp(*env, "PATH=", 5) == 0)
            return *env + 5;
    return PATH_DEFAULT;
}

static void run(const char *file, const char *const *args, const char *const *env) {
    execve(file, (char *const *)args, (char *const *)env);
}

/* Says why `file` could not be run, for the errno that execve left. */
static int explain(const char *file, int status, struct error *err) {
    struct stat st;
    if (stat(file, &st) < 0) {
        error_make(err, errno, "exec: \"%s\": stat %s", file, file);
        return err->status == EACCES ? 126 : 127;
    }
    if (S_ISDIR(st.st_mode))
        error_make(err, 0, "exec: \"%s\": is a directory", file);
    else if (status == ENOENT)
        error_make(err, status, "exec: \"%s\": its interpreter or loader is missing", file);
    else
        error_make(err, status, "exec: \"%s\"", file);
    return 126;
}

int program_exec(const char *const *args, const char *const *env, struct error *err) {
    static const char *const none[] = {NULL};
    if (env == NULL)
        env = none;
    if (args == NULL || args[0] == NULL || args[0][0] == '\0') {
        error_make(err, 0, "no command specified");
        return 127;
    }
    if (strchr(args[0], '/') != NULL) {
        run(args[0], args, env);
        return explain(args[0], errno, err);
    }
    char file[PATH_MAX], found[PATH_MAX] = "";
    int status = 0;
    for (const char *path = path_of(env); *path != '\0';) {
        size_t length = strcspn(path, ":");
        snprintf(file, sizeof file, "%.*s/%s", (int)length, length == 0 ? "." : path, args[0]);
        run(file, args, env);
        if (errno != ENOENT && errno != ENOTDIR && status == 0) {
            status = errno;
            memcpy(found, file, sizeof found);
        }
        path += length;
        if (*path == ':')
            path++;
    }
    if (status != 0)
        return explain(found, status, err);
    error_make(err, 0, "exec: \"%s\": executable file not found in $PATH", args[0]);
    return 127;
}
