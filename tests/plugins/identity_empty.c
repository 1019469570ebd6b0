/* Gives no identity. */

#include "provider.h"

static int32_t open_device(const sealhost_parameter *settings, size_t settings_count,
                           const sealhost_parameter *secrets, size_t secrets_count,
                           const uint8_t *identity, size_t identity_len,
                           uint8_t *identity_out, size_t *identity_out_len,
                           sealhost_instance **instance_out) {
    int32_t status = good_open(settings, settings_count, secrets, secrets_count, identity, identity_len,
                               identity_out, identity_out_len, instance_out);
    *identity_out_len = 0;
    return status;
}

EXPORT(.open = open_device)
