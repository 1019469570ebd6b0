/* Crashes while it is loaded, before anything of it is called. */

#include "provider.h"

__attribute__((constructor)) static void initialize(void) {
    crash();
}

EXPORT()
