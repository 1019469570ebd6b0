/* Hangs when it is to end. */

#include <unistd.h>

#include "provider.h"

static void close_device(sealhost_instance *instance) {
    for (;;) {
        pause();
    }
    good_close(instance);
}

EXPORT(.close = close_device)
