/* Its table is not one of ours. */

#include "provider.h"

EXPORT(.magic = SEALHOST_MAGIC + 1)
