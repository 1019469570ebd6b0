/* Good, built after a function was appended that this host does not know. */

#include "provider.h"

__attribute__((visibility("default")))
const sealhost_table *sealhost_provider(uint32_t host_abi_version) {
    static const struct {
        sealhost_table known;
        void (*later)(void);
    } table = {.known = TABLE(.size = sizeof table)};
    return host_abi_version == SEALHOST_ABI_VERSION ? &table.known : NULL;
}
