/* Good, with extreme numbers: no threads at once, every capability bit that nobody knows, texts of full length. */

#include <string.h>

#include "provider.h"

static int32_t info(sealhost_instance *instance, sealhost_info *info_out) {
    int32_t status = good_info(instance, info_out);
    info_out->concurrency = 0;
    info_out->capabilities |= UINT64_MAX << 12;
    memset(info_out->manufacturer, 'm', sizeof info_out->manufacturer - 1);
    memset(info_out->notes, '\n', sizeof info_out->notes - 1);
    return status;
}

EXPORT(.info = info)
