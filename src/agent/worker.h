#ifndef WORKER_H
#define WORKER_H

/* Runs requests of the agent, in order, until it closes its end. */
int worker_main(void);

#endif
