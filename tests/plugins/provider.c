/* The good provider: HMAC keys, wrapped under the secret `root` that the host keeps.
 *
 * A key blob is: usage (1 byte), id (16), nonce (16), encrypted key, tag (32). The key is
 * encrypted with HMAC(encryption key, nonce, counter) as key stream, and the tag is
 * HMAC(authentication key, all before it): encrypt, then MAC. An identity is 16 random bytes and
 * their tag. */

#include "provider.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "sha256.h"

#define ROOT_BYTES 32
#define KEY_BYTES 32
#define ID_BYTES 16
#define NONCE_BYTES 16
#define HEADER_BYTES (1 + ID_BYTES + NONCE_BYTES)
#define IDENTITY_BYTES (16 + SHA256_BYTES)

struct sealhost_instance {
    uint8_t encryption[SHA256_BYTES];
    uint8_t authentication[SHA256_BYTES];
};

static _Thread_local char last_detail[SEALHOST_DETAIL_MAX_BYTES];

int32_t fail(int32_t status, const char *detail) {
    snprintf(last_detail, sizeof last_detail, "%s", detail);
    return status;
}

void good_last_error(uint8_t *detail_out, size_t capacity, size_t *detail_out_len) {
    if (detail_out == NULL || detail_out_len == NULL) {
        return;
    }
    size_t length = strlen(last_detail);
    length = length < capacity ? length : capacity;
    memcpy(detail_out, last_detail, length);
    *detail_out_len = length;
}

static int32_t fill_random(uint8_t *out, size_t length) {
    for (size_t done = 0; done < length;) {
        ssize_t got = getrandom(out + done, length - done, 0);
        if (got < 0) {
            return fail(SEALHOST_ERROR_INTERNAL, "getrandom failed");
        }
        done += (size_t)got;
    }
    return OK;
}

static bool equal(const uint8_t *one, const uint8_t *other, size_t length) {
    uint8_t difference = 0;
    for (size_t i = 0; i < length; i++) {
        difference |= one[i] ^ other[i];
    }
    return difference == 0;
}

static bool is(const sealhost_parameter *parameter, const char *key) {
    return parameter->key_len == strlen(key) && memcmp(parameter->key, key, parameter->key_len) == 0;
}

const sealhost_parameter *setting(const sealhost_parameter *settings, size_t count,
                                  const char *key) {
    for (size_t i = 0; i < count; i++) {
        if (is(&settings[i], key)) {
            return &settings[i];
        }
    }
    return NULL;
}

static int32_t identify(const sealhost_instance *instance, const uint8_t *known, size_t known_len,
                        uint8_t identity[IDENTITY_BYTES]) {
    uint8_t tag[SHA256_BYTES];
    if (known_len != 0) {
        if (known_len != IDENTITY_BYTES) {
            return fail(SEALHOST_ERROR_WRONG_DEVICE, "the identity is not one of ours");
        }
        memcpy(identity, known, IDENTITY_BYTES);
    } else if (fill_random(identity, 16) != OK) {
        return SEALHOST_ERROR_INTERNAL;
    }
    hmac_sha256(instance->authentication, SHA256_BYTES, (const uint8_t *)"identity", 8,
                identity, 16, tag);
    if (known_len == 0) {
        memcpy(identity + 16, tag, sizeof tag);
    } else if (!equal(identity + 16, tag, sizeof tag)) {
        return fail(SEALHOST_ERROR_WRONG_DEVICE, "the root is another one");
    }
    return OK;
}

int32_t good_open(const sealhost_parameter *settings, size_t settings_count,
                  const sealhost_parameter *secrets, size_t secrets_count,
                  const uint8_t *identity, size_t identity_len,
                  uint8_t *identity_out, size_t *identity_out_len,
                  sealhost_instance **instance_out) {
    if (identity_out == NULL || identity_out_len == NULL || instance_out == NULL) {
        return fail(SEALHOST_ERROR_INVALID_PARAMETER, "an output is NULL");
    }
    if (settings_count != 0) {
        char detail[SEALHOST_DETAIL_MAX_BYTES];
        int length = (int)(settings->key_len < 64 ? settings->key_len : 64);
        snprintf(detail, sizeof detail, "%.*s is not a setting of this provider", length,
                 (const char *)settings->key);
        return fail(SEALHOST_ERROR_INVALID_PARAMETER, detail);
    }
    if (secrets_count != 1 || !is(secrets, "root") || secrets->value_len != ROOT_BYTES) {
        return fail(SEALHOST_ERROR_INVALID_PARAMETER, "one secret is needed, root of 32 bytes");
    }
    sealhost_instance *instance = malloc(sizeof *instance);
    if (instance == NULL) {
        return fail(SEALHOST_ERROR_EXHAUSTED, "out of memory");
    }
    hmac_sha256(secrets->value, ROOT_BYTES, (const uint8_t *)"encryption", 10, NULL, 0,
                instance->encryption);
    hmac_sha256(secrets->value, ROOT_BYTES, (const uint8_t *)"authentication", 14, NULL, 0,
                instance->authentication);
    uint8_t made[IDENTITY_BYTES];
    int32_t status = identify(instance, identity, identity_len, made);
    if (status != OK) {
        good_close(instance);
        return status;
    }
    memcpy(identity_out, made, sizeof made);
    *identity_out_len = sizeof made;
    *instance_out = instance;
    return OK;
}

int32_t open_without(const char *key,
                     const sealhost_parameter *settings, size_t settings_count,
                     const sealhost_parameter *secrets, size_t secrets_count,
                     const uint8_t *identity, size_t identity_len,
                     uint8_t *identity_out, size_t *identity_out_len,
                     sealhost_instance **instance_out) {
    size_t unknown = settings_count;
    if (settings_count == 1 && is(settings, key)) {
        unknown = 0;
    }
    return good_open(settings, unknown, secrets, secrets_count, identity, identity_len,
                     identity_out, identity_out_len, instance_out);
}

void good_close(sealhost_instance *instance) {
    if (instance != NULL) {
        explicit_bzero(instance, sizeof *instance);
        free(instance);
    }
}

int32_t good_info(sealhost_instance *instance, sealhost_info *info_out) {
    if (instance == NULL || info_out == NULL || info_out->size < sizeof *info_out) {
        return fail(SEALHOST_ERROR_INVALID_PARAMETER, "an argument is NULL or too small");
    }
    sealhost_info info = {
        .size = sizeof info,
        .protection = SEALHOST_PROTECTION_SOFTWARE,
        .capabilities =
            SEALHOST_CAPABILITY_SEAL | SEALHOST_CAPABILITY_MAC | SEALHOST_CAPABILITY_IMPORT_MAC,
        .concurrency = 4,
        .kind = "testc",
        .manufacturer = "Sealhost tests",
        .firmware = "1",
    };
    *info_out = info;
    return OK;
}

int32_t good_self_test(sealhost_instance *instance) {
    /* RFC 4231 section 4.3. */
    static const uint8_t expected[SHA256_BYTES] = {
        0x5b, 0xdc, 0xc1, 0x46, 0xbf, 0x60, 0x75, 0x4e, 0x6a, 0x04, 0x24,
        0x26, 0x08, 0x95, 0x75, 0xc7, 0x5a, 0x00, 0x3f, 0x08, 0x9d, 0x27,
        0x39, 0x83, 0x9d, 0xec, 0x58, 0xb9, 0x64, 0xec, 0x38, 0x43,
    };
    uint8_t mac[SHA256_BYTES];
    (void)instance;
    hmac_sha256((const uint8_t *)"Jefe", 4, (const uint8_t *)"what do ya want ", 16,
                (const uint8_t *)"for nothing?", 12, mac);
    if (!equal(mac, expected, sizeof mac)) {
        return fail(SEALHOST_ERROR_INTEGRITY, "HMAC-SHA256 is wrong");
    }
    return OK;
}

/* Encrypts and decrypts. */
static void apply_stream(const sealhost_instance *instance, const uint8_t nonce[NONCE_BYTES],
                         const uint8_t *in, size_t length, uint8_t *out) {
    uint8_t stream[SHA256_BYTES];
    for (size_t at = 0; at < length; at++) {
        if (at % sizeof stream == 0) {
            uint8_t counter = (uint8_t)(at / sizeof stream);
            hmac_sha256(instance->encryption, SHA256_BYTES, nonce, NONCE_BYTES, &counter, 1,
                        stream);
        }
        out[at] = in[at] ^ stream[at % sizeof stream];
    }
    explicit_bzero(stream, sizeof stream);
}

static int32_t check_spec(const sealhost_instance *instance, const sealhost_key_spec *spec) {
    if (instance == NULL || spec == NULL || spec->size < sizeof *spec) {
        return fail(SEALHOST_ERROR_INVALID_PARAMETER, "an argument is NULL or too small");
    }
    if (spec->usage != SEALHOST_USAGE_SEAL && spec->usage != SEALHOST_USAGE_MAC) {
        return fail(SEALHOST_ERROR_UNSUPPORTED, "only seal and mac keys");
    }
    if (spec->algorithm != SEALHOST_ALGORITHM_HMAC_SHA256) {
        return fail(SEALHOST_ERROR_UNSUPPORTED, "only HMAC-SHA256");
    }
    if (spec->state_len != 0) {
        return fail(SEALHOST_ERROR_UNSUPPORTED, "software has no machine state");
    }
    return OK;
}

static int32_t wrap(const sealhost_instance *instance, const sealhost_key_spec *spec,
                    const uint8_t *key, size_t key_len, uint8_t *blob_out, size_t *blob_out_len) {
    if (blob_out == NULL || blob_out_len == NULL) {
        return fail(SEALHOST_ERROR_INVALID_PARAMETER, "an output is NULL");
    }
    uint8_t nonce[NONCE_BYTES];
    if (fill_random(nonce, sizeof nonce) != OK) {
        return SEALHOST_ERROR_INTERNAL;
    }
    blob_out[0] = (uint8_t)spec->usage;
    memcpy(blob_out + 1, spec->id, ID_BYTES);
    memcpy(blob_out + 1 + ID_BYTES, nonce, NONCE_BYTES);
    apply_stream(instance, nonce, key, key_len, blob_out + HEADER_BYTES);
    hmac_sha256(instance->authentication, SHA256_BYTES, (const uint8_t *)"key", 3, blob_out,
                HEADER_BYTES + key_len, blob_out + HEADER_BYTES + key_len);
    *blob_out_len = HEADER_BYTES + key_len + SHA256_BYTES;
    return OK;
}

int32_t good_generate(sealhost_instance *instance, const sealhost_key_spec *spec,
                      uint8_t *blob_out, size_t *blob_out_len) {
    uint8_t key[KEY_BYTES];
    int32_t status = check_spec(instance, spec);
    if (status == OK) {
        status = fill_random(key, sizeof key);
    }
    if (status == OK) {
        status = wrap(instance, spec, key, sizeof key, blob_out, blob_out_len);
    }
    explicit_bzero(key, sizeof key);
    return status;
}

int32_t good_import_key(sealhost_instance *instance, const sealhost_key_spec *spec,
                        const uint8_t *key, size_t key_len,
                        uint8_t *blob_out, size_t *blob_out_len) {
    int32_t status = check_spec(instance, spec);
    if (status != OK) {
        return status;
    }
    if (spec->usage != SEALHOST_USAGE_MAC) {
        return fail(SEALHOST_ERROR_UNSUPPORTED, "only mac keys are imported");
    }
    if (key == NULL || key_len == 0) {
        return fail(SEALHOST_ERROR_INVALID_PARAMETER, "an imported key must not be empty");
    }
    if (key_len > SEALHOST_IMPORT_MAX_BYTES) {
        return fail(SEALHOST_ERROR_TOO_LARGE, "the key is too long");
    }
    return wrap(instance, spec, key, key_len, blob_out, blob_out_len);
}

int32_t good_destroy(sealhost_instance *instance, const sealhost_key_ref *key) {
    if (instance == NULL || key == NULL || key->size < sizeof *key) {
        return fail(SEALHOST_ERROR_INVALID_PARAMETER, "an argument is NULL or too small");
    }
    /* The blob is all there is of a key. */
    return OK;
}

static int32_t check_input(uint32_t usage, const uint8_t *input, size_t input_len) {
    if (input_len > SEALHOST_MAC_INPUT_MAX_BYTES) {
        return fail(SEALHOST_ERROR_TOO_LARGE, "the input is too long");
    }
    if (input == NULL && input_len != 0) {
        return fail(SEALHOST_ERROR_INVALID_PARAMETER, "the input is NULL");
    }
    bool labeled = input_len >= sizeof SEALHOST_SEAL_LABEL &&
                   memcmp(input, SEALHOST_SEAL_LABEL, sizeof SEALHOST_SEAL_LABEL) == 0;
    if (usage == SEALHOST_USAGE_SEAL ? !labeled : usage != SEALHOST_USAGE_MAC || labeled) {
        return fail(SEALHOST_ERROR_INVALID_PARAMETER, "usage and label do not fit");
    }
    return OK;
}

bool is_callers_mac(const sealhost_key_ref *key, const uint8_t *input, size_t input_len) {
    static const char first_use[] = "first use of a new key";
    const size_t length = sizeof first_use - 1;
    const bool is_first = input_len == length && memcmp(input, first_use, length) == 0;
    return key->usage == SEALHOST_USAGE_MAC && !is_first;
}

int32_t good_mac(sealhost_instance *instance, const sealhost_key_ref *key,
                 const uint8_t *input, size_t input_len, uint8_t *mac_out) {
    if (instance == NULL || key == NULL || key->size < sizeof *key || mac_out == NULL) {
        return fail(SEALHOST_ERROR_INVALID_PARAMETER, "an argument is NULL or too small");
    }
    int32_t status = check_input(key->usage, input, input_len);
    if (status != OK) {
        return status;
    }
    if (key->blob == NULL || key->blob_len <= HEADER_BYTES + SHA256_BYTES ||
        key->blob_len > HEADER_BYTES + SEALHOST_IMPORT_MAX_BYTES + SHA256_BYTES) {
        return fail(SEALHOST_ERROR_INTEGRITY, "the blob has an impossible length");
    }
    size_t signed_len = key->blob_len - SHA256_BYTES, secret_len = signed_len - HEADER_BYTES;
    uint8_t tag[SHA256_BYTES], secret[SEALHOST_IMPORT_MAX_BYTES];
    hmac_sha256(instance->authentication, SHA256_BYTES, (const uint8_t *)"key", 3, key->blob,
                signed_len, tag);
    if (!equal(tag, key->blob + signed_len, sizeof tag)) {
        return fail(SEALHOST_ERROR_INTEGRITY, "the blob is altered or of another root");
    }
    if (key->blob[0] != key->usage || memcmp(key->blob + 1, key->id, ID_BYTES) != 0) {
        return fail(SEALHOST_ERROR_INVALID_PARAMETER, "the blob is of another usage or id");
    }
    apply_stream(instance, key->blob + 1 + ID_BYTES, key->blob + HEADER_BYTES, secret_len, secret);
    hmac_sha256(secret, secret_len, input, input_len, NULL, 0, mac_out);
    explicit_bzero(secret, sizeof secret);
    return OK;
}

int32_t good_random(sealhost_instance *instance, size_t length, uint8_t *random_out) {
    if (instance == NULL || random_out == NULL) {
        return fail(SEALHOST_ERROR_INVALID_PARAMETER, "an argument is NULL");
    }
    if (length > SEALHOST_RANDOM_MAX_BYTES) {
        return fail(SEALHOST_ERROR_TOO_LARGE, "too many random bytes");
    }
    return fill_random(random_out, length);
}
