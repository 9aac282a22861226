/* The container's root: put together from the plan's records in their order, then entered with pivot_root.
 * Runs in the container's own mount namespace: nothing of it is ever seen, or left, on the host. */
#ifndef TSSWARM_ROOT_H
#define TSSWARM_ROOT_H

#include "error.h"
#include "plan.h"

/* Builds it; the answer is an O_PATH descriptor of the root, not yet entered. */
int root_build(const struct plan *plan, struct error *err);
/* Makes `root` the "/" of this process and lets go of the old one. */
int root_enter(const struct plan *plan, int root, struct error *err);

#endif
