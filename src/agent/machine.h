/* The machine as a whole: its end, its clock, its identity. */
#ifndef MACHINE_H
#define MACHINE_H

#include "call.h"

int start_quiesce(struct call *c);
int start_shutdown(struct call *c);

#endif
