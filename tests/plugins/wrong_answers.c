/* Computes something else than HMAC-SHA256, which its self test finds. */

#include "provider.h"

static int32_t mac(sealhost_instance *instance, const sealhost_key_ref *key,
                   const uint8_t *input, size_t input_len, uint8_t *mac_out) {
    int32_t status = good_mac(instance, key, input, input_len, mac_out);
    mac_out[0] ^= 1;
    return status;
}

static int32_t self_test(sealhost_instance *instance) {
    (void)instance;
    return fail(SEALHOST_ERROR_INTEGRITY, "HMAC-SHA256 is wrong");
}

EXPORT(.mac = mac, .self_test = self_test)
