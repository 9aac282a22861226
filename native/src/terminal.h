/* Pseudo-terminals, made inside the container from its own devpts. */
#ifndef TSSWARM_TERMINAL_H
#define TSSWARM_TERMINAL_H

#include "error.h"

/* Opens a pair from the devpts at /dev/pts below `root` (an O_PATH descriptor, or -1 for this process's root). */
int terminal_open(int root, int *master, int *slave, struct error *err);
/* Makes `slave` the controlling terminal and standard input, output and error of a new session. */
int terminal_take(int slave, struct error *err);
void terminal_resize(int master, unsigned short rows, unsigned short columns);

#endif
