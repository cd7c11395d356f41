/* State of the agent proper. */
#ifndef AGENT_H
#define AGENT_H

#include "wire.h"

struct conn;

struct agent {
	uint8_t secret[WIRE_SECRET_SIZE];
	uint8_t epoch[WIRE_NONCE_SIZE];
	bool has_epoch;
	/* Under pid 1 of ours, in a machine of its own. */
	bool under_init;
	/* Takes one letter for what pid 1 shall do; -1 without it. */
	int init_fd;
	/* Ends when its control conversation ends: a process of the host. */
	bool ends_with_control;
	bool was_restarted;
	int restart_code;
	int restart_sig;
	struct conn *control;
	int vsock_port;
	uint64_t requests;
	uint64_t control_ops;
	uint64_t signals_sent;
};

extern struct agent agent;

struct agent_options {
	const char *control;
	const char *secret_file;
	int secret_fd;
	int init_fd;
	int vsock_port;
	bool was_restarted;
	int restart_code;
	int restart_sig;
};

int agent_main(const struct agent_options *options);
/* Ends everything that runs under the agent, and the agent. */
void agent_stop(void);

#endif
