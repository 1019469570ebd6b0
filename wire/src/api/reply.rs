//! What each endpoint answers. Replies about a key name the version, provider, protection and
//! origin that were really used. They are spelled out in each, because serde's flattening would
//! copy plaintexts.

use serde::{Deserialize, Serialize};

use super::base64::{Base64Array, Base64Bytes, SecretBase64};
use super::public::Jwk;
use super::request::PcrSelection;
use super::types::{Algorithm, Origin, Protection, SealedText, Usage, VersionState};
use crate::limits::{MAC_BYTES, PLAINTEXT_MAX_BYTES, RANDOM_MAX_BYTES, SIGNATURE_MAX_BYTES};
use crate::name::{KeyName, ProviderName};

/// A key: what `GET /v1/keys/{name}` answers, and every change of a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRecord {
    /// The name.
    pub name: KeyName,
    /// What the key is for.
    pub usage: Usage,
    /// What the device computes with it.
    pub algorithm: Algorithm,
    /// The least protection of its versions.
    pub floor: Protection,
    /// Whether new seals may use another provider while the key's own is down.
    pub fallback: bool,
    /// The providers asked for when it was created; absent for the configured order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub providers: Option<Vec<ProviderName>>,
    /// The platform state it is bound to; absent for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pcrs: Option<PcrSelection>,
    /// Its versions, rising.
    pub versions: Vec<VersionRecord>,
}

/// One version of a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionRecord {
    /// From 1 within the key.
    pub version: u32,
    /// What it may still do.
    pub state: VersionState,
    /// The provider it lives in.
    pub provider: ProviderName,
    /// What protects it.
    pub protection: Protection,
    /// Where its key bytes came from.
    pub origin: Origin,
    /// Whether it was made because the key's own provider was down.
    pub fallback: bool,
    /// RFC 3339, UTC.
    pub created_at: String,
}

/// `GET /v1/keys`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyList {
    /// The keys that the caller may know of, by name.
    pub keys: Vec<KeyRecord>,
}

/// `DELETE /v1/keys/{name}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DestroyReply {
    /// The key.
    pub key: KeyName,
    /// The versions destroyed by this request, rising.
    pub destroyed: Vec<u32>,
}

/// `POST /v1/keys/{name}/seal`, one item.
#[derive(Debug, Serialize, Deserialize)]
pub struct SealReply {
    /// The envelope.
    pub sealed: SealedText,
    /// The key.
    pub key: KeyName,
    /// The version used.
    pub version: u32,
    /// The provider that the version lives in.
    pub provider: ProviderName,
    /// What protects the version.
    pub protection: Protection,
    /// Where the version's key bytes came from.
    pub origin: Origin,
    /// Whether the version is one that was made while the key's own provider was down.
    pub fallback: bool,
}

/// `POST /v1/keys/{name}/unseal`, one item.
#[derive(Debug, Serialize, Deserialize)]
pub struct UnsealReply {
    /// What was sealed.
    pub plaintext: SecretBase64<PLAINTEXT_MAX_BYTES>,
    /// The key.
    pub key: KeyName,
    /// The version used.
    pub version: u32,
    /// The provider that the version lives in.
    pub provider: ProviderName,
    /// What protects the version.
    pub protection: Protection,
    /// Where the version's key bytes came from.
    pub origin: Origin,
}

/// `POST /v1/keys/{name}/rewrap`, one item.
#[derive(Debug, Serialize, Deserialize)]
pub struct RewrapReply {
    /// The envelope, wrapped to the version named here.
    pub sealed: SealedText,
    /// The key.
    pub key: KeyName,
    /// The version used.
    pub version: u32,
    /// The provider that the version lives in.
    pub provider: ProviderName,
    /// What protects the version.
    pub protection: Protection,
    /// Where the version's key bytes came from.
    pub origin: Origin,
    /// Whether the version is one that was made while the key's own provider was down.
    pub fallback: bool,
}

/// `POST /v1/keys/{name}/mac`, one item.
#[derive(Debug, Serialize, Deserialize)]
pub struct MacReply {
    /// The MAC.
    pub mac: Base64Array<MAC_BYTES>,
    /// The key.
    pub key: KeyName,
    /// The version used.
    pub version: u32,
    /// The provider that the version lives in.
    pub provider: ProviderName,
    /// What protects the version.
    pub protection: Protection,
    /// Where the version's key bytes came from.
    pub origin: Origin,
}

/// `POST /v1/keys/{name}/verify`. The version and what is known of it are absent when no version
/// was named and none matched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyReply {
    /// Whether the MAC is that of the message.
    pub valid: bool,
    /// The key.
    pub key: KeyName,
    /// The version named, or the one that matched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u32>,
    /// The provider that the version lives in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<ProviderName>,
    /// What protects the version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protection: Option<Protection>,
    /// Where the version's key bytes came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
}

/// `POST /v1/keys/{name}/sign`.
#[derive(Debug, Serialize, Deserialize)]
pub struct SignReply {
    /// ECDSA signature, DER (RFC 3279 section 2.2.3).
    pub signature: Base64Bytes<SIGNATURE_MAX_BYTES>,
    /// The key.
    pub key: KeyName,
    /// The version used.
    pub version: u32,
    /// The provider that the version lives in.
    pub provider: ProviderName,
    /// What protects the version.
    pub protection: Protection,
    /// Where the version's key bytes came from.
    pub origin: Origin,
}

/// `GET /v1/keys/{name}/public`.
#[derive(Debug, Serialize, Deserialize)]
pub struct PublicReply {
    /// SubjectPublicKeyInfo in PEM (RFC 7468 section 13).
    pub pem: String,
    /// The same as a JSON Web Key (RFC 7517).
    pub jwk: Jwk,
    /// The key.
    pub key: KeyName,
    /// The version used.
    pub version: u32,
    /// The provider that the version lives in.
    pub provider: ProviderName,
    /// What protects the version.
    pub protection: Protection,
    /// Where the version's key bytes came from.
    pub origin: Origin,
}

/// `POST /v1/random`.
#[derive(Debug, Serialize, Deserialize)]
pub struct RandomReply {
    /// The random bytes.
    pub random: SecretBase64<RANDOM_MAX_BYTES>,
    /// The provider that drew them.
    pub provider: ProviderName,
    /// What kind of device that is.
    pub protection: Protection,
}
