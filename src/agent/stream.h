/* Streams of bytes under credit: descriptors on this side, data frames on the other. */
#ifndef STREAM_H
#define STREAM_H

#include "conn.h"

struct stream {
	struct source src;
	/* NULL once nobody listens: what still comes is drained and dropped. */
	struct conn *conn;
	struct stream *next, *prev;
	struct stream *ready_next;
	uint64_t id;
	uint16_t principal;
	/* From the host into the descriptor; else the other way. */
	bool is_input;
	bool is_pty;
	/* One direction of a connection, which the other shares. */
	bool is_socket;
	bool is_ready;
	bool in_queue;

	/* Output: bytes that may still be sent. */
	uint64_t credit;
	bool discard;
	/* Why the descriptor gave its last byte; 0 at its regular end. */
	int err;
	/* The descriptor is a file in memory: read at `file_at`, up to `file_end`, and never waited for. */
	bool is_file;
	int64_t file_at;
	int64_t file_end;
	void (*ended)(struct stream *s);
	void (*refused)(struct stream *s);
	void *subject;

	/* Input: what the descriptor has not taken yet; bytes the host may send; bytes to be granted. */
	struct buf pending;
	size_t pending_at;
	uint64_t window;
	uint64_t owed;
	bool host_ended;
	bool broken;
};

/* Takes fd over. `id` must be new on this connection. */
struct stream *stream_open_output(struct conn *c, uint64_t id, uint16_t principal, int fd);
struct stream *stream_open_input(struct conn *c, uint64_t id, uint16_t principal, int fd);
/* From now on the output comes from a file in memory, which it takes over. */
void stream_from_file(struct stream *s, int fd, int64_t from, int64_t end);
/* Lets the host send more at once than a stream begins with. */
void stream_widen(struct stream *s, uint64_t bytes);
struct stream *stream_find(struct conn *c, uint64_t id);
/* Closes the descriptor and forgets the stream, without a word. */
void stream_drop(struct stream *s);
/* The same after a close frame. */
void stream_abandon(struct stream *s, int err);
/* Nobody listens any more; the descriptor is drained until it ends. */
void stream_detach(struct stream *s);
/* Sends one data frame of a ready stream, or its end. */
void stream_send_some(struct stream *s);
int stream_take_data(struct stream *s, const uint8_t *data, size_t len);
int stream_take_credit(struct stream *s, const uint8_t *payload, size_t len);
/* What an output still gives is dropped; its end will be told. */
void stream_discard(struct stream *s);
void stream_take_close(struct stream *s);
void streams_conn_lost(struct conn *c);
/* Goes on with a stream of a conversation that was ended to save the machine. Returns whether it is there. */
bool stream_attach(struct conn *c, uint64_t id, const void *subject);
/* Drains what nobody listens to. Returns whether there is more. */
bool streams_drain(void);
/* Detaches or drops all streams of a process that is forgotten. */
void streams_forget_subject(void *subject);
/* Drops them all, after a close frame for each. */
void streams_abandon_subject(void *subject);
unsigned streams_count(void);

#endif
