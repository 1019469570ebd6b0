/* Speaks no version of the contract that the host does. */

#include "provider.h"

__attribute__((visibility("default")))
const sealhost_table *sealhost_provider(uint32_t host_abi_version) {
    (void)host_abi_version;
    return NULL;
}
