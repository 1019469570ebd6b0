/* Its `open` fails with the status of the setting `status`. */

#include "provider.h"

static int32_t open_device(const sealhost_parameter *settings, size_t settings_count,
                           const sealhost_parameter *secrets, size_t secrets_count,
                           const uint8_t *identity, size_t identity_len,
                           uint8_t *identity_out, size_t *identity_out_len,
                           sealhost_instance **instance_out) {
    const sealhost_parameter *status = setting(settings, settings_count, "status");
    int32_t number = 0;
    for (size_t i = 0; status != NULL && i < status->value_len; i++) {
        number = number * 10 + (status->value[i] - '0');
    }
    if (number != OK) {
        return fail(number, "the device says no");
    }
    return open_without("status", settings, settings_count, secrets, secrets_count, identity,
                        identity_len, identity_out, identity_out_len, instance_out);
}

EXPORT(.open = open_device)
