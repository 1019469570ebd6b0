/* Refuses our PIN, and names what it was shown to by one byte more than a name may have. */

#include "provider.h"

static int32_t open_device(const sealhost_parameter *settings, size_t settings_count,
                           const sealhost_parameter *secrets, size_t secrets_count,
                           const uint8_t *identity, size_t identity_len,
                           uint8_t *identity_out, size_t *identity_out_len,
                           sealhost_instance **instance_out) {
    (void)settings, (void)settings_count, (void)secrets, (void)secrets_count, (void)identity,
        (void)identity_len, (void)identity_out, (void)identity_out_len, (void)instance_out;
    return fail(SEALHOST_ERROR_DEVICE_AUTH, "the device says no");
}

static int32_t auth_subject(const sealhost_parameter *settings, size_t settings_count,
                            uint8_t *subject_out, size_t *subject_out_len) {
    (void)settings, (void)settings_count, (void)subject_out;
    *subject_out_len = SEALHOST_SUBJECT_MAX_BYTES + 1;
    return OK;
}

EXPORT(.open = open_device, .auth_subject = auth_subject)
