/* Says needs that are none. */

#include <string.h>

#include "provider.h"

static int32_t needs(const sealhost_parameter *settings, size_t settings_count,
                     uint8_t *text_out, size_t *text_out_len) {
    const char *text = "execute /bin/sh\n";
    (void)settings, (void)settings_count;
    memcpy(text_out, text, strlen(text));
    *text_out_len = strlen(text);
    return OK;
}

EXPORT(.needs = needs)
