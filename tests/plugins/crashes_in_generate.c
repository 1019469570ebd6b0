/* Crashes while it makes a mac key. */

#include "provider.h"

static int32_t generate(sealhost_instance *instance, const sealhost_key_spec *spec,
                        uint8_t *blob_out, size_t *blob_out_len) {
    if (spec->usage == SEALHOST_USAGE_MAC) {
        crash();
    }
    return good_generate(instance, spec, blob_out, blob_out_len);
}

EXPORT(.generate = generate)
