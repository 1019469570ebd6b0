/* SHA-256 (FIPS 180-4) and HMAC-SHA256 (RFC 2104) for the test providers. Not for other use: it
 * is short rather than fast, and nobody has looked at its side channels. */

#ifndef SHA256_H
#define SHA256_H

#include <stddef.h>
#include <stdint.h>

#define SHA256_BYTES 32

/* HMAC-SHA256 of two inputs, one after the other. */
void hmac_sha256(const uint8_t *key, size_t key_len,
                 const uint8_t *first, size_t first_len,
                 const uint8_t *second, size_t second_len,
                 uint8_t mac[SHA256_BYTES]);

#endif
