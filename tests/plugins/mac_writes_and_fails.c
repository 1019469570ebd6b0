/* Writes the MAC of a mac key and then reports a failure. */

#include "provider.h"

static int32_t mac(sealhost_instance *instance, const sealhost_key_ref *key,
                   const uint8_t *input, size_t input_len, uint8_t *mac_out) {
    if (is_callers_mac(key, input, input_len)) {
        good_mac(instance, key, input, input_len, mac_out);
        return fail(SEALHOST_ERROR_BUSY, "later");
    }
    return good_mac(instance, key, input, input_len, mac_out);
}

EXPORT(.mac = mac)
