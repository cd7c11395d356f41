/* SHA-256 and HMAC, for the proofs of the handshake. */
#ifndef SHA256_H
#define SHA256_H

#include <stddef.h>
#include <stdint.h>

#define SHA256_SIZE 32

struct sha256 {
	uint32_t state[8];
	uint64_t total;
	uint8_t block[64];
	size_t used;
};

void sha256_init(struct sha256 *s);
void sha256_add(struct sha256 *s, const void *bytes, size_t len);
void sha256_end(struct sha256 *s, uint8_t out[SHA256_SIZE]);

struct hmac {
	struct sha256 inner;
	uint8_t outer_pad[64];
};

void hmac_init(struct hmac *h, const uint8_t *key, size_t len);
void hmac_add(struct hmac *h, const void *bytes, size_t len);
void hmac_end(struct hmac *h, uint8_t out[SHA256_SIZE]);
/* Compares in a time that depends on the length alone. Returns 0 when equal. */
int compare_secret(const uint8_t *a, const uint8_t *b, size_t len);

#endif
