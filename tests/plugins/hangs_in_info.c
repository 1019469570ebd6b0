/* Hangs while it describes its device. */

#include <unistd.h>

#include "provider.h"

static int32_t info(sealhost_instance *instance, sealhost_info *info_out) {
    for (;;) {
        pause();
    }
    return good_info(instance, info_out);
}

EXPORT(.info = info)
