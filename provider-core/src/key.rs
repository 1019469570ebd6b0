//! The plain data of the contract: usages, algorithms, key references, capabilities, and every
//! limit of the boundary. Numbers are those of the ABI and are never given a second meaning.

use crate::abi;
use crate::error::{ErrorKind, ProviderError, Result};
use crate::secret::SecretBytes;

/// Longest key blob, bytes.
pub const BLOB_MAX_BYTES: usize = 4096;
/// Longest identity blob, bytes.
pub const IDENTITY_MAX_BYTES: usize = 1024;
/// Longest input of one HMAC, bytes: what TPM2_HMAC takes in one command.
pub const MAC_INPUT_MAX_BYTES: usize = 1024;
/// Longest imported HMAC key, bytes.
pub const IMPORT_MAX_BYTES: usize = 1024;
/// Most random bytes of one call.
pub const RANDOM_MAX_BYTES: usize = 1024;
/// Longest name of what a secret is shown to, bytes.
pub const SUBJECT_MAX_BYTES: usize = 256;
/// Longest text of needs, bytes.
pub const NEEDS_MAX_BYTES: usize = 4096;
/// Longest text of a state binding, bytes.
pub const STATE_MAX_BYTES: usize = 256;
/// Longest error detail, bytes; a longer one is cut.
pub const DETAIL_MAX_BYTES: usize = 1024;
/// Longest initialization vector of an `Aead` key, bytes; the shortest is one byte.
pub const AEAD_IV_MAX_BYTES: usize = 128;
/// Longest associated data of an `Aead` key, bytes.
pub const AEAD_AAD_MAX_BYTES: usize = 8192;
/// Longest plaintext of an `Aead` key, bytes; the ciphertext is as long, and the tag stands behind.
pub const AEAD_TEXT_MAX_BYTES: usize = 32_768;
/// Bytes of a tag of AES-256-GCM.
pub const AEAD_TAG_BYTES: usize = 16;
/// Bytes of an `Aead` key.
pub const AEAD_KEY_BYTES: usize = 32;
/// Bytes of the private half of a P-256 key, a big-endian number.
pub const PRIVATE_KEY_BYTES: usize = 32;
/// Longest modulus of an RSA key, bytes.
pub const RSA_MAX_BYTES: usize = 512;
/// Bytes of one HMAC-SHA256.
pub const MAC_BYTES: usize = 32;
/// Bytes of an uncompressed P-256 point (SEC 1 section 2.3.3).
pub const PUBLIC_KEY_BYTES: usize = 65;
/// Bytes of a P-256 signature, r and s of 32 bytes each.
pub const SIGNATURE_BYTES: usize = 64;

/// What every MAC input of a `Seal` key begins with, and no MAC input of a `Mac` key may.
///
/// Without it, whoever may MAC freely under a key could derive the key-encryption keys that the
/// same key protects.
pub const SEAL_LABEL: &[u8; 16] = b"sealhost/seal/1\0";

/// What a key is for. Usages exclude each other for the life of the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
pub enum Usage {
    /// Derives key-encryption keys for envelopes.
    Seal = 1,
    /// Computes MACs for callers.
    Mac = 2,
    /// Signs digests for callers.
    Sign = 3,
    /// Encrypts and decrypts for callers who give the initialization vector themselves.
    Aead = 4,
    /// Does the bare private-key operation of RSA for callers who pad and hash themselves.
    Rsa = 5,
}

/// How a key computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
pub enum Algorithm {
    /// HMAC with SHA-256, RFC 2104 and FIPS 180-4. For `Seal` and `Mac`.
    HmacSha256 = 1,
    /// ECDSA on P-256 over a SHA-256 digest, FIPS 186-5. For `Sign`.
    EcdsaP256 = 2,
    /// AES-256-GCM with a tag of 16 bytes, NIST SP 800-38D. For `Aead`.
    Aes256Gcm = 3,
    /// RSA with a modulus of 2,048 bits and the exponent 65,537, RFC 8017 section 5.2. For `Rsa`.
    Rsa2048 = 4,
    /// RSA with a modulus of 4,096 bits and the exponent 65,537. For `Rsa`.
    Rsa4096 = 5,
}

/// What stands behind a key, in ascending order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
pub enum Protection {
    /// Key bytes are in this machine's memory and disk.
    Software = 1,
    /// A device interface over software, or a device nobody vouched for.
    Emulated = 2,
    /// A chip or module that keeps the key to itself.
    Hardware = 3,
}

macro_rules! number_table {
    ($name:ident: $($number:literal => $variant:ident),+) => {
        impl $name {
            /// The ABI number.
            #[must_use]
            pub const fn number(self) -> u32 {
                match self { $(Self::$variant => $number),+ }
            }

            /// The value of an ABI number, or `None` for a number this version does not know.
            #[must_use]
            pub const fn from_number(number: u32) -> Option<Self> {
                match number { $($number => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}
pub(crate) use number_table;

number_table!(Usage: 1 => Seal, 2 => Mac, 3 => Sign, 4 => Aead, 5 => Rsa);
number_table!(Algorithm: 1 => HmacSha256, 2 => EcdsaP256, 3 => Aes256Gcm, 4 => Rsa2048, 5 => Rsa4096);
number_table!(Protection: 1 => Software, 2 => Emulated, 3 => Hardware);

impl Algorithm {
    /// Bytes of the modulus of its keys, where they have one.
    #[must_use]
    pub const fn modulus_bytes(self) -> Option<usize> {
        match self {
            Self::HmacSha256 | Self::EcdsaP256 | Self::Aes256Gcm => None,
            Self::Rsa2048 => Some(256),
            Self::Rsa4096 => Some(RSA_MAX_BYTES),
        }
    }
}

impl Usage {
    /// The algorithm that this usage has when none is asked for.
    #[must_use]
    pub const fn default_algorithm(self) -> Algorithm {
        match self {
            Self::Seal | Self::Mac => Algorithm::HmacSha256,
            Self::Sign => Algorithm::EcdsaP256,
            Self::Aead => Algorithm::Aes256Gcm,
            Self::Rsa => Algorithm::Rsa2048,
        }
    }

    /// Whether keys of this usage may have this algorithm.
    #[must_use]
    pub const fn has(self, algorithm: Algorithm) -> bool {
        match algorithm {
            Algorithm::HmacSha256 => matches!(self, Self::Seal | Self::Mac),
            Algorithm::EcdsaP256 => matches!(self, Self::Sign),
            Algorithm::Aes256Gcm => matches!(self, Self::Aead),
            Algorithm::Rsa2048 | Algorithm::Rsa4096 => matches!(self, Self::Rsa),
        }
    }
}

/// The 16 random bytes that name a key version to its device (PKCS#11: CKA_ID).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub [u8; 16]);

/// The name of what a PIN or password is shown to, and of what counts wrong ones: opaque to the
/// host, equal exactly where two instances would use up the same tries (PKCS#11: the token).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AuthSubject(pub Vec<u8>);

/// The machine state that a key is bound to, as canonical text that only the provider
/// understands (for a TPM, `sha256:7,11`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateBinding(String);

impl StateBinding {
    /// Takes the text of a binding.
    ///
    /// # Limits
    /// 1 to [`STATE_MAX_BYTES`] bytes of printable ASCII without spaces, else `InvalidParameter`.
    pub fn new(text: &str) -> Result<Self> {
        let fits = (1..=STATE_MAX_BYTES).contains(&text.len());
        if fits && text.bytes().all(|byte| byte.is_ascii_graphic()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(ProviderError::new(ErrorKind::InvalidParameter, "state binding is not printable"))
        }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a new key shall be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySpec {
    /// What it is for.
    pub usage: Usage,
    /// How it computes.
    pub algorithm: Algorithm,
    /// Its name on the device, drawn by the host.
    pub id: KeyId,
    /// The machine state it is bound to, if any.
    pub state: Option<StateBinding>,
}

/// The opaque bytes by which a provider finds a key again; the host stores them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyBlob(pub Vec<u8>);

/// A key as every key verb names it.
#[derive(Clone, Copy, Debug)]
pub struct KeyRef<'a> {
    /// What the caller takes the key for; the provider refuses a blob of another usage.
    pub usage: Usage,
    /// The id that the key was made with; the provider refuses a blob of another id.
    pub id: KeyId,
    /// What [`generate`](crate::Provider::generate) or [`import`](crate::Provider::import) returned.
    pub blob: &'a [u8],
}

/// A monotonic counter as every verb but the one that makes it names it.
#[derive(Clone, Copy, Debug)]
pub struct CounterRef<'a> {
    /// The id that the counter was made with; the provider refuses a blob of another id.
    pub id: KeyId,
    /// What [`counter_create`](crate::Provider::counter_create) returned.
    pub blob: &'a [u8],
}

/// The opaque bytes by which a provider recognizes its device at the next opening.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity(pub Vec<u8>);

/// One HMAC-SHA256. Secret when the key is a `Seal` key; wiped when dropped.
pub type Mac = SecretBytes;

/// An uncompressed P-256 point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublicKey(pub [u8; PUBLIC_KEY_BYTES]);

/// The modulus of an RSA key, big-endian, as many bytes as it has. The exponent is 65,537.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RsaModulus(pub Vec<u8>);

impl RsaModulus {
    /// Whether it has one of the sizes that there are, all its bits, and two odd factors.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        let sizes = [Algorithm::Rsa2048, Algorithm::Rsa4096].map(Algorithm::modulus_bytes);
        sizes.contains(&Some(self.0.len()))
            && self.0.first().is_some_and(|first| first & 0x80 != 0)
            && self.0.last().is_some_and(|last| last & 1 != 0)
    }
}

/// What the bare operation of RSA gave, as many bytes as the modulus; wiped when dropped.
pub type RsaResult = SecretBytes;

/// What the three variable inputs of an `Aead` key are, beside the key.
#[derive(Clone, Copy, Debug)]
pub struct AeadInput<'a> {
    /// The initialization vector, 1 to [`AEAD_IV_MAX_BYTES`]; the caller sees to it that none is
    /// used twice.
    pub iv: &'a [u8],
    /// What is authenticated beside the text, at most [`AEAD_AAD_MAX_BYTES`].
    pub aad: &'a [u8],
    /// The plaintext to encrypt, or the ciphertext and its tag to decrypt.
    pub text: &'a [u8],
}

/// A P-256 signature, r then s, big-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signature(pub [u8; SIGNATURE_BYTES]);

/// What a device can do, as a set of bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities(pub u64);

impl Capabilities {
    /// Generates `Seal` keys.
    pub const SEAL: Self = Self(abi::CAPABILITY_SEAL);
    /// Generates `Mac` keys.
    pub const MAC: Self = Self(abi::CAPABILITY_MAC);
    /// Imports `Mac` keys.
    pub const IMPORT_MAC: Self = Self(abi::CAPABILITY_IMPORT_MAC);
    /// Generates `Sign` keys.
    pub const SIGN: Self = Self(abi::CAPABILITY_SIGN);
    /// Binds keys to the state of the machine.
    pub const STATE_BINDING: Self = Self(abi::CAPABILITY_STATE_BINDING);
    /// Every verb but `open` and `self_test` answers in microseconds of computing and waits for
    /// nothing, so that it may be called where waiting is not allowed.
    pub const NEVER_WAITS: Self = Self(abi::CAPABILITY_NEVER_WAITS);
    /// Keeps monotonic counters.
    pub const COUNTER: Self = Self(abi::CAPABILITY_COUNTER);
    /// Generates and imports `Aead` keys, and uses them inside the device.
    pub const AEAD: Self = Self(abi::CAPABILITY_AEAD);
    /// Generates and imports `Aead` keys that a key of the device wraps, and uses them in the memory
    /// of the process that the provider runs in.
    pub const AEAD_WRAPPED: Self = Self(abi::CAPABILITY_AEAD_WRAPPED);
    /// Generates `Rsa` keys of 2,048 bits.
    pub const RSA_2048: Self = Self(abi::CAPABILITY_RSA_2048);
    /// Generates `Rsa` keys of 4,096 bits.
    pub const RSA_4096: Self = Self(abi::CAPABILITY_RSA_4096);
    /// Imports `Sign` keys.
    pub const IMPORT_SIGN: Self = Self(abi::CAPABILITY_IMPORT_SIGN);

    /// Both sets together.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all of `other` is in this set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether keys of this algorithm can be generated for this usage.
    #[must_use]
    pub const fn can_generate(self, usage: Usage, algorithm: Algorithm) -> bool {
        usage.has(algorithm)
            && match usage {
                Usage::Seal => self.contains(Self::SEAL),
                Usage::Mac => self.contains(Self::MAC),
                Usage::Sign => self.contains(Self::SIGN),
                Usage::Aead => self.contains(Self::AEAD) || self.contains(Self::AEAD_WRAPPED),
                Usage::Rsa if matches!(algorithm, Algorithm::Rsa4096) => {
                    self.contains(Self::RSA_4096)
                }
                Usage::Rsa => self.contains(Self::RSA_2048),
            }
    }

    /// Whether keys of this usage can be imported.
    #[must_use]
    pub const fn can_import(self, usage: Usage) -> bool {
        match usage {
            Usage::Seal | Usage::Rsa => false,
            Usage::Mac => self.contains(Self::IMPORT_MAC),
            Usage::Sign => self.contains(Self::IMPORT_SIGN),
            Usage::Aead => self.contains(Self::AEAD) || self.contains(Self::AEAD_WRAPPED),
        }
    }
}

/// What a provider says of its device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    /// The sort of provider, one lower-case word: `soft`, `tpm`, `pkcs11`.
    pub kind: String,
    /// Who made the device, as it says itself; printable, at most 64 bytes.
    pub manufacturer: String,
    /// Its firmware or library version, as it says itself; printable, at most 64 bytes.
    pub firmware: String,
    /// What the operator should know of this opening (a weakened setting, a quirk that was
    /// worked round); printable, at most 256 bytes, empty when there is nothing.
    pub notes: String,
    /// What stands behind its keys.
    pub protection: Protection,
    /// What it can do.
    pub capabilities: Capabilities,
    /// How many threads may be inside it at once, from 1.
    pub concurrency: u32,
}

/// Enforces the label rule: the input of a `Seal` key begins with [`SEAL_LABEL`], that of a `Mac`
/// key does not, and a `Sign` key computes no MACs.
///
/// # Errors
/// `InvalidParameter` where the rule is broken; `TooLarge` past [`MAC_INPUT_MAX_BYTES`].
pub fn check_mac_input(usage: Usage, input: &[u8]) -> Result<()> {
    if input.len() > MAC_INPUT_MAX_BYTES {
        return Err(ProviderError::over_limit("mac input", input.len(), MAC_INPUT_MAX_BYTES));
    }
    match (usage, input.starts_with(SEAL_LABEL)) {
        (Usage::Seal, true) | (Usage::Mac, false) => Ok(()),
        (Usage::Seal, false) => {
            Err(ProviderError::invalid("input of a seal key must begin with the seal label"))
        }
        (Usage::Mac, true) => {
            Err(ProviderError::invalid("input of a mac key must not begin with the seal label"))
        }
        (Usage::Sign | Usage::Aead | Usage::Rsa, _) => {
            Err(ProviderError::invalid("a key of this usage computes no mac"))
        }
    }
}

/// Checks what is given to an `Aead` key to encrypt.
///
/// # Errors
/// `InvalidParameter`: the initialization vector is empty. `TooLarge`: a part is over its limit.
pub fn check_aead_encrypt(input: AeadInput<'_>) -> Result<()> {
    check_aead(input, AEAD_TEXT_MAX_BYTES)
}

/// Checks what is given to an `Aead` key to decrypt.
///
/// # Errors
/// As [`check_aead_encrypt`]. `Integrity`: the text is shorter than a tag.
pub fn check_aead_decrypt(input: AeadInput<'_>) -> Result<()> {
    check_aead(input, AEAD_TEXT_MAX_BYTES + AEAD_TAG_BYTES)?;
    if input.text.len() < AEAD_TAG_BYTES {
        return Err(ProviderError::new(ErrorKind::Integrity, "the text is shorter than a tag"));
    }
    Ok(())
}

fn check_aead(input: AeadInput<'_>, text_max: usize) -> Result<()> {
    if input.iv.is_empty() {
        return Err(ProviderError::invalid("an initialization vector must not be empty"));
    }
    for (what, length, limit) in [
        ("initialization vector", input.iv.len(), AEAD_IV_MAX_BYTES),
        ("associated data", input.aad.len(), AEAD_AAD_MAX_BYTES),
        ("text", input.text.len(), text_max),
    ] {
        if length > limit {
            return Err(ProviderError::over_limit(what, length, limit));
        }
    }
    Ok(())
}

/// Checks the length of a key to import for a usage.
///
/// # Errors
/// `InvalidParameter` when empty, or of another length than keys of the usage have; `TooLarge` past
/// [`IMPORT_MAX_BYTES`]; `Unsupported`: no key is imported for this usage.
pub fn check_import_length(usage: Usage, key: &SecretBytes) -> Result<()> {
    let exact = match usage {
        Usage::Mac => None,
        Usage::Aead => Some(AEAD_KEY_BYTES),
        Usage::Sign => Some(PRIVATE_KEY_BYTES),
        Usage::Seal | Usage::Rsa => {
            let detail = "no key of this usage is imported";
            return Err(ProviderError::new(ErrorKind::Unsupported, detail));
        }
    };
    match (key.len(), exact) {
        (0, _) => Err(ProviderError::invalid("an imported key must not be empty")),
        (length, Some(exact)) if length != exact => {
            Err(ProviderError::invalid(format!("an imported key of this usage has {exact} bytes")))
        }
        (length, None) if length > IMPORT_MAX_BYTES => {
            Err(ProviderError::over_limit("imported key", length, IMPORT_MAX_BYTES))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(usage: Usage, input: &[u8], expected: Option<ErrorKind>) {
        assert_eq!(check_mac_input(usage, input).err().map(|error| error.kind), expected);
    }

    #[test]
    fn seal_input_with_the_label_passes() {
        check(Usage::Seal, b"sealhost/seal/1\0rest", None);
    }

    #[test]
    fn seal_input_without_the_label_is_invalid() {
        check(Usage::Seal, b"sealhost/seal/1", Some(ErrorKind::InvalidParameter));
    }

    #[test]
    fn mac_input_without_the_label_passes() {
        check(Usage::Mac, b"", None);
    }

    #[test]
    fn mac_input_with_the_label_is_invalid() {
        check(Usage::Mac, b"sealhost/seal/1\0", Some(ErrorKind::InvalidParameter));
    }

    #[test]
    fn mac_with_a_sign_key_is_invalid() {
        check(Usage::Sign, b"", Some(ErrorKind::InvalidParameter));
    }

    #[test]
    fn input_at_the_limit_passes() {
        check(Usage::Mac, &[7; MAC_INPUT_MAX_BYTES], None);
    }

    #[test]
    fn input_one_past_the_limit_is_too_large() {
        check(Usage::Mac, &[7; MAC_INPUT_MAX_BYTES + 1], Some(ErrorKind::TooLarge));
    }

    #[test]
    fn numbers_return_to_their_values() {
        for usage in [Usage::Seal, Usage::Mac, Usage::Sign, Usage::Aead, Usage::Rsa] {
            assert_eq!(Usage::from_number(usage.number()), Some(usage));
        }
        assert_eq!(Usage::from_number(6), None);
    }

    #[test]
    fn numbers_are_those_that_the_header_shows() {
        for (number, shown) in [
            (Usage::Seal.number(), Usage::Seal as u32),
            (Usage::Mac.number(), Usage::Mac as u32),
            (Usage::Sign.number(), Usage::Sign as u32),
            (Usage::Aead.number(), Usage::Aead as u32),
            (Usage::Rsa.number(), Usage::Rsa as u32),
            (Algorithm::Aes256Gcm.number(), Algorithm::Aes256Gcm as u32),
            (Algorithm::Rsa2048.number(), Algorithm::Rsa2048 as u32),
            (Algorithm::Rsa4096.number(), Algorithm::Rsa4096 as u32),
            (Algorithm::HmacSha256.number(), Algorithm::HmacSha256 as u32),
            (Algorithm::EcdsaP256.number(), Algorithm::EcdsaP256 as u32),
            (Protection::Software.number(), Protection::Software as u32),
            (Protection::Emulated.number(), Protection::Emulated as u32),
            (Protection::Hardware.number(), Protection::Hardware as u32),
        ] {
            assert_eq!(number, shown);
        }
    }
}
