/* Fails a mac key's MAC and explains nothing. */

#include "provider.h"

static int32_t mac(sealhost_instance *instance, const sealhost_key_ref *key,
                   const uint8_t *input, size_t input_len, uint8_t *mac_out) {
    if (is_callers_mac(key, input, input_len)) {
        return SEALHOST_ERROR_EXHAUSTED;
    }
    return good_mac(instance, key, input, input_len, mac_out);
}

static void last_error(uint8_t *detail_out, size_t capacity, size_t *detail_out_len) {
    (void)detail_out, (void)capacity, (void)detail_out_len;
}

EXPORT(.mac = mac, .last_error = last_error)
