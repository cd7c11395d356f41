/* The agent's listener on AF_VSOCK. */
#ifndef VSOCK_H
#define VSOCK_H

/* Listens on the port. Returns 0 or -errno. */
int vsock_listen(int port);
/* Tells the control conversation, which has just begun, where the listener is, and again when that changes. */
void vsock_announce(void);

#endif
