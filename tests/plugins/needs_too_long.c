/* Says more needs than there is room for. */

#include "provider.h"

static int32_t needs(const sealhost_parameter *settings, size_t settings_count,
                     uint8_t *text_out, size_t *text_out_len) {
    (void)settings, (void)settings_count, (void)text_out;
    *text_out_len = SEALHOST_NEEDS_MAX_BYTES + 1;
    return OK;
}

EXPORT(.needs = needs)
