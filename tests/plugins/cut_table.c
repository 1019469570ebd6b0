/* Its table ends in the middle of the pointer to `mac`. */

#include "provider.h"

EXPORT(.size = offsetof(sealhost_table, mac) + 4)
