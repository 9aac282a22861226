#define _GNU_SOURCE
#include "capabilities.h"

#include <errno.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

int capabilities_bound(const struct capabilities *sets, struct error *err) {
    for (int capability = 0; capability < 64; capability++) {
        if ((sets->bounding >> capability & 1) != 0 || prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) == 0)
            continue;
        /* EINVAL: the kernel knows no capability of that number, nor any above it. */
        if (errno == EINVAL)
            break;
        return error_make(err, errno, "dropping capability %d", capability);
    }
    return 0;
}

int capabilities_apply(const struct capabilities *sets, struct error *err) {
    /* A capability this process does not have itself cannot be given; the others still count. */
    struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct have[2], want[2];
    if (syscall(SYS_capget, &head, have) < 0)
        return error_make(err, errno, "reading the capabilities");
    for (int word = 0; word < 2; word++) {
        want[word].permitted = (uint32_t)(sets->permitted >> (32 * word)) & have[word].permitted;
        want[word].effective = (uint32_t)(sets->effective >> (32 * word)) & want[word].permitted;
        want[word].inheritable = (uint32_t)(sets->inheritable >> (32 * word)) & have[word].permitted;
    }
    if (syscall(SYS_capset, &head, want) < 0)
        return error_make(err, errno, "setting the capabilities");
    for (int capability = 0; capability < 64; capability++)
        if ((sets->ambient >> capability & 1) != 0 && prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0) < 0)
            return error_make(err, errno, "raising ambient capability %d", capability);
    return 0;
}
