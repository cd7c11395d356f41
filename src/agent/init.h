/* Process 1 of a guest. */
#ifndef INIT_H
#define INIT_H

/* What the agent tells process 1: one letter of init_end(), or this one and a secret after it. */
#define INIT_ORDER_SECRET 's'

int init_main(void);

/* init_system.c: what a bare kernel lacks. Each goes on after a failure, and says so on the console. */
void init_mounts(void);
void init_modules(const char *list);
void init_network(void);
void init_hostname(void);

/* init_disks.c: links of disks by their ids; again whenever one comes or goes. */
void init_disks(void);

/* init_end.c: ends all processes, then the machine: 'p' power off, 'r' reboot, 'h' halt. Does not return. */
void init_end(char how);

#endif
