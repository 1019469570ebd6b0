/* Lacks the function that explains failures. */

#include "provider.h"

EXPORT(.last_error = NULL)
