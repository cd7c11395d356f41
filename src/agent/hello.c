/* The handshake: nothing is said to a peer that has not proven that it knows the secret. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "agent.h"
#include "cgroup.h"
#include "conn.h"
#include "sha256.h"
#include "vsock.h"

#define MAX_HELLO 4096

static const uint8_t sync_magic[WIRE_MAGIC_SIZE] = WIRE_MAGIC_BYTES;

struct host_hello {
	int64_t proto;
	const uint8_t *epoch;
	const uint8_t *nonce;
	const uint8_t *proof;
};

static int read_hello(const uint8_t *body, size_t len, struct host_hello *out)
{
	struct mp_reader r = { body, body + len };
	struct mp_val map, key, value;
	if (mp_check(body, len) || mp_read(&r, &map) || map.type != MP_MAP)
		return -EBADMSG;
	*out = (struct host_hello){ .proto = -1 };
	for (uint32_t i = 0; i < map.size; i++) {
		struct mp_reader before;
		if (mp_read(&r, &key))
			return -EBADMSG;
		before = r;
		if (mp_read(&r, &value))
			return -EBADMSG;
		bool is_nonce = value.type == MP_BIN && value.size == WIRE_NONCE_SIZE;
		if (mp_is_str(&key, "proto") && value.type == MP_INT)
			out->proto = value.num;
		else if (mp_is_str(&key, "epoch") && is_nonce)
			out->epoch = value.data;
		else if (mp_is_str(&key, "nonce") && is_nonce)
			out->nonce = value.data;
		else if (mp_is_str(&key, "proof") && value.type == MP_BIN && value.size == WIRE_PROOF_SIZE)
			out->proof = value.data;
		r = before;
		if (mp_skip(&r))
			return -EBADMSG;
	}
	return out->epoch && out->nonce && out->proof ? 0 : -EBADMSG;
}

static void make_proof(const char *role, const uint8_t *epoch, const uint8_t *nonce, uint8_t out[WIRE_PROOF_SIZE])
{
	struct hmac h;
	hmac_init(&h, agent.secret, sizeof(agent.secret));
	hmac_add(&h, role, strlen(role));
	hmac_add(&h, epoch, WIRE_NONCE_SIZE);
	hmac_add(&h, nonce, WIRE_NONCE_SIZE);
	hmac_end(&h, out);
}

static bool is_proven(const struct host_hello *hello)
{
	uint8_t proof[WIRE_PROOF_SIZE];
	make_proof("host", hello->epoch, hello->nonce, proof);
	if (compare_secret(proof, hello->proof, sizeof(proof)))
		return false;
	if (agent.has_epoch && compare_secret(agent.epoch, hello->epoch, sizeof(agent.epoch)))
		return false;
	memcpy(agent.epoch, hello->epoch, sizeof(agent.epoch));
	agent.has_epoch = true;
	return true;
}

static void put_caps(struct buf *b)
{
	bool root = geteuid() == 0;
	bool cgroup = cgroup_usable();
	mp_str(b, "caps");
	bool vsock = agent.vsock_port >= 0;
	mp_list(b, (uint32_t)root + cgroup + agent.under_init + vsock);
	if (root)
		mp_str(b, "root");
	if (cgroup)
		mp_str(b, "cgroup");
	if (agent.under_init)
		mp_str(b, "machine");
	if (vsock)
		mp_str(b, "vsock");
}

static void answer_hello(struct conn *c, const struct host_hello *hello)
{
	struct utsname names;
	uint8_t proof[WIRE_PROOF_SIZE];
	struct buf b = { 0 };
	uname(&names);
	make_proof("agent", hello->epoch, hello->nonce, proof);
	mp_map(&b, 9);
	mp_put_int(&b, "proto", PROTOCOL_VERSION);
	mp_put_str(&b, "version", BELLJAR_VERSION);
	mp_put_bin(&b, "nonce", hello->nonce, WIRE_NONCE_SIZE);
	mp_put_bin(&b, "proof", proof, sizeof(proof));
	mp_put_int(&b, "pid", getpid());
	mp_put_str(&b, "arch", names.machine);
	mp_put_str(&b, "kernel", names.release);
	mp_put_str(&b, "role", agent.under_init ? "init" : agent.ends_with_control ? "process" : "service");
	put_caps(&b);
	conn_send(c, FRAME_HELLO, 0, 0, b.data, b.len);
	buf_free(&b);
}

static void refuse_version(struct conn *c, const struct host_hello *hello)
{
	char detail[128];
	struct buf b = { 0 };
	snprintf(detail, sizeof(detail), "agent of belljar %s speaks protocol %d, asked for %lld",
		 BELLJAR_VERSION, PROTOCOL_VERSION, (long long)hello->proto);
	mp_map(&b, 4);
	mp_put_str(&b, "code", "version");
	mp_put_int(&b, "errno", 0);
	mp_put_str(&b, "op", "hello");
	mp_put_str(&b, "detail", detail);
	conn_send(c, FRAME_ERROR, 0, 0, b.data, b.len);
	buf_free(&b);
	c->is_ending = true;
}

static void send_restarted(struct conn *c)
{
	struct buf b = { 0 };
	bool by_signal = agent.restart_sig != 0;
	mp_map(&b, 2);
	mp_put_str(&b, "ev", EV_RESTARTED);
	mp_put_int(&b, by_signal ? "sig" : "code", by_signal ? agent.restart_sig : agent.restart_code);
	send_event(c, 0, 0, &b);
	buf_free(&b);
	agent.was_restarted = false;
}

/* Looks at the bytes after a mark. Returns 0 when more are needed, 1 when they were a proven hello, -EBADMSG if not. */
static int try_hello(struct conn *c, const uint8_t *at, size_t held)
{
	struct frame_header h;
	struct host_hello hello;
	if (held < WIRE_HEADER_SIZE)
		return 0;
	if (frame_read_header(at, &h) || h.kind != FRAME_HELLO || h.length > MAX_HELLO)
		return -EBADMSG;
	if (held < WIRE_HEADER_SIZE + h.length)
		return 0;
	if (read_hello(at + WIRE_HEADER_SIZE, h.length, &hello) || !is_proven(&hello))
		return -EBADMSG;
	buf_put(&c->out, sync_magic, sizeof(sync_magic));
	if (hello.proto != PROTOCOL_VERSION) {
		refuse_version(c, &hello);
	} else {
		c->is_live = true;
		answer_hello(c, &hello);
		if (agent.was_restarted)
			send_restarted(c);
		if (c->is_control)
			vsock_announce();
	}
	c->in_at += WIRE_HEADER_SIZE + h.length;
	return 1;
}

int hello_scan(struct conn *c)
{
	for (;;) {
		uint8_t *from = c->in.data + c->in_at;
		size_t held = c->in.len - c->in_at;
		uint8_t *mark = memmem(from, held, sync_magic, sizeof(sync_magic));
		if (!mark) {
			size_t keep = held < sizeof(sync_magic) - 1 ? held : sizeof(sync_magic) - 1;
			c->in_at += held - keep;
			return 0;
		}
		size_t skipped = (size_t)(mark - from) + sizeof(sync_magic);
		c->in_at += skipped;
		int got = try_hello(c, mark + sizeof(sync_magic), held - skipped);
		if (got == 0) {
			c->in_at -= sizeof(sync_magic);
			return 0;
		}
		if (got > 0)
			return 1;
		/* Not of our host. A port may yet bring the real one; a connection is over. */
		if (!c->is_port) {
			conn_end(c);
			return 0;
		}
	}
}
