//! The trait that a provider implements. One method per verb, nothing else: how the verbs are
//! reached (ABI, worker, router) is not a provider's business.

use crate::condition::Condition;
use crate::error::{ErrorKind, ProviderError, Result};
use crate::key::{
    AeadInput, AuthSubject, CounterRef, Identity, Info, KeyBlob, KeyId, KeyRef, KeySpec, Mac,
    PublicKey, RsaModulus, RsaResult, Signature,
};
use crate::needs::Needs;
use crate::secret::SecretBytes;
use crate::settings::{Secrets, Settings};

/// One opened device.
///
/// The host calls an instance from at most [`Info::concurrency`] threads at a time. A call may
/// block on the device; the host bounds it with a deadline and ends the process that runs it.
/// No verb keeps state outside the device: what must survive is in the returned [`KeyBlob`].
///
/// The device's own words (register values, return codes) belong into
/// [`ProviderError::detail`], which reaches the operator's log and never a client.
pub trait Provider: Send + Sync + Sized + 'static {
    /// Opens the device and returns it with its identity.
    ///
    /// `known` is the identity that an earlier opening returned; `None` on the first one. Nothing
    /// is created on the device but what the provider itself needs (a parent key, a marker).
    ///
    /// # Errors
    /// `InvalidParameter`: a setting is unknown, missing or out of range; the detail names every
    /// faulty one. `DeviceGone`: there is no such device now. `WrongDevice`: there is one, and
    /// `known` names another. `DeviceAuth`: it refused our PIN or authorization.
    /// `Unsupported`: it cannot do what the contract demands; the detail says what is missing.
    ///
    /// # Secrets
    /// `secrets` (PIN, root key); the provider wipes what it keeps of them.
    fn open(
        settings: Settings,
        secrets: Secrets,
        known: Option<&Identity>,
    ) -> Result<(Self, Identity)>;

    /// Names what [`open`](Self::open) with these settings would show its PIN to, without showing
    /// it; `None` where a wrong one uses up nothing.
    ///
    /// The host asks before it opens an instance, so that a PIN that was refused is shown to the
    /// same device again neither by this instance nor by another, and is to another device.
    ///
    /// # Limits
    /// The name is at most [`SUBJECT_MAX_BYTES`](crate::key::SUBJECT_MAX_BYTES).
    ///
    /// # Errors
    /// Those of [`open`](Self::open).
    fn auth_subject(_settings: Settings) -> Result<Option<AuthSubject>> {
        Ok(None)
    }

    /// Says what [`open`](Self::open) with these settings, and the instance it gives, need of the
    /// machine; nothing by default. It opens no device.
    ///
    /// The host asks in a process of its own, which reads what every program reads, this library,
    /// and the paths that settings and environment name, and then runs the provider in a process
    /// that is left what it reads, what was said here, and what the operator adds.
    ///
    /// # Limits
    /// The text is at most [`NEEDS_MAX_BYTES`](crate::key::NEEDS_MAX_BYTES).
    ///
    /// # Errors
    /// Those of [`open`](Self::open); they are shown as its.
    fn needs(_settings: Settings) -> Result<Needs> {
        Ok(Needs::default())
    }

    /// Describes the device and what it can do. Answers from memory.
    fn info(&self) -> Info;

    /// Runs the known answers on the device, with keys that it leaves no trace of.
    ///
    /// # Errors
    /// `Integrity`: the device computed a wrong answer; any device error otherwise.
    fn self_test(&self) -> Result<()>;

    /// Makes a key inside the device.
    ///
    /// # Errors
    /// `Unsupported`: the usage, algorithm or state binding is not among the capabilities.
    /// `KeyExists`: the device already has an object of this id.
    fn generate(&self, spec: &KeySpec) -> Result<KeyBlob>;

    /// Brings a key into the device. With it the device computes what anybody does who has the same
    /// bytes: HMAC-SHA256 (RFC 2104), AES-256-GCM, ECDSA with the private number that they are.
    ///
    /// # Limits
    /// For `Mac`, `key` is 1 to [`IMPORT_MAX_BYTES`](crate::key::IMPORT_MAX_BYTES) bytes, else
    /// `TooLarge` or `InvalidParameter`; for `Aead` and `Sign` it is 32 bytes, else
    /// `InvalidParameter`, as is a number that is no private key of P-256.
    ///
    /// # Errors
    /// As [`generate`](Self::generate).
    ///
    /// # Secrets
    /// `key`; the caller wipes it, the provider wipes its copies.
    fn import(&self, spec: &KeySpec, key: &SecretBytes) -> Result<KeyBlob>;

    /// Removes whatever the device keeps of a key. A key that left nothing on the device, or is
    /// gone already, is a success. The blob may be empty: then the id alone names the key.
    ///
    /// # Errors
    /// Device errors only.
    fn destroy(&self, key: KeyRef<'_>) -> Result<()>;

    /// Computes HMAC-SHA256 inside the device, with a key of usage `Seal` or `Mac`.
    ///
    /// # Limits
    /// `input` is at most [`MAC_INPUT_MAX_BYTES`](crate::key::MAC_INPUT_MAX_BYTES), else `TooLarge`.
    ///
    /// # Errors
    /// `InvalidParameter`: the blob is of another usage or id, or the input breaks
    /// [label rule](crate::key::check_mac_input). `Integrity`: the blob was altered. `KeyNotFound`:
    /// the device has no such object. `WrongDevice`: the blob is another device's.
    /// `StateMismatch`: the machine's state is not the one the key is bound to.
    ///
    /// # Secrets
    /// The result, when the usage is `Seal`.
    fn mac(&self, key: KeyRef<'_>, input: &[u8]) -> Result<Mac>;

    /// Fills `out` with the device's random bytes, all of it or an error.
    ///
    /// # Limits
    /// At most [`RANDOM_MAX_BYTES`](crate::key::RANDOM_MAX_BYTES), else `TooLarge`.
    fn random(&self, out: &mut [u8]) -> Result<()>;

    /// Returns the public half of a `Sign` key.
    ///
    /// # Errors
    /// `Unsupported` where the device has no asymmetric keys; else as [`mac`](Self::mac).
    fn public_key(&self, _key: KeyRef<'_>) -> Result<PublicKey> {
        Err(ProviderError::new(ErrorKind::Unsupported, "this provider has no asymmetric keys"))
    }

    /// Signs a SHA-256 digest (ECDSA, FIPS 186-5 section 6.4) with a `Sign` key.
    ///
    /// # Errors
    /// As [`public_key`](Self::public_key).
    fn sign(&self, _key: KeyRef<'_>, _digest: &[u8; 32]) -> Result<Signature> {
        Err(ProviderError::new(ErrorKind::Unsupported, "this provider has no asymmetric keys"))
    }

    /// Encrypts with AES-256-GCM (NIST SP 800-38D section 7.1) under an `Aead` key: the ciphertext,
    /// as long as the plaintext, then the tag.
    ///
    /// The caller gives the initialization vector. Giving one twice under a key betrays both texts
    /// and lets anybody forge, and a provider cannot know: nothing but a dialect that demands it
    /// calls this.
    ///
    /// # Limits
    /// Those of [`check_aead_encrypt`](crate::key::check_aead_encrypt).
    ///
    /// # Errors
    /// `Unsupported` where the device has no such keys; else as [`mac`](Self::mac).
    ///
    /// # Secrets
    /// The plaintext.
    fn aead_encrypt(&self, _key: KeyRef<'_>, _input: AeadInput<'_>) -> Result<Vec<u8>> {
        Err(no_aead())
    }

    /// Decrypts what [`aead_encrypt`](Self::aead_encrypt) gave (NIST SP 800-38D section 7.2).
    ///
    /// # Limits
    /// Those of [`check_aead_decrypt`](crate::key::check_aead_decrypt).
    ///
    /// # Errors
    /// `Integrity`: the tag is not that of the ciphertext, the associated data and the
    /// initialization vector; nothing of the plaintext is given then. Else as `aead_encrypt`.
    ///
    /// # Secrets
    /// The plaintext.
    fn aead_decrypt(&self, _key: KeyRef<'_>, _input: AeadInput<'_>) -> Result<SecretBytes> {
        Err(no_aead())
    }

    /// Returns the modulus of an `Rsa` key.
    ///
    /// # Errors
    /// `Unsupported` where the device has no such keys; else as [`mac`](Self::mac).
    fn rsa_public(&self, _key: KeyRef<'_>) -> Result<RsaModulus> {
        Err(no_rsa())
    }

    /// Raises `input`, a big-endian number as long as the modulus and less than it, to the private
    /// exponent of an `Rsa` key (RSASP1, RFC 8017 section 5.2.1).
    ///
    /// # Errors
    /// `InvalidParameter`: the input is of another length, or not less than the modulus. Else as
    /// [`rsa_public`](Self::rsa_public).
    ///
    /// # Secrets
    /// The result, for a caller who decrypts.
    fn rsa_private(&self, _key: KeyRef<'_>, _input: &[u8]) -> Result<RsaResult> {
        Err(no_rsa())
    }

    /// Makes a monotonic counter on the device and returns its blob and its value, at least 1.
    ///
    /// The number lies in the device alone: a provider that would have to keep it in the blob or
    /// in memory has no counters.
    ///
    /// # Errors
    /// `Unsupported`: the device has none. `KeyExists`: it has one of this id. `Exhausted`: it has
    /// room for no more.
    fn counter_create(&self, _id: KeyId) -> Result<(KeyBlob, u64)> {
        Err(no_counters())
    }

    /// Raises a counter and returns the new value: greater than every one that it ever had, given
    /// to no other call, and kept through a loss of power. After a failure it may have been raised.
    ///
    /// # Errors
    /// `KeyNotFound`: the device has no such counter. `Integrity`: the blob was altered, or another
    /// counter is in the place of this one. `WrongDevice`: the blob is another device's.
    /// `InvalidParameter`: the blob is of another id.
    fn counter_increment(&self, _counter: CounterRef<'_>) -> Result<u64> {
        Err(no_counters())
    }

    /// Returns the value that a counter has.
    ///
    /// # Errors
    /// As [`counter_increment`](Self::counter_increment).
    fn counter_read(&self, _counter: CounterRef<'_>) -> Result<u64> {
        Err(no_counters())
    }

    /// Removes a counter. One that is gone already is a success. The blob may be empty: then the id
    /// alone names the counter.
    ///
    /// # Errors
    /// Device errors only; `Unsupported` where there are no counters.
    fn counter_destroy(&self, _counter: CounterRef<'_>) -> Result<()> {
        Err(no_counters())
    }

    /// Says how near the device is to refusing every authorization, by reading its counters: no
    /// authorization is tried for it. The host asks when it opens an instance, now and then after
    /// that, and after a refusal, so that an operator sees a lockout before it bites.
    ///
    /// # Errors
    /// `Unsupported` where the device counts nothing of the kind, for good; device errors otherwise.
    fn condition(&self) -> Result<Condition> {
        let detail = "this provider's device counts no failed authorizations";
        Err(ProviderError::new(ErrorKind::Unsupported, detail))
    }
}

fn no_aead() -> ProviderError {
    ProviderError::new(ErrorKind::Unsupported, "this provider has no aead keys")
}

fn no_rsa() -> ProviderError {
    ProviderError::new(ErrorKind::Unsupported, "this provider has no rsa keys")
}

fn no_counters() -> ProviderError {
    ProviderError::new(ErrorKind::Unsupported, "this provider has no counters")
}
