/* Reports that it raised a counter, and writes no value; with the setting `silent_create` none when
 * it made one either. Reading works. */

#include "provider.h"

#include <string.h>

static int silent_create;

static int32_t open_it(const sealhost_parameter *settings, size_t settings_count,
                       const sealhost_parameter *secrets, size_t secrets_count,
                       const uint8_t *identity, size_t identity_len,
                       uint8_t *identity_out, size_t *identity_out_len,
                       sealhost_instance **instance_out) {
    silent_create = setting(settings, settings_count, "silent_create") != NULL;
    return open_without("silent_create", settings, settings_count, secrets, secrets_count,
                        identity, identity_len, identity_out, identity_out_len, instance_out);
}

static int32_t info(sealhost_instance *instance, sealhost_info *info_out) {
    int32_t status = good_info(instance, info_out);
    info_out->capabilities |= SEALHOST_CAPABILITY_COUNTER;
    return status;
}

static int32_t create(sealhost_instance *instance, const uint8_t *id, uint8_t *blob_out,
                      size_t *blob_out_len, uint64_t *value_out) {
    (void)instance;
    memcpy(blob_out, id, 16);
    *blob_out_len = 16;
    if (!silent_create) {
        *value_out = 1;
    }
    return OK;
}

static int32_t increment(sealhost_instance *instance, const sealhost_counter_ref *counter,
                         uint64_t *value_out) {
    (void)instance, (void)counter, (void)value_out;
    return OK;
}

static int32_t value(sealhost_instance *instance, const sealhost_counter_ref *counter,
                     uint64_t *value_out) {
    (void)instance, (void)counter;
    *value_out = 1;
    return OK;
}

static int32_t destroy(sealhost_instance *instance, const sealhost_counter_ref *counter) {
    (void)instance, (void)counter;
    return OK;
}

EXPORT(.open = open_it,
       .info = info,
       .counter_create = create,
       .counter_increment = increment,
       .counter_read = value,
       .counter_destroy = destroy)
