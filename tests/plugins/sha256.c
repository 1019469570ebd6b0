#include "sha256.h"

#include <string.h>

#define BLOCK_BYTES 64

typedef struct {
    uint32_t state[8];
    uint8_t block[BLOCK_BYTES];
    size_t filled;
    uint64_t total;
} sha256;

/* FIPS 180-4 section 4.2.2. */
static const uint32_t K[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static uint32_t rotate(uint32_t word, unsigned count) {
    return (word >> count) | (word << (32 - count));
}

/* FIPS 180-4 section 6.2.2. */
static void compress(uint32_t state[8], const uint8_t *block) {
    uint32_t w[64], v[8];
    for (size_t i = 0; i < 16; i++) {
        w[i] = (uint32_t)block[4 * i] << 24 | (uint32_t)block[4 * i + 1] << 16 |
               (uint32_t)block[4 * i + 2] << 8 | block[4 * i + 3];
    }
    for (size_t i = 16; i < 64; i++) {
        uint32_t s0 = rotate(w[i - 15], 7) ^ rotate(w[i - 15], 18) ^ (w[i - 15] >> 3);
        uint32_t s1 = rotate(w[i - 2], 17) ^ rotate(w[i - 2], 19) ^ (w[i - 2] >> 10);
        w[i] = w[i - 16] + s0 + w[i - 7] + s1;
    }
    memcpy(v, state, sizeof v);
    for (size_t i = 0; i < 64; i++) {
        uint32_t s1 = rotate(v[4], 6) ^ rotate(v[4], 11) ^ rotate(v[4], 25);
        uint32_t one = v[7] + s1 + ((v[4] & v[5]) ^ (~v[4] & v[6])) + K[i] + w[i];
        uint32_t s0 = rotate(v[0], 2) ^ rotate(v[0], 13) ^ rotate(v[0], 22);
        uint32_t two = s0 + ((v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]));
        memmove(v + 1, v, 7 * sizeof v[0]);
        v[4] += one;
        v[0] = one + two;
    }
    for (size_t i = 0; i < 8; i++) {
        state[i] += v[i];
    }
    explicit_bzero(w, sizeof w);
    explicit_bzero(v, sizeof v);
}

static void start(sha256 *hash) {
    static const uint32_t initial[8] = {
        0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
        0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
    };
    memcpy(hash->state, initial, sizeof initial);
    hash->filled = 0;
    hash->total = 0;
}

static void update(sha256 *hash, const uint8_t *data, size_t length) {
    hash->total += length;
    for (size_t i = 0; i < length; i++) {
        hash->block[hash->filled++] = data[i];
        if (hash->filled == BLOCK_BYTES) {
            compress(hash->state, hash->block);
            hash->filled = 0;
        }
    }
}

static void finish(sha256 *hash, uint8_t digest[SHA256_BYTES]) {
    uint64_t bits = hash->total * 8;
    uint8_t length[8];
    for (size_t i = 0; i < 8; i++) {
        length[i] = (uint8_t)(bits >> (56 - 8 * i));
    }
    update(hash, (const uint8_t *)"\x80", 1);
    while (hash->filled != BLOCK_BYTES - sizeof length) {
        update(hash, (const uint8_t *)"", 1);
    }
    update(hash, length, sizeof length);
    for (size_t i = 0; i < SHA256_BYTES; i++) {
        digest[i] = (uint8_t)(hash->state[i / 4] >> (24 - 8 * (i % 4)));
    }
    explicit_bzero(hash, sizeof *hash);
}

void hmac_sha256(const uint8_t *key, size_t key_len,
                 const uint8_t *first, size_t first_len,
                 const uint8_t *second, size_t second_len,
                 uint8_t mac[SHA256_BYTES]) {
    sha256 hash;
    uint8_t block[BLOCK_BYTES] = {0}, inner[SHA256_BYTES];
    if (key_len > BLOCK_BYTES) {
        start(&hash);
        update(&hash, key, key_len);
        finish(&hash, block);
    } else if (key_len > 0) {
        memcpy(block, key, key_len);
    }
    for (size_t i = 0; i < BLOCK_BYTES; i++) {
        block[i] ^= 0x36;
    }
    start(&hash);
    update(&hash, block, BLOCK_BYTES);
    update(&hash, first, first_len);
    update(&hash, second, second_len);
    finish(&hash, inner);
    for (size_t i = 0; i < BLOCK_BYTES; i++) {
        block[i] ^= 0x36 ^ 0x5c;
    }
    start(&hash);
    update(&hash, block, BLOCK_BYTES);
    update(&hash, inner, sizeof inner);
    finish(&hash, mac);
    explicit_bzero(block, sizeof block);
    explicit_bzero(inner, sizeof inner);
}
