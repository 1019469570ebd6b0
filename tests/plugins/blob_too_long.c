/* Says that a mac key's blob is longer than the buffer. */

#include "provider.h"

static int32_t generate(sealhost_instance *instance, const sealhost_key_spec *spec,
                        uint8_t *blob_out, size_t *blob_out_len) {
    int32_t status = good_generate(instance, spec, blob_out, blob_out_len);
    if (spec->usage == SEALHOST_USAGE_MAC) {
        *blob_out_len = SEALHOST_BLOB_MAX_BYTES + 1;
    }
    return status;
}

EXPORT(.generate = generate)
