/* The contract between Sealhost and a crypto provider plugin, version 1.
 *
 * docs/abi.md is the normative text. Made from provider-core/src by tests/tests/header.rs; not
 * to be changed by hand.
 */

#ifndef SEALHOST_PROVIDER_H
#define SEALHOST_PROVIDER_H

#include <stddef.h>
#include <stdint.h>

/**
 * One opened device; only the plugin knows what is behind the pointer.
 */
typedef struct sealhost_instance sealhost_instance;

/**
 * First field of a `Table`: the bytes `SEALHOST` as a big-endian number.
 */
#define SEALHOST_MAGIC 6000273874427532116

/**
 * The version of this contract.
 */
#define SEALHOST_ABI_VERSION 1

/**
 * Capability bit: generates seal keys.
 */
#define SEALHOST_CAPABILITY_SEAL 1

/**
 * Capability bit: generates mac keys.
 */
#define SEALHOST_CAPABILITY_MAC 2

/**
 * Capability bit: imports mac keys.
 */
#define SEALHOST_CAPABILITY_IMPORT_MAC 4

/**
 * Capability bit: generates sign keys.
 */
#define SEALHOST_CAPABILITY_SIGN 8

/**
 * Capability bit: binds keys to the state of the machine.
 */
#define SEALHOST_CAPABILITY_STATE_BINDING 16

/**
 * Capability bit: every function but `open`, `close` and `self_test` answers in microseconds of
 * computing and waits for nothing, so that it may be called where waiting is not allowed.
 */
#define SEALHOST_CAPABILITY_NEVER_WAITS 32

/**
 * Capability bit: keeps monotonic counters.
 */
#define SEALHOST_CAPABILITY_COUNTER 64

/**
 * Capability bit: generates and imports aead keys, and uses them inside the device.
 */
#define SEALHOST_CAPABILITY_AEAD 128

/**
 * Capability bit: generates and imports aead keys that a key of the device wraps, and uses them in
 * the memory of the process that the provider runs in.
 */
#define SEALHOST_CAPABILITY_AEAD_WRAPPED 256

/**
 * Capability bit: generates rsa keys of 2,048 bits.
 */
#define SEALHOST_CAPABILITY_RSA_2048 512

/**
 * Capability bit: generates rsa keys of 4,096 bits.
 */
#define SEALHOST_CAPABILITY_RSA_4096 1024

/**
 * Capability bit: imports sign keys.
 */
#define SEALHOST_CAPABILITY_IMPORT_SIGN 2048

/**
 * Bit of `Condition::known`: `auth_failures`.
 */
#define SEALHOST_CONDITION_KNOWS_FAILURES 1

/**
 * Bit of `Condition::known`: `auth_failures_max`.
 */
#define SEALHOST_CONDITION_KNOWS_FAILURES_MAX 2

/**
 * Bit of `Condition::known`: `recovery_seconds`.
 */
#define SEALHOST_CONDITION_KNOWS_RECOVERY 4

/**
 * Bytes of `Info::kind` with its closing zero.
 */
#define SEALHOST_KIND_BYTES 32

/**
 * Bytes of `Info::manufacturer` and `Info::firmware` with the closing zero.
 */
#define SEALHOST_NAME_BYTES 65

/**
 * Bytes of `Info::notes` and `Condition::notes` with the closing zero.
 */
#define SEALHOST_NOTES_BYTES 257

/**
 * Longest key blob, bytes.
 */
#define SEALHOST_BLOB_MAX_BYTES 4096

/**
 * Longest identity blob, bytes.
 */
#define SEALHOST_IDENTITY_MAX_BYTES 1024

/**
 * Longest input of one HMAC, bytes: what TPM2_HMAC takes in one command.
 */
#define SEALHOST_MAC_INPUT_MAX_BYTES 1024

/**
 * Longest imported HMAC key, bytes.
 */
#define SEALHOST_IMPORT_MAX_BYTES 1024

/**
 * Most random bytes of one call.
 */
#define SEALHOST_RANDOM_MAX_BYTES 1024

/**
 * Longest name of what a secret is shown to, bytes.
 */
#define SEALHOST_SUBJECT_MAX_BYTES 256

/**
 * Longest text of needs, bytes.
 */
#define SEALHOST_NEEDS_MAX_BYTES 4096

/**
 * Longest text of a state binding, bytes.
 */
#define SEALHOST_STATE_MAX_BYTES 256

/**
 * Longest error detail, bytes; a longer one is cut.
 */
#define SEALHOST_DETAIL_MAX_BYTES 1024

/**
 * Longest initialization vector of an `Aead` key, bytes; the shortest is one byte.
 */
#define SEALHOST_AEAD_IV_MAX_BYTES 128

/**
 * Longest associated data of an `Aead` key, bytes.
 */
#define SEALHOST_AEAD_AAD_MAX_BYTES 8192

/**
 * Longest plaintext of an `Aead` key, bytes; the ciphertext is as long, and the tag stands behind.
 */
#define SEALHOST_AEAD_TEXT_MAX_BYTES 32768

/**
 * Bytes of a tag of AES-256-GCM.
 */
#define SEALHOST_AEAD_TAG_BYTES 16

/**
 * Bytes of an `Aead` key.
 */
#define SEALHOST_AEAD_KEY_BYTES 32

/**
 * Bytes of the private half of a P-256 key, a big-endian number.
 */
#define SEALHOST_PRIVATE_KEY_BYTES 32

/**
 * Longest modulus of an RSA key, bytes.
 */
#define SEALHOST_RSA_MAX_BYTES 512

/**
 * Bytes of one HMAC-SHA256.
 */
#define SEALHOST_MAC_BYTES 32

/**
 * Bytes of an uncompressed P-256 point (SEC 1 section 2.3.3).
 */
#define SEALHOST_PUBLIC_KEY_BYTES 65

/**
 * Bytes of a P-256 signature, r and s of 32 bytes each.
 */
#define SEALHOST_SIGNATURE_BYTES 64

/**
 * What a key is for. Usages exclude each other for the life of the key.
 */
enum sealhost_usage
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * Derives key-encryption keys for envelopes.
     */
    SEALHOST_USAGE_SEAL = 1,
    /**
     * Computes MACs for callers.
     */
    SEALHOST_USAGE_MAC = 2,
    /**
     * Signs digests for callers.
     */
    SEALHOST_USAGE_SIGN = 3,
    /**
     * Encrypts and decrypts for callers who give the initialization vector themselves.
     */
    SEALHOST_USAGE_AEAD = 4,
    /**
     * Does the bare private-key operation of RSA for callers who pad and hash themselves.
     */
    SEALHOST_USAGE_RSA = 5,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum sealhost_usage sealhost_usage;
#else
typedef uint32_t sealhost_usage;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * How a key computes.
 */
enum sealhost_algorithm
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * HMAC with SHA-256, RFC 2104 and FIPS 180-4. For `Seal` and `Mac`.
     */
    SEALHOST_ALGORITHM_HMAC_SHA256 = 1,
    /**
     * ECDSA on P-256 over a SHA-256 digest, FIPS 186-5. For `Sign`.
     */
    SEALHOST_ALGORITHM_ECDSA_P256 = 2,
    /**
     * AES-256-GCM with a tag of 16 bytes, NIST SP 800-38D. For `Aead`.
     */
    SEALHOST_ALGORITHM_AES256_GCM = 3,
    /**
     * RSA with a modulus of 2,048 bits and the exponent 65,537, RFC 8017 section 5.2. For `Rsa`.
     */
    SEALHOST_ALGORITHM_RSA2048 = 4,
    /**
     * RSA with a modulus of 4,096 bits and the exponent 65,537. For `Rsa`.
     */
    SEALHOST_ALGORITHM_RSA4096 = 5,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum sealhost_algorithm sealhost_algorithm;
#else
typedef uint32_t sealhost_algorithm;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * What stands behind a key, in ascending order.
 */
enum sealhost_protection
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * Key bytes are in this machine's memory and disk.
     */
    SEALHOST_PROTECTION_SOFTWARE = 1,
    /**
     * A device interface over software, or a device nobody vouched for.
     */
    SEALHOST_PROTECTION_EMULATED = 2,
    /**
     * A chip or module that keeps the key to itself.
     */
    SEALHOST_PROTECTION_HARDWARE = 3,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum sealhost_protection sealhost_protection;
#else
typedef uint32_t sealhost_protection;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * How near a device is to refusing every authorization.
 */
enum sealhost_standing
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * No failed authorization is remembered.
     */
    SEALHOST_STANDING_CALM = 1,
    /**
     * Some are.
     */
    SEALHOST_STANDING_TRIES_USED = 2,
    /**
     * One more locks the device.
     */
    SEALHOST_STANDING_LAST_TRY = 3,
    /**
     * It is locked: it refuses, right or wrong.
     */
    SEALHOST_STANDING_LOCKED = 4,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum sealhost_standing sealhost_standing;
#else
typedef uint32_t sealhost_standing;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * What went wrong, in words that every device has. Numbers are those of `docs/abi.md`.
 */
enum sealhost_error
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * An argument or setting is wrong.
     */
    SEALHOST_ERROR_INVALID_PARAMETER = 1,
    /**
     * The device cannot do it.
     */
    SEALHOST_ERROR_UNSUPPORTED = 2,
    /**
     * An input is past its limit.
     */
    SEALHOST_ERROR_TOO_LARGE = 3,
    /**
     * The device has no such key.
     */
    SEALHOST_ERROR_KEY_NOT_FOUND = 4,
    /**
     * The device already has a key of that id.
     */
    SEALHOST_ERROR_KEY_EXISTS = 5,
    /**
     * The machine is not in the state the key is bound to.
     */
    SEALHOST_ERROR_STATE_MISMATCH = 6,
    /**
     * Something was altered: a blob, an object, an answer.
     */
    SEALHOST_ERROR_INTEGRITY = 7,
    /**
     * The device cannot take the call now and will soon.
     */
    SEALHOST_ERROR_BUSY = 8,
    /**
     * The device refused our PIN or authorization.
     */
    SEALHOST_ERROR_DEVICE_AUTH = 9,
    /**
     * The device is in dictionary-attack lockout.
     */
    SEALHOST_ERROR_LOCKED_OUT = 10,
    /**
     * The device does not answer or is not there.
     */
    SEALHOST_ERROR_DEVICE_GONE = 11,
    /**
     * The device has no room (slots, sessions, memory).
     */
    SEALHOST_ERROR_EXHAUSTED = 12,
    /**
     * A fault of the provider, or a status it does not know.
     */
    SEALHOST_ERROR_INTERNAL = 13,
    /**
     * The provider panicked and is retired.
     */
    SEALHOST_ERROR_PANICKED = 14,
    /**
     * The key or identity belongs to another device.
     */
    SEALHOST_ERROR_WRONG_DEVICE = 15,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum sealhost_error sealhost_error;
#else
typedef uint32_t sealhost_error;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * One setting or secret: UTF-8 key, arbitrary value, neither closed by a zero.
 */
typedef struct sealhost_parameter {
    /**
     * The key.
     */
    const uint8_t *key;
    /**
     * Its length, bytes.
     */
    size_t key_len;
    /**
     * The value.
     */
    const uint8_t *value;
    /**
     * Its length, bytes.
     */
    size_t value_len;
} sealhost_parameter;

/**
 * What a provider says of its device. Texts are printable UTF-8 closed by a zero.
 */
typedef struct sealhost_info {
    /**
     * Size of this struct as the host knows it, bytes; set by the host before the call.
     */
    uint32_t size;
    /**
     * 1 software, 2 emulated, 3 hardware.
     */
    uint32_t protection;
    /**
     * Capability bits; unknown ones are ignored.
     */
    uint64_t capabilities;
    /**
     * How many threads may be inside the instance at once, from 1.
     */
    uint32_t concurrency;
    /**
     * The sort of provider, one lower-case word.
     */
    uint8_t kind[SEALHOST_KIND_BYTES];
    /**
     * Who made the device.
     */
    uint8_t manufacturer[SEALHOST_NAME_BYTES];
    /**
     * Firmware or library version.
     */
    uint8_t firmware[SEALHOST_NAME_BYTES];
    /**
     * What the operator should know of this opening.
     */
    uint8_t notes[SEALHOST_NOTES_BYTES];
} sealhost_info;

/**
 * What a new key shall be.
 */
typedef struct sealhost_key_spec {
    /**
     * Size of this struct as the host knows it, bytes.
     */
    uint32_t size;
    /**
     * Usage number: 1 seal, 2 mac, 3 sign, 4 aead, 5 rsa.
     */
    uint32_t usage;
    /**
     * Algorithm number: 1 HMAC-SHA256, 2 ECDSA P-256, 3 AES-256-GCM, 4 RSA 2,048, 5 RSA 4,096.
     */
    uint32_t algorithm;
    /**
     * The key's name on the device, drawn by the host.
     */
    uint8_t id[16];
    /**
     * Text of the state binding, at most 256 bytes; NULL for none.
     */
    const uint8_t *state;
    /**
     * Its length, bytes.
     */
    size_t state_len;
} sealhost_key_spec;

/**
 * A key as every key verb names it.
 */
typedef struct sealhost_key_ref {
    /**
     * Size of this struct as the host knows it, bytes.
     */
    uint32_t size;
    /**
     * Usage number that the caller takes the key for.
     */
    uint32_t usage;
    /**
     * The id that the key was made with.
     */
    uint8_t id[16];
    /**
     * The blob that `generate` or `import_key` gave.
     */
    const uint8_t *blob;
    /**
     * Its length, bytes.
     */
    size_t blob_len;
} sealhost_key_ref;

/**
 * A counter as every counter function but `counter_create` names it.
 */
typedef struct sealhost_counter_ref {
    /**
     * Size of this struct as the host knows it, bytes.
     */
    uint32_t size;
    /**
     * The id that the counter was made with.
     */
    uint8_t id[16];
    /**
     * The blob that `counter_create` gave.
     */
    const uint8_t *blob;
    /**
     * Its length, bytes.
     */
    size_t blob_len;
} sealhost_counter_ref;

/**
 * What a device says of failed authorizations. The text is printable UTF-8 closed by a zero.
 */
typedef struct sealhost_condition {
    /**
     * Size of this struct as the host knows it, bytes; set by the host before the call.
     */
    uint32_t size;
    /**
     * 1 none remembered, 2 some remembered, 3 one more locks the device, 4 locked.
     */
    uint32_t standing;
    /**
     * Which of the three numbers below the device tells: `CONDITION_KNOWS_` bits.
     */
    uint32_t known;
    /**
     * Failed authorizations that are remembered.
     */
    uint32_t auth_failures;
    /**
     * How many of them lock the device.
     */
    uint32_t auth_failures_max;
    /**
     * At most how many seconds until a lockout is over, or until one failure is forgotten.
     */
    uint32_t recovery_seconds;
    /**
     * What the operator should know besides.
     */
    uint8_t notes[SEALHOST_NOTES_BYTES];
} sealhost_condition;

/**
 * What an aead key is given, beside the key.
 */
typedef struct sealhost_aead_input {
    /**
     * Size of this struct as the host knows it, bytes.
     */
    uint32_t size;
    /**
     * The initialization vector.
     */
    const uint8_t *iv;
    /**
     * Its length, 1 to 128 bytes.
     */
    size_t iv_len;
    /**
     * What is authenticated beside the text.
     */
    const uint8_t *aad;
    /**
     * Its length, at most 8,192 bytes.
     */
    size_t aad_len;
    /**
     * The plaintext to encrypt, or the ciphertext and its tag of 16 bytes to decrypt.
     */
    const uint8_t *text;
    /**
     * Its length: at most 32,768 bytes, and the tag.
     */
    size_t text_len;
} sealhost_aead_input;

/**
 * A provider as a table of functions. All but `public_key`, `sign`, `auth_subject`, those of
 * counters, `needs`, `condition`, and those of aead and rsa keys are required.
 */
typedef struct sealhost_table {
    /**
     * `MAGIC`.
     */
    uint64_t magic;
    /**
     * Size of the table that the plugin was built with, bytes.
     */
    uint32_t size;
    /**
     * `ABI_VERSION` that the plugin was built with.
     */
    uint32_t abi_version;
    /**
     * Opens the device. `identity` is what an earlier opening gave, length 0 for none. Writes
     * the identity (capacity 1,024 bytes), its length and the instance.
     */
    int32_t (*open)(const struct sealhost_parameter *settings,
                    size_t settings_count,
                    const struct sealhost_parameter *secrets,
                    size_t secrets_count,
                    const uint8_t *identity,
                    size_t identity_len,
                    uint8_t *identity_out,
                    size_t *identity_out_len,
                    sealhost_instance **instance_out);
    /**
     * Ends an instance; no other call is inside it or follows.
     */
    void (*close)(sealhost_instance *instance);
    /**
     * Describes the device, from memory.
     */
    int32_t (*info)(sealhost_instance *instance, struct sealhost_info *info_out);
    /**
     * Runs the known answers on the device.
     */
    int32_t (*self_test)(sealhost_instance *instance);
    /**
     * Makes a key; writes its blob (capacity 4,096 bytes) and the blob's length.
     */
    int32_t (*generate)(sealhost_instance *instance,
                        const struct sealhost_key_spec *spec,
                        uint8_t *blob_out,
                        size_t *blob_out_len);
    /**
     * Imports a key: 1 to 1,024 bytes for mac, 32 bytes for aead, the 32-byte big-endian private
     * number of P-256 for sign; writes its blob as `generate` does.
     */
    int32_t (*import_key)(sealhost_instance *instance,
                          const struct sealhost_key_spec *spec,
                          const uint8_t *key,
                          size_t key_len,
                          uint8_t *blob_out,
                          size_t *blob_out_len);
    /**
     * Removes what the device keeps of a key; absent is success; the blob may be empty.
     */
    int32_t (*destroy)(sealhost_instance *instance, const struct sealhost_key_ref *key);
    /**
     * Computes HMAC-SHA256 of at most 1,024 bytes; writes 32 bytes.
     */
    int32_t (*mac)(sealhost_instance *instance,
                   const struct sealhost_key_ref *key,
                   const uint8_t *input,
                   size_t input_len,
                   uint8_t *mac_out);
    /**
     * Writes `length` random bytes, at most 1,024.
     */
    int32_t (*random)(sealhost_instance *instance, size_t length, uint8_t *random_out);
    /**
     * Copies at most `capacity` bytes of the detail of this thread's last failure, as UTF-8
     * without a closing zero, and writes how many.
     */
    void (*last_error)(uint8_t *detail_out, size_t capacity, size_t *detail_out_len);
    /**
     * Writes the 65-byte uncompressed point of a sign key. May be absent.
     */
    int32_t (*public_key)(sealhost_instance *instance,
                          const struct sealhost_key_ref *key,
                          uint8_t *point_out);
    /**
     * Signs a 32-byte digest; writes r and s, 64 bytes. May be absent.
     */
    int32_t (*sign)(sealhost_instance *instance,
                    const struct sealhost_key_ref *key,
                    const uint8_t *digest,
                    uint8_t *signature_out);
    /**
     * Names what `open` with these settings would show its PIN to, without showing it; writes the
     * name (capacity 256 bytes) and its length, 0 for nothing. May be absent.
     */
    int32_t (*auth_subject)(const struct sealhost_parameter *settings,
                            size_t settings_count,
                            uint8_t *subject_out,
                            size_t *subject_out_len);
    /**
     * Makes a counter of a 16-byte id; writes its blob (capacity 4,096 bytes), the blob's length
     * and the first value, at least 1. May be absent.
     */
    int32_t (*counter_create)(sealhost_instance *instance,
                              const uint8_t *id,
                              uint8_t *blob_out,
                              size_t *blob_out_len,
                              uint64_t *value_out);
    /**
     * Raises a counter; writes a value greater than every one before. May be absent.
     */
    int32_t (*counter_increment)(sealhost_instance *instance,
                                 const struct sealhost_counter_ref *counter,
                                 uint64_t *value_out);
    /**
     * Writes a counter's value. May be absent.
     */
    int32_t (*counter_read)(sealhost_instance *instance,
                            const struct sealhost_counter_ref *counter,
                            uint64_t *value_out);
    /**
     * Removes a counter; absent is success; the blob may be empty. May be absent.
     */
    int32_t (*counter_destroy)(sealhost_instance *instance,
                               const struct sealhost_counter_ref *counter);
    /**
     * Says what `open` with these settings needs of the machine, without opening a device; writes
     * lines of text (capacity 4,096 bytes) and their length, 0 for nothing. May be absent.
     */
    int32_t (*needs)(const struct sealhost_parameter *settings,
                     size_t settings_count,
                     uint8_t *text_out,
                     size_t *text_out_len);
    /**
     * Says how near the device is to refusing authorizations, without trying one. May be absent.
     */
    int32_t (*condition)(sealhost_instance *instance, struct sealhost_condition *condition_out);
    /**
     * Encrypts with an aead key; writes the ciphertext and its tag (capacity `text_len` + 16
     * bytes) and the length of both together. May be absent.
     */
    int32_t (*aead_encrypt)(sealhost_instance *instance,
                            const struct sealhost_key_ref *key,
                            const struct sealhost_aead_input *input,
                            uint8_t *sealed_out,
                            size_t *sealed_out_len);
    /**
     * Decrypts with an aead key; writes the plaintext (capacity `text_len` bytes) and its length.
     * May be absent.
     */
    int32_t (*aead_decrypt)(sealhost_instance *instance,
                            const struct sealhost_key_ref *key,
                            const struct sealhost_aead_input *input,
                            uint8_t *text_out,
                            size_t *text_out_len);
    /**
     * Writes the modulus of an rsa key, big-endian (capacity 512 bytes), and its length. May be
     * absent.
     */
    int32_t (*rsa_public)(sealhost_instance *instance,
                          const struct sealhost_key_ref *key,
                          uint8_t *modulus_out,
                          size_t *modulus_out_len);
    /**
     * Raises a number as long as the modulus to the private exponent of an rsa key; writes the
     * result (capacity 512 bytes) and its length. May be absent.
     */
    int32_t (*rsa_private)(sealhost_instance *instance,
                           const struct sealhost_key_ref *key,
                           const uint8_t *input,
                           size_t input_len,
                           uint8_t *result_out,
                           size_t *result_out_len);
} sealhost_table;

/**
 * The exported function: given the version that the host speaks, it returns the table, which
 * lives as long as the process, or NULL when the plugin does not speak that version.
 */
typedef const struct sealhost_table *(*sealhost_entry)(uint32_t host_abi_version);

/**
 * What every MAC input of a seal key begins with: 16 bytes, the closing zero included.
 */
#define SEALHOST_SEAL_LABEL "sealhost/seal/1"

#ifdef __cplusplus
extern "C"
#endif
/**
 * The one symbol that a plugin exports.
 */
const sealhost_table *sealhost_provider(uint32_t host_abi_version);

#endif
