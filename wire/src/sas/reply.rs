//! What each endpoint of the signer answers. Replies about a key name the slot, version,
//! provider, protection and origin that were really used.

use serde::{Deserialize, Serialize};

use super::field::SasKeyName;
use super::form::Slot;
use super::limits::TOKEN_MAX_BYTES;
use super::secret::SecretText;
use crate::api::{Origin, Protection};
use crate::name::{KeyName, ProviderName};

/// `POST /v1/tokens`.
#[derive(Debug, Serialize, Deserialize)]
pub struct TokenReply {
    /// The token. Secret: who has it has its access until it expires.
    pub token: SecretText<TOKEN_MAX_BYTES>,
    /// When it expires: seconds since 1970, UTC.
    pub expires_at: u64,
    /// The key.
    pub key: SasKeyName,
    /// Which of its two keys signed.
    pub slot: Slot,
    /// The version of the host's key.
    pub version: u32,
    /// The provider that the version lives in.
    pub provider: ProviderName,
    /// What protects the version.
    pub protection: Protection,
    /// Where the version's key bytes came from.
    pub origin: Origin,
    /// Whether it was signed for an earlier request.
    pub from_cache: bool,
}

/// `POST /v1/verify`. What the token says is there only when it is valid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyReply {
    /// Whether the token is good for what was asked.
    pub valid: bool,
    /// Why it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Invalid>,
    /// The key.
    pub key: SasKeyName,
    /// Which of its two keys signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot: Option<Slot>,
    /// The resource that the token is for, decoded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// The publisher that the token is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub publisher: Option<String>,
    /// When it expires: seconds since 1970, UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<u64>,
}

/// Why a token is not valid. What else could be told apart would help who forges one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Invalid {
    /// Its time is over, as anybody can read in it.
    Expired,
    /// Signature, policy, resource or publisher: one of them does not fit.
    Rejected,
}

/// `GET /v1/tokens`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IssuedList {
    /// Tokens signed for anybody, with the keys that the caller may list, by expiry.
    pub tokens: Vec<IssuedToken>,
    /// How many more were signed and forgotten before they expired, because the list is bounded.
    pub forgotten: u64,
}

/// One token that was signed. Its signature is not kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IssuedToken {
    /// `sr`: the resource, as it stands in the token.
    pub sr: String,
    /// `skn`: the policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skn: Option<String>,
    /// `se`: when it expires, seconds since 1970, UTC.
    pub se: u64,
    /// The key.
    pub key: SasKeyName,
    /// Which of its two keys signed.
    pub slot: Slot,
    /// The version of the host's key.
    pub version: u32,
    /// When it was signed: seconds since 1970, UTC.
    pub issued_at: u64,
    /// The user that it was signed for first.
    pub uid: u32,
}

/// `POST /v1/keys/{name}/import`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportReply {
    /// The key.
    pub key: SasKeyName,
    /// Which of its two keys was imported.
    pub slot: Slot,
    /// The slot that signs now.
    pub active: Slot,
    /// The host's key.
    pub host_key: KeyName,
    /// Its new version.
    pub version: u32,
    /// The provider that the version lives in.
    pub provider: ProviderName,
    /// What protects the version.
    pub protection: Protection,
    /// Where the version's key bytes came from.
    pub origin: Origin,
}

/// `POST /v1/keys/{name}/rotate`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RotateReply {
    /// The key.
    pub key: SasKeyName,
    /// The slot that signs now.
    pub active: Slot,
}

/// `GET /v1/keys/{name}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SasKeyRecord {
    /// The key.
    pub key: SasKeyName,
    /// The slot that signs now.
    pub active: Slot,
    /// The slots that have a key; at least one.
    pub slots: Vec<SlotRecord>,
}

/// One slot of a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotRecord {
    /// Which one.
    pub slot: Slot,
    /// The host's key.
    pub host_key: KeyName,
    /// Its active version.
    pub version: u32,
    /// The provider that the version lives in.
    pub provider: ProviderName,
    /// What protects the version.
    pub protection: Protection,
    /// Where the version's key bytes came from.
    pub origin: Origin,
    /// When it was imported: RFC 3339, UTC.
    pub created_at: String,
}

/// `GET /v1/status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignerStatus {
    /// The signer's version.
    pub version: String,
    /// When the signer started: RFC 3339, UTC.
    pub started_at: String,
    /// How often a key was changed through this signer.
    pub generation: u64,
    /// Tokens in memory.
    pub cached_tokens: u64,
    /// Tokens that were signed and have not expired, as far as they are listed.
    pub issued_tokens: u64,
}
