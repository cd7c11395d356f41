#include "sha256.h"

#include <string.h>

/* FIPS 180-4, section 4.2.2. */
static const uint32_t round_constants[64] = {
	0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
	0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
	0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
	0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
	0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
	0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
	0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
	0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static uint32_t rotate(uint32_t x, unsigned n)
{
	return x >> n | x << (32 - n);
}

static void mix(uint32_t v[8], const uint32_t w[64])
{
	for (int i = 0; i < 64; i++) {
		uint32_t e = v[4], a = v[0];
		uint32_t s1 = rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25);
		uint32_t choice = (e & v[5]) ^ (~e & v[6]);
		uint32_t t1 = v[7] + s1 + choice + round_constants[i] + w[i];
		uint32_t s0 = rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22);
		uint32_t majority = (a & v[1]) ^ (a & v[2]) ^ (v[1] & v[2]);
		memmove(v + 1, v, 7 * sizeof(*v));
		v[4] += t1;
		v[0] = t1 + s0 + majority;
	}
}

static void compress(uint32_t state[8], const uint8_t *block)
{
	uint32_t w[64], v[8];
	for (int i = 0; i < 16; i++, block += 4)
		w[i] = (uint32_t)block[0] << 24 | (uint32_t)block[1] << 16 | (uint32_t)block[2] << 8 | block[3];
	for (int i = 16; i < 64; i++) {
		uint32_t s0 = rotate(w[i - 15], 7) ^ rotate(w[i - 15], 18) ^ w[i - 15] >> 3;
		uint32_t s1 = rotate(w[i - 2], 17) ^ rotate(w[i - 2], 19) ^ w[i - 2] >> 10;
		w[i] = w[i - 16] + s0 + w[i - 7] + s1;
	}
	memcpy(v, state, sizeof(v));
	mix(v, w);
	for (int i = 0; i < 8; i++)
		state[i] += v[i];
}

void sha256_init(struct sha256 *s)
{
	static const uint32_t start[8] = {
		0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
	};
	memcpy(s->state, start, sizeof(start));
	s->total = 0;
	s->used = 0;
}

void sha256_add(struct sha256 *s, const void *bytes, size_t len)
{
	const uint8_t *at = bytes;
	s->total += len;
	while (len > 0) {
		size_t n = sizeof(s->block) - s->used < len ? sizeof(s->block) - s->used : len;
		memcpy(s->block + s->used, at, n);
		s->used += n;
		at += n;
		len -= n;
		if (s->used == sizeof(s->block)) {
			compress(s->state, s->block);
			s->used = 0;
		}
	}
}

void sha256_end(struct sha256 *s, uint8_t out[SHA256_SIZE])
{
	uint64_t bits = s->total * 8;
	uint8_t length[8];
	sha256_add(s, "\x80", 1);
	while (s->used != 56)
		sha256_add(s, "", 1);
	for (int i = 0; i < 8; i++)
		length[i] = (uint8_t)(bits >> (56 - 8 * i));
	sha256_add(s, length, sizeof(length));
	for (int i = 0; i < SHA256_SIZE; i++)
		out[i] = (uint8_t)(s->state[i / 4] >> (24 - 8 * (i % 4)));
}

void hmac_init(struct hmac *h, const uint8_t *key, size_t len)
{
	uint8_t pad[64] = { 0 };
	if (len <= sizeof(pad)) {
		memcpy(pad, key, len);
	} else {
		sha256_init(&h->inner);
		sha256_add(&h->inner, key, len);
		sha256_end(&h->inner, pad);
	}
	for (size_t i = 0; i < sizeof(pad); i++) {
		h->outer_pad[i] = pad[i] ^ 0x5c;
		pad[i] ^= 0x36;
	}
	sha256_init(&h->inner);
	sha256_add(&h->inner, pad, sizeof(pad));
}

void hmac_add(struct hmac *h, const void *bytes, size_t len)
{
	sha256_add(&h->inner, bytes, len);
}

void hmac_end(struct hmac *h, uint8_t out[SHA256_SIZE])
{
	uint8_t digest[SHA256_SIZE];
	sha256_end(&h->inner, digest);
	sha256_init(&h->inner);
	sha256_add(&h->inner, h->outer_pad, sizeof(h->outer_pad));
	sha256_add(&h->inner, digest, sizeof(digest));
	sha256_end(&h->inner, out);
}

int compare_secret(const uint8_t *a, const uint8_t *b, size_t len)
{
	volatile uint8_t difference = 0;
	for (size_t i = 0; i < len; i++)
		difference = (uint8_t)(difference | (a[i] ^ b[i]));
	return difference;
}
