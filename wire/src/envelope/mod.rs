//! The envelope: one secret, encrypted under a fresh data key that is wrapped for one or more
//! recipients. Specified byte by byte in `docs/envelope.md`, whose section numbers stand below.
//!
//! The device's part is one HMAC over [`kdf_input`]; everything else happens here, over values
//! that the caller gives: data key, salts and nonce must come from a random generator and be used
//! for one envelope only.
//!
//! # Secrets
//! [`DataKey`], [`Kek`] and the plaintext given back are wiped when dropped. Copies on the stack
//! are left for [`crate::burn_stack`].

mod codec;
mod key;
mod payload;
#[cfg(test)]
mod published;

use std::fmt;

pub use self::key::{
    DATA_KEY_BYTES, DEVICE_LABEL, DataKey, KEY_ID_BYTES, Kek, SALT_BYTES, WRAPPED_KEY_BYTES,
    kdf_input,
};
pub use self::payload::{open, replace_recipients, seal};
use crate::api::Protection;
use crate::code::{Code, Fault};
use crate::limits::{PROVIDER_NAME_MAX_BYTES, RECIPIENTS_MAX};
use crate::name::{KeyName, ProviderName};

/// Version of the format, as it stands in the envelope.
pub const FORMAT_VERSION: u8 = 1;

/// First characters of the text form.
pub const TEXT_PREFIX: &str = "sealhost:1:";

/// Length of the AEAD nonce, in bytes.
pub const NONCE_BYTES: usize = 12;

/// Length of the AEAD tag, in bytes.
pub const TAG_BYTES: usize = 16;

/// Length of the header MAC, in bytes.
pub const HEADER_MAC_BYTES: usize = 32;

/// A sealed secret.
///
/// A value of this type is well formed; whether it is authentic, only `open` and
/// `replace_recipients` know. Until then every field is a claim.
#[derive(Clone, PartialEq, Eq)]
pub struct Envelope {
    key_name: KeyName,
    recipients: Vec<Recipient>,
    nonce: [u8; NONCE_BYTES],
    ciphertext: Vec<u8>,
    header_mac: [u8; HEADER_MAC_BYTES],
}

impl Envelope {
    /// The key that sealed it, as claimed.
    pub fn key_name(&self) -> &KeyName {
        &self.key_name
    }

    /// Who can unwrap the data key, as claimed: 1 to 16.
    pub fn recipients(&self) -> &[Recipient] {
        &self.recipients
    }
}

impl fmt::Debug for Envelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Envelope({}, {} recipients)", self.key_name, self.recipients.len())
    }
}

/// One way to the data key (section 2).
#[derive(Clone, PartialEq, Eq)]
pub struct Recipient {
    /// How the data key is wrapped.
    pub method: Method,
    /// The id of the key in the registry.
    pub key_id: [u8; KEY_ID_BYTES],
    /// The version of the key.
    pub version: u32,
    /// Kind of the provider: text of the form of a [`ProviderName`].
    pub provider_kind: String,
    /// What protects the key version.
    pub protection: Protection,
    /// Random, for this recipient of this envelope only.
    pub salt: [u8; SALT_BYTES],
    /// The data key under the KEK.
    pub wrapped: [u8; WRAPPED_KEY_BYTES],
}

impl Recipient {
    fn check(&self) -> Result<(), Fault> {
        ProviderName::parse(&self.provider_kind).map(|_name| ()).map_err(|_error| {
            let limit = PROVIDER_NAME_MAX_BYTES;
            Fault::new(Code::Invalid, format!("provider kind is not a name of up to {limit} bytes"))
        })
    }
}

impl fmt::Debug for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { version, provider_kind, protection, .. } = self;
        write!(f, "Recipient(version {version}, {provider_kind}, {})", protection.as_str())
    }
}

/// How a data key is wrapped for a recipient. Numbers are never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// 1: AES-256-KW under a KEK derived from one HMAC by the device (section 3).
    HmacKdf,
}

/// The envelope, the context and the key do not belong together, or bytes were changed. Which of
/// these it was is not told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the sealed value, context and key do not belong together")]
pub struct Integrity;

impl From<Integrity> for Fault {
    fn from(error: Integrity) -> Self {
        Self::new(Code::Integrity, error.to_string())
    }
}

fn check_recipients(recipients: &[Recipient]) -> Result<(), Fault> {
    if recipients.is_empty() || recipients.len() > RECIPIENTS_MAX {
        let detail = format!("{} recipients, not 1 to {RECIPIENTS_MAX}", recipients.len());
        return Err(Fault::new(Code::Invalid, detail));
    }
    recipients.iter().try_for_each(Recipient::check)
}
