/* Device nodes and the links beside them. */
#ifndef TSSWARM_DEVICES_H
#define TSSWARM_DEVICES_H

#include "error.h"
#include "plan.h"

/* PLAN_DEVICE; one that exists is replaced. */
int device_make(int root, const struct record *record, struct error *err);
/* PLAN_SYMLINK; one that exists is left. */
int device_symlink(int root, const struct record *record, struct error *err);

#endif
