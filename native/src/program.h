/* Finds the program as a shell would and becomes it. */
#ifndef TSSWARM_PROGRAM_H
#define TSSWARM_PROGRAM_H

#include "error.h"

/* Returns only when it failed: 127 for what is not there, 126 for what cannot be run; `err` holds Docker's sentence. */
int program_exec(const char *const *args, const char *const *env, struct error *err);

#endif
