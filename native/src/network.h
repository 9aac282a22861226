/* What a fresh network namespace needs before anybody plumbs it. */
#ifndef TSSWARM_NETWORK_H
#define TSSWARM_NETWORK_H

#include "error.h"

int network_loopback_up(struct error *err);

#endif
