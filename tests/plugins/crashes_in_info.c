/* Crashes while it describes its device. */

#include "provider.h"

static int32_t info(sealhost_instance *instance, sealhost_info *info_out) {
    crash();
    return good_info(instance, info_out);
}

EXPORT(.info = info)
