/* Keeps 16 MiB more after each MAC of a mac key, and gives up when there are none. */

#include <stdlib.h>
#include <string.h>

#include "provider.h"

static int32_t mac(sealhost_instance *instance, const sealhost_key_ref *key,
                   const uint8_t *input, size_t input_len, uint8_t *mac_out) {
    if (is_callers_mac(key, input, input_len)) {
        const size_t bytes = 16 << 20;
        void *lost = malloc(bytes);
        if (lost == NULL) {
            abort();
        }
        memset(lost, 0x5a, bytes);
    }
    return good_mac(instance, key, input, input_len, mac_out);
}

EXPORT(.mac = mac)
