/* Crashes when it is to end. */

#include "provider.h"

static void close_device(sealhost_instance *instance) {
    good_close(instance);
    crash();
}

EXPORT(.close = close_device)
