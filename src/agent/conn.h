/* Connections: frames in and out of byte pipes, and the conversations on them. */
#ifndef CONN_H
#define CONN_H

#include "loop.h"
#include "wire.h"

struct stream;

struct conn {
	struct source src;
	struct conn *next;
	/* A virtio port: no connections, a hang-up means that nobody is there just now. */
	bool is_port;
	bool is_control;
	/* When an unproven connection is given up. */
	struct timer patience;
	bool is_live;
	bool readable;
	bool writable;
	/* To be freed after this turn. */
	bool is_dead;
	/* Sends what is queued, then ends the conversation. */
	bool is_ending;
	/* The machine is about to be saved: what goes on is taken up by the next conversation. */
	bool is_quiesced;
	struct buf in;
	size_t in_at;
	struct buf out;
	size_t out_at;
	/* Highest id that the host has drawn. */
	uint64_t max_id;
	struct stream *streams;
	struct stream *ready_head, *ready_tail;
};

struct conn *conn_add(int fd, bool is_port, bool is_control);
void conn_send(struct conn *c, uint8_t kind, uint16_t principal, uint64_t id, const void *payload, size_t len);
/* Ends the conversation on this pipe: a port waits for the next, anything else is closed. */
void conn_end(struct conn *c);
/* The conversation that events about nobody's requests go to; NULL if there is none. */
struct conn *conn_operating(void);
/* Moves bytes on all connections. Returns whether there is more to do at once. */
bool conns_turn(void);
/* Connections that have not proven anything yet. */
unsigned conns_unproven(void);
/* Before the machine is saved: all conversations are about to end. */
void conns_quiesce(void);
/* Turns away the one of them that has waited longest. */
void conns_end_oldest_unproven(void);
size_t conn_queued(const struct conn *c);
void send_event(struct conn *c, uint64_t id, uint16_t principal, const struct buf *payload);

/* hello.c: looks for a proven hello in what came in. Returns 0 when more is needed, 1 when the conversation is live. */
int hello_scan(struct conn *c);

/* dispatch.c: a frame of a live conversation. Returns -EBADMSG for a violation. */
int dispatch_frame(struct conn *c, const struct frame_header *h, const uint8_t *payload);
void dispatch_conn_lost(struct conn *c);

#endif
