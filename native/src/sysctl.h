/* Kernel settings of the container's namespaces. */
#ifndef TSSWARM_SYSCTL_H
#define TSSWARM_SYSCTL_H

#include "error.h"
#include "plan.h"

/* PLAN_SYSCTL: writes through the container's own /proc, which must be a real one. */
int sysctl_set(int root, const struct record *record, struct error *err);

#endif
