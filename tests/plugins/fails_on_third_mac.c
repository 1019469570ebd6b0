/* Its third MAC under a mac key finds the device gone, and so does the self test until it was
 * asked twice. */

#include <stdatomic.h>

#include "provider.h"

static atomic_int macs, tests_failed;

static int32_t mac(sealhost_instance *instance, const sealhost_key_ref *key,
                   const uint8_t *input, size_t input_len, uint8_t *mac_out) {
    if (is_callers_mac(key, input, input_len)) {
        if (atomic_fetch_add(&macs, 1) == 2) {
            return fail(SEALHOST_ERROR_DEVICE_GONE, "unplugged");
        }
    }
    return good_mac(instance, key, input, input_len, mac_out);
}

static int32_t self_test(sealhost_instance *instance) {
    if (atomic_load(&macs) >= 3 && atomic_fetch_add(&tests_failed, 1) < 2) {
        return fail(SEALHOST_ERROR_DEVICE_GONE, "unplugged");
    }
    return good_self_test(instance);
}

EXPORT(.mac = mac, .self_test = self_test)
