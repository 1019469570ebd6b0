/* Crashes when it is to end. */

#include <signal.h>

#include "provider.h"

static void close_device(sealhost_instance *instance) {
    good_close(instance);
    raise(SIGSEGV);
}

EXPORT(.close = close_device)
