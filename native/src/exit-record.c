#define _GNU_SOURCE
#include "exit-record.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "util.h"

/* As the inside of a JSON string; control characters and what is not ASCII become "?", which no sentence of ours holds.
 */
static void quote(char *out, size_t size, const char *text) {
    size_t length = 0;
    for (; *text != '\0' && length + 3 < size; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\')
            out[length++] = '\\';
        out[length++] = c < 0x20 || c > 0x7e ? '?' : (char)c;
    }
    out[length] = '\0';
}

int exit_record_write(const char *path, const struct exit_record *record, struct error *err) {
    char beside[PATH_MAX], failure[1300], json[1600];
    if ((size_t)snprintf(beside, sizeof beside, "%s.tmp", path) >= sizeof beside)
        return error_make(err, ENAMETOOLONG, "exit record %s", path);
    quote(failure, sizeof failure, record->failure);
    int length = snprintf(json, sizeof json,
                          "{\"code\":%d,\"signal\":%d,\"oomKilled\":%s,\"startedAtMs\":%lld,\"exitedAtMs\":%lld,"
                          "\"failure\":\"%s\"}\n",
                          record->code, record->signal, record->oom_killed ? "true" : "false",
                          (long long)record->started_ms, (long long)record->exited_ms, failure);
    cleanup_close int fd = open(beside, O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0640);
    if (fd < 0 || write_all(fd, json, (size_t)length) < 0 || fdatasync(fd) < 0 || rename(beside, path) < 0)
        return error_make(err, errno, "exit record %s", path);
    return 0;
}
