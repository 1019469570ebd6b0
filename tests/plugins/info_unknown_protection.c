/* Claims a protection that there is not. */

#include "provider.h"

static int32_t info(sealhost_instance *instance, sealhost_info *info_out) {
    int32_t status = good_info(instance, info_out);
    info_out->protection = 4;
    return status;
}

EXPORT(.info = info)
