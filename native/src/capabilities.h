/* Capabilities, as 64-bit sets. */
#ifndef TSSWARM_CAPABILITIES_H
#define TSSWARM_CAPABILITIES_H

#include <stdint.h>

#include "error.h"

struct capabilities {
    uint64_t bounding, effective, permitted, inheritable, ambient;
};

/* While still root: gives up for good what is not in the bounding set. */
int capabilities_bound(const struct capabilities *sets, struct error *err);
/* After the change of user (with PR_SET_KEEPCAPS): the other sets. */
int capabilities_apply(const struct capabilities *sets, struct error *err);

#endif
