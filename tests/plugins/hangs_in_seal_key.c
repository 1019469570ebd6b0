/* Hangs while it makes a seal key, as which the host keeps its own. */

#include <unistd.h>

#include "provider.h"

static int32_t generate(sealhost_instance *instance, const sealhost_key_spec *spec,
                        uint8_t *blob_out, size_t *blob_out_len) {
    if (spec->usage == SEALHOST_USAGE_SEAL) {
        for (;;) {
            pause();
        }
    }
    return good_generate(instance, spec, blob_out, blob_out_len);
}

EXPORT(.generate = generate)
