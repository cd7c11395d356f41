/* Connections to servers of this machine, each as a pair of streams. */
#ifndef CONNECT_H
#define CONNECT_H

struct call;

int start_connect(struct call *c);
void finish_connect(struct call *c);

#endif
