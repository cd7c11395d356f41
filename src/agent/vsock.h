/* The agent's listener on AF_VSOCK. */
#ifndef VSOCK_H
#define VSOCK_H

/* Listens on the port. Returns 0 or -errno. */
int vsock_listen(int port);
/* This machine's CID, -1 without one. */
int vsock_local_cid(void);

#endif
