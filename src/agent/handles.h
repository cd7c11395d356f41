/* Open files of this process, by the ids that the harness draws. */
#ifndef HANDLES_H
#define HANDLES_H

#include <stdbool.h>
#include <stdint.h>

/* The descriptor of an open file, held until it is let go. -1 if there is none. */
int handle_hold(uint64_t id);
void handle_let_go(uint64_t id);
unsigned handles_count(void);

#endif
