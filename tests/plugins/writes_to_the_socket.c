/* Writes nonsense to descriptor 0, which in a worker is the socket to its host. */

#include <unistd.h>

#include "provider.h"

static int32_t mac(sealhost_instance *instance, const sealhost_key_ref *key,
                   const uint8_t *input, size_t input_len, uint8_t *mac_out) {
    if (is_callers_mac(key, input, input_len)) {
        if (write(STDIN_FILENO, "nonsense", 8) != 8) {
            return fail(SEALHOST_ERROR_INTERNAL, "nothing to write to");
        }
    }
    return good_mac(instance, key, input, input_len, mac_out);
}

EXPORT(.mac = mac)
