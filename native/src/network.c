#define _GNU_SOURCE
#include "network.h"

#include <errno.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "util.h"

int network_loopback_up(struct error *err) {
    cleanup_close int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP};
    if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &request) < 0)
        return error_make(err, errno, "bringing up the loopback interface");
    return 0;
}
