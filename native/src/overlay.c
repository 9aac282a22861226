#define _GNU_SOURCE
#include "overlay.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mount.h>
#include <unistd.h>

#include "util.h"

/* The kernel's own bound on lower layers. */
#define LAYERS_MAX 500

/* mount(2) cuts its options at one page without a word, and paths may hold commas and colons. So every folder is opened
 * and named by its descriptor's number, relative to /proc/self/fd: 500 layers take 2,000 bytes, whatever their paths.
 */
static int open_folder(const char *path, struct error *err) {
    int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? error_make(err, errno, "layer folder %s", path) : fd;
}

static int mount_on(const char *target, const char *options, struct error *err) {
    if (chdir("/proc/self/fd") < 0 || mount("overlay", target, "overlay", 0, options) < 0)
        return error_make(err, errno, "mounting the overlay of the image's layers");
    int root = open(target, O_PATH | O_DIRECTORY | O_CLOEXEC);
    return root < 0 ? error_make(err, errno, "root folder %s", target) : root;
}

int overlay_mount(const struct record *record, struct error *err) {
    char options[4096];
    int folders[LAYERS_MAX + 2], result = -1;
    size_t count = 0, length = 0;
    const char *path;
    for (unsigned int i = 1; (path = record_field(record, i)) != NULL; i++) {
        if (count == LAYERS_MAX + 2) {
            error_make(err, 0, "the image has more than %d layers", LAYERS_MAX);
            goto out;
        }
        folders[count] = open_folder(path, err);
        if (folders[count] < 0)
            goto out;
        count++;
    }
    if (count < 3) {
        error_make(err, 0, "the image has no layers");
        goto out;
    }
    /* "volatile": the kernel need not flush a folder to disk that nobody mounts again after a crash of the machine. */
    length =
        (size_t)snprintf(options, sizeof options, "volatile,upperdir=%d,workdir=%d,lowerdir=", folders[0], folders[1]);
    for (size_t i = 2; i < count; i++)
        length += (size_t)snprintf(options + length, sizeof options - length, i == 2 ? "%d" : ":%d", folders[i]);
    result = mount_on(record_text(record, 0), options, err);
out:
    for (size_t i = 0; i < count; i++)
        close(folders[i]);
    return result;
}
