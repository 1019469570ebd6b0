/* A text of its description is not UTF-8. */

#include <string.h>

#include "provider.h"

static int32_t info(sealhost_instance *instance, sealhost_info *info_out) {
    int32_t status = good_info(instance, info_out);
    memcpy(info_out->firmware, "\xff\xfe", 3);
    return status;
}

EXPORT(.info = info)
