/* The overlay of an image's layers and the container's own writable folder. */
#ifndef TSSWARM_OVERLAY_H
#define TSSWARM_OVERLAY_H

#include "error.h"
#include "plan.h"

/* Mounts PLAN_OVERLAY in this mount namespace; an O_PATH descriptor of its root. */
int overlay_mount(const struct record *record, struct error *err);

#endif
