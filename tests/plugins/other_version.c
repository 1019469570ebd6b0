/* Answers with a table of a version that it was not asked for. */

#include "provider.h"

EXPORT(.abi_version = SEALHOST_ABI_VERSION + 1)
