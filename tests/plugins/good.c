/* The provider as it should be. */

#include "provider.h"

EXPORT()
