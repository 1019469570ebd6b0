/* A whole provider in C, as functions. `good.c` exports them as they are; every other file here
 * exports them with a fault, which is its name. */

#ifndef PROVIDER_H
#define PROVIDER_H

#include <stdbool.h>

#include "sealhost_provider.h"

#define OK 0

int32_t good_open(const sealhost_parameter *settings, size_t settings_count,
                  const sealhost_parameter *secrets, size_t secrets_count,
                  const uint8_t *identity, size_t identity_len,
                  uint8_t *identity_out, size_t *identity_out_len,
                  sealhost_instance **instance_out);
void good_close(sealhost_instance *instance);
int32_t good_info(sealhost_instance *instance, sealhost_info *info_out);
int32_t good_self_test(sealhost_instance *instance);
int32_t good_generate(sealhost_instance *instance, const sealhost_key_spec *spec,
                      uint8_t *blob_out, size_t *blob_out_len);
int32_t good_import_key(sealhost_instance *instance, const sealhost_key_spec *spec,
                        const uint8_t *key, size_t key_len,
                        uint8_t *blob_out, size_t *blob_out_len);
int32_t good_destroy(sealhost_instance *instance, const sealhost_key_ref *key);
int32_t good_mac(sealhost_instance *instance, const sealhost_key_ref *key,
                 const uint8_t *input, size_t input_len, uint8_t *mac_out);
int32_t good_random(sealhost_instance *instance, size_t length, uint8_t *random_out);
void good_last_error(uint8_t *detail_out, size_t capacity, size_t *detail_out_len);

/* Notes the detail of this thread's failure and returns its status. */
int32_t fail(int32_t status, const char *detail);

/* Finds a setting; NULL when it is not there. */
const sealhost_parameter *setting(const sealhost_parameter *settings, size_t count,
                                  const char *key);

/* Opens as `good_open` does, for providers with one setting more, which it does not know. */
int32_t open_without(const char *key,
                     const sealhost_parameter *settings, size_t settings_count,
                     const sealhost_parameter *secrets, size_t secrets_count,
                     const uint8_t *identity, size_t identity_len,
                     uint8_t *identity_out, size_t *identity_out_len,
                     sealhost_instance **instance_out);

/* Whether it is a MAC of a mac key for a caller: not the one by which the host tries a new key
 * (docs/abi.md, `generate`), so that there are keys with which to have the fault. */
bool is_callers_mac(const sealhost_key_ref *key, const uint8_t *input, size_t input_len);

/* Touches what is not there. (A SIGSEGV that is only raised is swallowed by the handler with which
 * Rust tells stack overflows, and which then waits for the real thing.) */
static inline void crash(void) {
    *(volatile int *)8 = 0;
}

/* The table of the good provider, of which the arguments replace what they name. */
#define TABLE(...)                                          \
    {                                                       \
        .magic = SEALHOST_MAGIC,                            \
        .size = sizeof(sealhost_table),                     \
        .abi_version = SEALHOST_ABI_VERSION,                \
        .open = good_open,                                  \
        .close = good_close,                                \
        .info = good_info,                                  \
        .self_test = good_self_test,                        \
        .generate = good_generate,                          \
        .import_key = good_import_key,                      \
        .destroy = good_destroy,                            \
        .mac = good_mac,                                    \
        .random = good_random,                              \
        .last_error = good_last_error,                      \
        __VA_ARGS__                                         \
    }

/* Exports that table. */
#define EXPORT(...)                                                         \
    __attribute__((visibility("default")))                                  \
    const sealhost_table *sealhost_provider(uint32_t host_abi_version) {    \
        static const sealhost_table table = TABLE(__VA_ARGS__);             \
        return host_abi_version == SEALHOST_ABI_VERSION ? &table : NULL;    \
    }

#endif
