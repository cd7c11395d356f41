/* The machine as a whole: its end, its clock, its identity. */
#ifndef MACHINE_H
#define MACHINE_H

#include "call.h"

int start_quiesce(struct call *c);
int start_shutdown(struct call *c);
int start_clock_get(struct call *c);
int start_clock_set(struct call *c);
int start_set_hostname(struct call *c);
int start_reseed(struct call *c);
int start_clone(struct call *c);
int start_counters(struct call *c);

#endif
