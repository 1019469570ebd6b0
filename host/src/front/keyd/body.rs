//! The bodies of the dialect's requests. Unknown fields are ignored, as the peer does.

use serde::Deserialize;
use wire::api::{Base64Bytes, Request, SecretBase64};
use wire::limits::BODY_MAX_BYTES;

/// Longest text or field of bytes: what the body's limit leaves.
type Bytes = Base64Bytes<BODY_MAX_BYTES>;
type Secret = SecretBase64<BODY_MAX_BYTES>;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CreateKey {
    pub(super) key_id: String,
    pub(super) usage: String,
    pub(super) key_bytes: Option<Secret>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CreatePair {
    pub(super) key_id: String,
    pub(super) preferred_algorithms: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Move {
    pub(super) from: String,
}

/// A body that has a handle alone.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct OfHandle {
    pub(super) key_handle: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Sign {
    pub(super) key_handle: String,
    #[serde(flatten)]
    pub(super) how: SignHow,
}

#[derive(Deserialize)]
#[serde(tag = "algorithm", content = "parameters")]
pub(super) enum SignHow {
    #[serde(rename = "ECDSA")]
    Ecdsa { digest: Bytes },
    #[serde(rename = "HMAC-SHA256")]
    HmacSha256 { message: Secret },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Encrypt {
    pub(super) key_handle: String,
    #[serde(flatten)]
    pub(super) how: EncryptHow,
    pub(super) plaintext: Secret,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Decrypt {
    pub(super) key_handle: String,
    #[serde(flatten)]
    pub(super) how: EncryptHow,
    pub(super) ciphertext: Bytes,
}

#[derive(Deserialize)]
#[serde(tag = "algorithm", content = "parameters")]
pub(super) enum EncryptHow {
    #[serde(rename = "AEAD")]
    Aead { iv: Bytes, aad: Bytes },
    #[serde(rename = "RSA-PKCS1")]
    RsaPkcs1,
    #[serde(rename = "RSA-NO-PADDING")]
    RsaNoPadding,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Derive {
    pub(super) base_key_handle: String,
    pub(super) derivation_data: Bytes,
}

impl Request for CreateKey {}
impl Request for CreatePair {}
impl Request for Move {}
impl Request for OfHandle {}
impl Request for Sign {}
impl Request for Encrypt {}
impl Request for Decrypt {}
impl Request for Derive {}
