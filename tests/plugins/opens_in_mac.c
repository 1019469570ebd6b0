/* Opens as many files as it gets in the MAC of a mac key, says how many those were, and cannot
 * work from then on. */

#include <fcntl.h>
#include <stdio.h>

#include "provider.h"

static int32_t mac(sealhost_instance *instance, const sealhost_key_ref *key,
                   const uint8_t *input, size_t input_len, uint8_t *mac_out) {
    if (is_callers_mac(key, input, input_len)) {
        int opened = 0;
        while (opened < 100000 && open("/dev/null", O_RDONLY | O_CLOEXEC) >= 0) {
            opened++;
        }
        fprintf(stderr, "opened %d files\n", opened);
        return fail(SEALHOST_ERROR_EXHAUSTED, "no more files");
    }
    return good_mac(instance, key, input, input_len, mac_out);
}

EXPORT(.mac = mac)
