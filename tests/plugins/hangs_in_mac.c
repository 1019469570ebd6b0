/* Hangs in the MAC of a mac key, and takes no more than one call at a time. */

#include <unistd.h>

#include "provider.h"

static int32_t mac(sealhost_instance *instance, const sealhost_key_ref *key,
                   const uint8_t *input, size_t input_len, uint8_t *mac_out) {
    if (is_callers_mac(key, input, input_len)) {
        for (;;) {
            pause();
        }
    }
    return good_mac(instance, key, input, input_len, mac_out);
}

static int32_t info(sealhost_instance *instance, sealhost_info *info_out) {
    int32_t status = good_info(instance, info_out);
    info_out->concurrency = 1;
    return status;
}

EXPORT(.mac = mac, .info = info)
