/* Fails a mac key's MAC with the status that the input gives, one byte. */

#include "provider.h"

static int32_t mac(sealhost_instance *instance, const sealhost_key_ref *key,
                   const uint8_t *input, size_t input_len, uint8_t *mac_out) {
    if (is_callers_mac(key, input, input_len)) {
        return fail(input_len == 0 ? 0 : (int8_t)input[0], "the device says no");
    }
    return good_mac(instance, key, input, input_len, mac_out);
}

EXPORT(.mac = mac)
