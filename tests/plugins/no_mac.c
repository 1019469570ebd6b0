/* Lacks a required function. */

#include "provider.h"

EXPORT(.mac = NULL)
