/* Claims counters, and lacks one of their four functions. */

#include "provider.h"

static int32_t info(sealhost_instance *instance, sealhost_info *info_out) {
    int32_t status = good_info(instance, info_out);
    info_out->capabilities |= SEALHOST_CAPABILITY_COUNTER;
    return status;
}

static int32_t create(sealhost_instance *instance, const uint8_t *id, uint8_t *blob_out,
                      size_t *blob_out_len, uint64_t *value_out) {
    (void)instance, (void)id, (void)blob_out, (void)blob_out_len, (void)value_out;
    return OK;
}

static int32_t value(sealhost_instance *instance, const sealhost_counter_ref *counter,
                     uint64_t *value_out) {
    (void)instance, (void)counter, (void)value_out;
    return OK;
}

EXPORT(.info = info, .counter_create = create, .counter_increment = value, .counter_read = value)
