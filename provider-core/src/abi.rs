//! The contract as C types, version 1. `docs/abi.md` is the normative page.
//! `sealhost_provider.h`, made from this file and the numbers in `key` and `error`, is what a
//! provider in C includes.
//!
//! Rules for every function:
//!
//! 1. Inputs are a const pointer and a length; a pointer may be NULL only with length 0. They
//!    are valid for the call and no longer.
//! 2. Outputs come last, are memory of the caller, and are written only on success.
//! 3. The result is 0 or the number of an [`ErrorKind`](crate::ErrorKind). After a failure
//!    `last_error`, on the same thread, tells more for the operator's log.
//! 4. No exception, panic or signal crosses; nothing is allocated on one side and freed on the
//!    other.
//! 5. An instance takes calls from as many threads at once as its `concurrency` says.
//! 6. Fields are only ever appended; `size` says how far a side's table or struct reaches, and a
//!    function that is absent or NULL is unsupported.

// The header is made from these types; their names there carry the prefix `sealhost_`.

/// First field of a [`Table`]: the bytes `SEALHOST` as a big-endian number.
pub const MAGIC: u64 = 0x5345_414C_484F_5354;
/// The version of this contract.
pub const ABI_VERSION: u32 = 1;
/// The symbol that a plugin exports, an [`Entry`].
pub const ENTRY_SYMBOL: &str = "sealhost_provider";

/// Capability bit: generates seal keys.
pub const CAPABILITY_SEAL: u64 = 1;
/// Capability bit: generates mac keys.
pub const CAPABILITY_MAC: u64 = 2;
/// Capability bit: imports mac keys.
pub const CAPABILITY_IMPORT_MAC: u64 = 4;
/// Capability bit: generates sign keys.
pub const CAPABILITY_SIGN: u64 = 8;
/// Capability bit: binds keys to the state of the machine.
pub const CAPABILITY_STATE_BINDING: u64 = 16;
/// Capability bit: every function but `open`, `close` and `self_test` answers in microseconds of
/// computing and waits for nothing, so that it may be called where waiting is not allowed.
pub const CAPABILITY_NEVER_WAITS: u64 = 32;
/// Capability bit: keeps monotonic counters.
pub const CAPABILITY_COUNTER: u64 = 64;
/// Capability bit: generates and imports aead keys, and uses them inside the device.
pub const CAPABILITY_AEAD: u64 = 128;
/// Capability bit: generates and imports aead keys that a key of the device wraps, and uses them in
/// the memory of the process that the provider runs in.
pub const CAPABILITY_AEAD_WRAPPED: u64 = 256;
/// Capability bit: generates rsa keys of 2,048 bits.
pub const CAPABILITY_RSA_2048: u64 = 512;
/// Capability bit: generates rsa keys of 4,096 bits.
pub const CAPABILITY_RSA_4096: u64 = 1024;
/// Capability bit: imports sign keys.
pub const CAPABILITY_IMPORT_SIGN: u64 = 2048;

/// Bit of [`Condition::known`]: `auth_failures`.
pub const CONDITION_KNOWS_FAILURES: u32 = 1;
/// Bit of [`Condition::known`]: `auth_failures_max`.
pub const CONDITION_KNOWS_FAILURES_MAX: u32 = 2;
/// Bit of [`Condition::known`]: `recovery_seconds`.
pub const CONDITION_KNOWS_RECOVERY: u32 = 4;

/// Bytes of [`Info::kind`] with its closing zero.
pub const KIND_BYTES: usize = 32;
/// Bytes of [`Info::manufacturer`] and [`Info::firmware`] with the closing zero.
pub const NAME_BYTES: usize = 65;
/// Bytes of [`Info::notes`] and [`Condition::notes`] with the closing zero.
pub const NOTES_BYTES: usize = 257;

/// The exported function: given the version that the host speaks, it returns the table, which
/// lives as long as the process, or NULL when the plugin does not speak that version.
pub type Entry = unsafe extern "C" fn(host_abi_version: u32) -> *const Table;

/// One opened device; only the plugin knows what is behind the pointer.
#[repr(C)]
#[derive(Debug)]
pub struct Instance {
    _private: [u8; 0],
}

/// One setting or secret: UTF-8 key, arbitrary value, neither closed by a zero.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Parameter {
    /// The key.
    pub key: *const u8,
    /// Its length, bytes.
    pub key_len: usize,
    /// The value.
    pub value: *const u8,
    /// Its length, bytes.
    pub value_len: usize,
}

/// What a new key shall be.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct KeySpec {
    /// Size of this struct as the host knows it, bytes.
    pub size: u32,
    /// Usage number: 1 seal, 2 mac, 3 sign, 4 aead, 5 rsa.
    pub usage: u32,
    /// Algorithm number: 1 HMAC-SHA256, 2 ECDSA P-256, 3 AES-256-GCM, 4 RSA 2,048, 5 RSA 4,096.
    pub algorithm: u32,
    /// The key's name on the device, drawn by the host.
    pub id: [u8; 16],
    /// Text of the state binding, at most 256 bytes; NULL for none.
    pub state: *const u8,
    /// Its length, bytes.
    pub state_len: usize,
}

/// A key as every key verb names it.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct KeyRef {
    /// Size of this struct as the host knows it, bytes.
    pub size: u32,
    /// Usage number that the caller takes the key for.
    pub usage: u32,
    /// The id that the key was made with.
    pub id: [u8; 16],
    /// The blob that `generate` or `import_key` gave.
    pub blob: *const u8,
    /// Its length, bytes.
    pub blob_len: usize,
}

/// A counter as every counter function but `counter_create` names it.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct CounterRef {
    /// Size of this struct as the host knows it, bytes.
    pub size: u32,
    /// The id that the counter was made with.
    pub id: [u8; 16],
    /// The blob that `counter_create` gave.
    pub blob: *const u8,
    /// Its length, bytes.
    pub blob_len: usize,
}

/// What an aead key is given, beside the key.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct AeadInput {
    /// Size of this struct as the host knows it, bytes.
    pub size: u32,
    /// The initialization vector.
    pub iv: *const u8,
    /// Its length, 1 to 128 bytes.
    pub iv_len: usize,
    /// What is authenticated beside the text.
    pub aad: *const u8,
    /// Its length, at most 8,192 bytes.
    pub aad_len: usize,
    /// The plaintext to encrypt, or the ciphertext and its tag of 16 bytes to decrypt.
    pub text: *const u8,
    /// Its length: at most 32,768 bytes, and the tag.
    pub text_len: usize,
}

/// What a provider says of its device. Texts are printable UTF-8 closed by a zero.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Info {
    /// Size of this struct as the host knows it, bytes; set by the host before the call.
    pub size: u32,
    /// 1 software, 2 emulated, 3 hardware.
    pub protection: u32,
    /// Capability bits; unknown ones are ignored.
    pub capabilities: u64,
    /// How many threads may be inside the instance at once, from 1.
    pub concurrency: u32,
    /// The sort of provider, one lower-case word.
    pub kind: [u8; KIND_BYTES],
    /// Who made the device.
    pub manufacturer: [u8; NAME_BYTES],
    /// Firmware or library version.
    pub firmware: [u8; NAME_BYTES],
    /// What the operator should know of this opening.
    pub notes: [u8; NOTES_BYTES],
}

/// What a device says of failed authorizations. The text is printable UTF-8 closed by a zero.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Condition {
    /// Size of this struct as the host knows it, bytes; set by the host before the call.
    pub size: u32,
    /// 1 none remembered, 2 some remembered, 3 one more locks the device, 4 locked.
    pub standing: u32,
    /// Which of the three numbers below the device tells: `CONDITION_KNOWS_` bits.
    pub known: u32,
    /// Failed authorizations that are remembered.
    pub auth_failures: u32,
    /// How many of them lock the device.
    pub auth_failures_max: u32,
    /// At most how many seconds until a lockout is over, or until one failure is forgotten.
    pub recovery_seconds: u32,
    /// What the operator should know besides.
    pub notes: [u8; NOTES_BYTES],
}

/// A provider as a table of functions. All but `public_key`, `sign`, `auth_subject`, those of
/// counters, `needs`, `condition`, and those of aead and rsa keys are required.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Table {
    /// [`MAGIC`].
    pub magic: u64,
    /// Size of the table that the plugin was built with, bytes.
    pub size: u32,
    /// [`ABI_VERSION`] that the plugin was built with.
    pub abi_version: u32,
    /// Opens the device. `identity` is what an earlier opening gave, length 0 for none. Writes
    /// the identity (capacity 1,024 bytes), its length and the instance.
    pub open: Option<
        unsafe extern "C" fn(
            settings: *const Parameter,
            settings_count: usize,
            secrets: *const Parameter,
            secrets_count: usize,
            identity: *const u8,
            identity_len: usize,
            identity_out: *mut u8,
            identity_out_len: *mut usize,
            instance_out: *mut *mut Instance,
        ) -> i32,
    >,
    /// Ends an instance; no other call is inside it or follows.
    pub close: Option<unsafe extern "C" fn(instance: *mut Instance)>,
    /// Describes the device, from memory.
    pub info: Option<unsafe extern "C" fn(instance: *mut Instance, info_out: *mut Info) -> i32>,
    /// Runs the known answers on the device.
    pub self_test: Option<unsafe extern "C" fn(instance: *mut Instance) -> i32>,
    /// Makes a key; writes its blob (capacity 4,096 bytes) and the blob's length.
    pub generate: Option<
        unsafe extern "C" fn(
            instance: *mut Instance,
            spec: *const KeySpec,
            blob_out: *mut u8,
            blob_out_len: *mut usize,
        ) -> i32,
    >,
    /// Imports a key: 1 to 1,024 bytes for mac, 32 bytes for aead, the 32-byte big-endian private
    /// number of P-256 for sign; writes its blob as `generate` does.
    pub import_key: Option<
        unsafe extern "C" fn(
            instance: *mut Instance,
            spec: *const KeySpec,
            key: *const u8,
            key_len: usize,
            blob_out: *mut u8,
            blob_out_len: *mut usize,
        ) -> i32,
    >,
    /// Removes what the device keeps of a key; absent is success; the blob may be empty.
    pub destroy: Option<unsafe extern "C" fn(instance: *mut Instance, key: *const KeyRef) -> i32>,
    /// Computes HMAC-SHA256 of at most 1,024 bytes; writes 32 bytes.
    pub mac: Option<
        unsafe extern "C" fn(
            instance: *mut Instance,
            key: *const KeyRef,
            input: *const u8,
            input_len: usize,
            mac_out: *mut u8,
        ) -> i32,
    >,
    /// Writes `length` random bytes, at most 1,024.
    pub random: Option<
        unsafe extern "C" fn(instance: *mut Instance, length: usize, random_out: *mut u8) -> i32,
    >,
    /// Copies at most `capacity` bytes of the detail of this thread's last failure, as UTF-8
    /// without a closing zero, and writes how many.
    pub last_error: Option<
        unsafe extern "C" fn(detail_out: *mut u8, capacity: usize, detail_out_len: *mut usize),
    >,
    /// Writes the 65-byte uncompressed point of a sign key. May be absent.
    pub public_key: Option<
        unsafe extern "C" fn(
            instance: *mut Instance,
            key: *const KeyRef,
            point_out: *mut u8,
        ) -> i32,
    >,
    /// Signs a 32-byte digest; writes r and s, 64 bytes. May be absent.
    pub sign: Option<
        unsafe extern "C" fn(
            instance: *mut Instance,
            key: *const KeyRef,
            digest: *const u8,
            signature_out: *mut u8,
        ) -> i32,
    >,
    /// Names what `open` with these settings would show its PIN to, without showing it; writes the
    /// name (capacity 256 bytes) and its length, 0 for nothing. May be absent.
    pub auth_subject: Option<
        unsafe extern "C" fn(
            settings: *const Parameter,
            settings_count: usize,
            subject_out: *mut u8,
            subject_out_len: *mut usize,
        ) -> i32,
    >,
    /// Makes a counter of a 16-byte id; writes its blob (capacity 4,096 bytes), the blob's length
    /// and the first value, at least 1. May be absent.
    pub counter_create: Option<
        unsafe extern "C" fn(
            instance: *mut Instance,
            id: *const u8,
            blob_out: *mut u8,
            blob_out_len: *mut usize,
            value_out: *mut u64,
        ) -> i32,
    >,
    /// Raises a counter; writes a value greater than every one before. May be absent.
    pub counter_increment: Option<
        unsafe extern "C" fn(
            instance: *mut Instance,
            counter: *const CounterRef,
            value_out: *mut u64,
        ) -> i32,
    >,
    /// Writes a counter's value. May be absent.
    pub counter_read: Option<
        unsafe extern "C" fn(
            instance: *mut Instance,
            counter: *const CounterRef,
            value_out: *mut u64,
        ) -> i32,
    >,
    /// Removes a counter; absent is success; the blob may be empty. May be absent.
    pub counter_destroy:
        Option<unsafe extern "C" fn(instance: *mut Instance, counter: *const CounterRef) -> i32>,
    /// Says what `open` with these settings needs of the machine, without opening a device; writes
    /// lines of text (capacity 4,096 bytes) and their length, 0 for nothing. May be absent.
    pub needs: Option<
        unsafe extern "C" fn(
            settings: *const Parameter,
            settings_count: usize,
            text_out: *mut u8,
            text_out_len: *mut usize,
        ) -> i32,
    >,
    /// Says how near the device is to refusing authorizations, without trying one. May be absent.
    pub condition:
        Option<unsafe extern "C" fn(instance: *mut Instance, condition_out: *mut Condition) -> i32>,
    /// Encrypts with an aead key; writes the ciphertext and its tag (capacity `text_len` + 16
    /// bytes) and the length of both together. May be absent.
    pub aead_encrypt: Option<
        unsafe extern "C" fn(
            instance: *mut Instance,
            key: *const KeyRef,
            input: *const AeadInput,
            sealed_out: *mut u8,
            sealed_out_len: *mut usize,
        ) -> i32,
    >,
    /// Decrypts with an aead key; writes the plaintext (capacity `text_len` bytes) and its length.
    /// May be absent.
    pub aead_decrypt: Option<
        unsafe extern "C" fn(
            instance: *mut Instance,
            key: *const KeyRef,
            input: *const AeadInput,
            text_out: *mut u8,
            text_out_len: *mut usize,
        ) -> i32,
    >,
    /// Writes the modulus of an rsa key, big-endian (capacity 512 bytes), and its length. May be
    /// absent.
    pub rsa_public: Option<
        unsafe extern "C" fn(
            instance: *mut Instance,
            key: *const KeyRef,
            modulus_out: *mut u8,
            modulus_out_len: *mut usize,
        ) -> i32,
    >,
    /// Raises a number as long as the modulus to the private exponent of an rsa key; writes the
    /// result (capacity 512 bytes) and its length. May be absent.
    pub rsa_private: Option<
        unsafe extern "C" fn(
            instance: *mut Instance,
            key: *const KeyRef,
            input: *const u8,
            input_len: usize,
            result_out: *mut u8,
            result_out_len: *mut usize,
        ) -> i32,
    >,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn magic_spells_the_name() {
        assert_eq!(&MAGIC.to_be_bytes(), b"SEALHOST");
    }
}
