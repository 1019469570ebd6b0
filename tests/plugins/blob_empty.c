/* Gives a mac key no blob. */

#include "provider.h"

static int32_t generate(sealhost_instance *instance, const sealhost_key_spec *spec,
                        uint8_t *blob_out, size_t *blob_out_len) {
    int32_t status = good_generate(instance, spec, blob_out, blob_out_len);
    if (spec->usage == SEALHOST_USAGE_MAC) {
        *blob_out_len = 0;
    }
    return status;
}

EXPORT(.generate = generate)
