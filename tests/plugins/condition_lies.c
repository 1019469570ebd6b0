/* Tells how near a lockout is: that one try is left, and no numbers, as a token does. With the
 * setting `lie` it tells a standing that there is not, or notes that nobody closed. */

#include "provider.h"

#include <string.h>

static char lie;

static int32_t open_it(const sealhost_parameter *settings, size_t settings_count,
                       const sealhost_parameter *secrets, size_t secrets_count,
                       const uint8_t *identity, size_t identity_len,
                       uint8_t *identity_out, size_t *identity_out_len,
                       sealhost_instance **instance_out) {
    const sealhost_parameter *it = setting(settings, settings_count, "lie");
    lie = it != NULL && it->value_len > 0 ? (char)it->value[0] : 0;
    return open_without("lie", settings, settings_count, secrets, secrets_count, identity,
                        identity_len, identity_out, identity_out_len, instance_out);
}

static int32_t condition(sealhost_instance *instance, sealhost_condition *condition_out) {
    (void)instance;
    condition_out->standing = lie == 's' ? 5 : SEALHOST_STANDING_LAST_TRY;
    condition_out->known = 0;
    condition_out->auth_failures = 7;
    memset(condition_out->notes, lie == 'n' ? 'x' : 0, sizeof condition_out->notes);
    if (lie == 0) {
        memcpy(condition_out->notes, "one PIN is left", 15);
    }
    return OK;
}

EXPORT(.open = open_it, .condition = condition)
