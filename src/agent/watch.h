/* What the guest tells by itself: changes of files, messages of the kernel, the power button. */
#ifndef WATCH_H
#define WATCH_H

#include "call.h"

int start_watch(struct call *c);
void finish_watch(struct call *c);
int start_unwatch(struct call *c);
int start_kmsg(struct call *c);
void watches_conn_lost(struct conn *c);
void kmsg_conn_lost(const struct conn *c);
/* Listens to input devices that are power buttons. */
void power_button_init(void);

#endif
