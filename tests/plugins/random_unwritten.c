/* Reports random bytes, and writes none. */

#include "provider.h"

static int32_t random_bytes(sealhost_instance *instance, size_t length, uint8_t *random_out) {
    (void)instance, (void)length, (void)random_out;
    return OK;
}

EXPORT(.random = random_bytes)
