/* Good, takes one call at a time, and 100 ms for the MAC of a mac key. */

#include <unistd.h>

#include "provider.h"

static int32_t mac(sealhost_instance *instance, const sealhost_key_ref *key,
                   const uint8_t *input, size_t input_len, uint8_t *mac_out) {
    if (is_callers_mac(key, input, input_len)) {
        usleep(100000);
    }
    return good_mac(instance, key, input, input_len, mac_out);
}

static int32_t info(sealhost_instance *instance, sealhost_info *info_out) {
    int32_t status = good_info(instance, info_out);
    info_out->concurrency = 1;
    return status;
}

EXPORT(.mac = mac, .info = info)
