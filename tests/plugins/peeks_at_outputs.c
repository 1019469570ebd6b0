/* Good, and fails when it finds anything in the memory that it is to write to. */

#include "provider.h"

static int32_t peek(const uint8_t *out, size_t length) {
    for (size_t i = 0; i < length; i++) {
        if (out[i] != 0) {
            return fail(SEALHOST_ERROR_INTERNAL, "the output holds what another call left");
        }
    }
    return OK;
}

static int32_t mac(sealhost_instance *instance, const sealhost_key_ref *key,
                   const uint8_t *input, size_t input_len, uint8_t *mac_out) {
    int32_t status = peek(mac_out, SEALHOST_MAC_BYTES);
    return status != OK ? status : good_mac(instance, key, input, input_len, mac_out);
}

static int32_t generate(sealhost_instance *instance, const sealhost_key_spec *spec,
                        uint8_t *blob_out, size_t *blob_out_len) {
    int32_t status = peek(blob_out, SEALHOST_BLOB_MAX_BYTES);
    return status != OK ? status : good_generate(instance, spec, blob_out, blob_out_len);
}

static int32_t random_bytes(sealhost_instance *instance, size_t length, uint8_t *random_out) {
    int32_t status = peek(random_out, length);
    return status != OK ? status : good_random(instance, length, random_out);
}

EXPORT(.mac = mac, .generate = generate, .random = random_bytes)
