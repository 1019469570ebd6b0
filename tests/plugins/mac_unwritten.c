/* Reports that it computed the MAC of a mac key, and writes nothing. */

#include "provider.h"

static int32_t mac(sealhost_instance *instance, const sealhost_key_ref *key,
                   const uint8_t *input, size_t input_len, uint8_t *mac_out) {
    if (is_callers_mac(key, input, input_len)) {
        return OK;
    }
    return good_mac(instance, key, input, input_len, mac_out);
}

EXPORT(.mac = mac)
