/* Opens, and crashes soon after in a thread of its own. */

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include "provider.h"

static void *die(void *nothing) {
    usleep(20000);
    raise(SIGABRT);
    return nothing;
}

static int32_t open_device(const sealhost_parameter *settings, size_t settings_count,
                           const sealhost_parameter *secrets, size_t secrets_count,
                           const uint8_t *identity, size_t identity_len,
                           uint8_t *identity_out, size_t *identity_out_len,
                           sealhost_instance **instance_out) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, die, NULL) != 0) {
        return fail(SEALHOST_ERROR_EXHAUSTED, "no thread");
    }
    return good_open(settings, settings_count, secrets, secrets_count, identity, identity_len,
                     identity_out, identity_out_len, instance_out);
}

EXPORT(.open = open_device)
