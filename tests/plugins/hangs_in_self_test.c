/* Hangs in the known answers. */

#include <unistd.h>

#include "provider.h"

static int32_t self_test(sealhost_instance *instance) {
    for (;;) {
        pause();
    }
    return good_self_test(instance);
}

EXPORT(.self_test = self_test)
