/* Its table ends before the first function. */

#include "provider.h"

EXPORT(.size = 1)
