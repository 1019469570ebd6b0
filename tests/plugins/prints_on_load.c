/* Writes to standard output and standard error while it is loaded and in each call. */

#include <stdio.h>

#include "provider.h"

static void print(void) {
    puts("noise on stdout");
    fflush(stdout);
    fputs("noise on stderr \x1b[31m\n", stderr);
}

__attribute__((constructor)) static void initialize(void) {
    print();
}

static int32_t mac(sealhost_instance *instance, const sealhost_key_ref *key,
                   const uint8_t *input, size_t input_len, uint8_t *mac_out) {
    print();
    return good_mac(instance, key, input, input_len, mac_out);
}

EXPORT(.mac = mac)
