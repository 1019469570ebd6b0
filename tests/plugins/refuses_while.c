/* Refuses our PIN while the file of the setting `while` is there: in `open`, and when asked to test
 * itself or for a mac key's MAC. */

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "provider.h"

static char path[256];

static int32_t refusal(void) {
    return access(path, F_OK) == 0 ? fail(SEALHOST_ERROR_DEVICE_AUTH, "the device says no") : OK;
}

static int32_t open_device(const sealhost_parameter *settings, size_t settings_count,
                           const sealhost_parameter *secrets, size_t secrets_count,
                           const uint8_t *identity, size_t identity_len,
                           uint8_t *identity_out, size_t *identity_out_len,
                           sealhost_instance **instance_out) {
    const sealhost_parameter *file = setting(settings, settings_count, "while");
    if (file != NULL && file->value_len < sizeof path) {
        memcpy(path, file->value, file->value_len);
    }
    int32_t status = refusal();
    if (status != OK) {
        return status;
    }
    return open_without("while", settings, settings_count, secrets, secrets_count, identity,
                        identity_len, identity_out, identity_out_len, instance_out);
}

static int32_t self_test(sealhost_instance *instance) {
    int32_t status = refusal();
    return status == OK ? good_self_test(instance) : status;
}

static int32_t mac(sealhost_instance *instance, const sealhost_key_ref *key,
                   const uint8_t *input, size_t input_len, uint8_t *mac_out) {
    int32_t status = key->usage == SEALHOST_USAGE_MAC ? refusal() : OK;
    return status == OK ? good_mac(instance, key, input, input_len, mac_out) : status;
}

EXPORT(.open = open_device, .self_test = self_test, .mac = mac)
