//! What dialects ask that name keys by handles: a handle is given for a name, and used instead of
//! it from then on.

use std::fmt;

pub use provider_core::SecretBytes;
use serde::Serialize;
use wire::api::{Algorithm, Protection, Usage};
use wire::name::{KeyName, ProviderName};

/// Random bytes that make two handles of one key differ.
pub const NONCE_BYTES: usize = 16;

/// A handle of a key: who may use it for which key, authenticated by a device of the host.
///
/// # Secrets
/// The MAC: who has it uses the key in the claims' user's place. It is not in the debug form.
#[derive(Clone, PartialEq, Eq)]
pub struct Handle {
    /// What it says.
    pub claims: Claims,
    /// The MAC over it.
    pub mac: [u8; 32],
}

impl fmt::Debug for Handle {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Handle").field("key", &self.claims.key).finish_non_exhaustive()
    }
}

/// What a handle says. Field order is what is authenticated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Claims {
    /// The key.
    pub key: KeyName,
    /// The first version of the key, by which it is told from one of the same name that was
    /// destroyed before it.
    pub generation: u32,
    /// Who asked for the handle.
    pub uid: u32,
    /// The instance whose device authenticates the handle.
    pub provider: ProviderName,
    /// What the key is that was derived from it, if the handle is of such a one.
    pub derived_by: Option<Vec<u8>>,
    /// Random.
    pub nonce: [u8; NONCE_BYTES],
}

/// What a key that is named shall be for a handle of it.
#[derive(Debug)]
pub enum HandleRequest {
    /// There already.
    Find,
    /// Made.
    Create(HandleTerms),
    /// Imported.
    Import(HandleTerms, Import),
    /// The one that has this name now.
    Move(KeyName),
}

/// What is asked of a new key.
#[derive(Clone, Debug)]
pub struct HandleTerms {
    /// What it may be, the best first; the first that a provider can hold is taken.
    pub kinds: Vec<(Usage, Algorithm)>,
    /// The providers it may live in, in order; `None` for the configured order.
    pub providers: Option<Vec<ProviderName>>,
    /// Its least protection.
    pub floor: Protection,
}

/// The bytes of a key, and what becomes of one that is there.
#[derive(Debug)]
pub struct Import {
    /// The bytes.
    pub key: SecretBytes,
    /// Whether a key of the same name and usage gets them as a new version. It is refused otherwise.
    pub replace: bool,
}

/// What is done with the key that a handle is of.
#[derive(Debug)]
pub enum HeldRequest {
    /// HMAC-SHA256 of a message.
    Mac(SecretBytes),
    /// An ECDSA signature of a digest, of any length (FIPS 186-5 section 6.4.1, steps 1 and 2).
    Sign(Vec<u8>),
    /// Encrypt under an initialization vector of the caller's.
    Encrypt {
        /// The vector and what is authenticated.
        with: AeadWith,
        /// The plaintext.
        plaintext: SecretBytes,
        /// Whether a vector that this key had before is refused.
        refuse_repeated: bool,
    },
    /// Decrypt what was encrypted so: ciphertext, then tag.
    Decrypt {
        /// The vector and what is authenticated.
        with: AeadWith,
        /// The ciphertext and its tag.
        ciphertext: Vec<u8>,
    },
    /// The private operation of RSA.
    RsaPrivate(RsaPadding, SecretBytes),
    /// A handle of the key that is derived by this.
    Derive(Vec<u8>),
    /// The bytes of a derived key.
    Export,
    /// The public half.
    Public,
    /// Destroy the key.
    Destroy,
}

/// What the caller gives to an `aead` key beside the text.
#[derive(Clone, Debug)]
pub struct AeadWith {
    /// The initialization vector.
    pub iv: Vec<u8>,
    /// What is authenticated.
    pub aad: Vec<u8>,
}

/// What is done to a message before the private operation of RSA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RsaPadding {
    /// The block of type 1, RFC 8017 section 9.2, without a digest's name.
    Block,
    /// Nothing: it is as long as the modulus.
    None,
}

impl Claims {
    /// What is authenticated.
    #[must_use]
    pub fn to_bytes(&self) -> Option<Vec<u8>> {
        postcard::to_stdvec(self).ok()
    }
}

impl HandleRequest {
    /// The other key that it is about.
    pub(super) const fn other_key(&self) -> Option<&KeyName> {
        match self {
            Self::Move(from) => Some(from),
            Self::Find | Self::Create(_) | Self::Import(..) => None,
        }
    }

    pub(super) const fn operation(&self) -> &'static str {
        match self {
            Self::Find => "show",
            Self::Create(_) => "create",
            Self::Import(..) => "import",
            Self::Move(_) => "move",
        }
    }

    pub(super) const fn changes(&self) -> bool {
        match self {
            Self::Create(_) | Self::Import(..) | Self::Move(_) => true,
            Self::Find => false,
        }
    }
}

impl HeldRequest {
    /// The operation, as rules and audit call it.
    pub(crate) const fn operation(&self) -> &'static str {
        match self {
            Self::Mac(_) => "mac",
            Self::Sign(_) => "sign",
            Self::Encrypt { .. } => "encrypt",
            Self::Decrypt { .. } => "decrypt",
            Self::RsaPrivate(..) => "rsa",
            Self::Derive(_) => "derive",
            Self::Export => "export_derived",
            Self::Public => "public",
            Self::Destroy => "destroy",
        }
    }

    pub(super) const fn changes(&self) -> bool {
        matches!(self, Self::Destroy)
    }
}
