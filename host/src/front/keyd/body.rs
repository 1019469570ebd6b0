//! The bodies of the dialect's requests. Unknown fields are ignored, as the peer does; they are not
//! kept either: what depends on another field is read as optional first, because serde's enums with
//! content beside their tag keep all that they do not know, in many times its size.

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
#[serde(try_from = "RawSign")]
pub(super) struct Sign {
    pub(super) key_handle: String,
    pub(super) how: SignHow,
}

pub(super) enum SignHow {
    Ecdsa { digest: Bytes },
    HmacSha256 { message: Secret },
}

#[derive(Deserialize)]
#[serde(try_from = "RawEncrypt")]
pub(super) struct Encrypt {
    pub(super) key_handle: String,
    pub(super) how: EncryptHow,
    pub(super) plaintext: Secret,
}

#[derive(Deserialize)]
#[serde(try_from = "RawDecrypt")]
pub(super) struct Decrypt {
    pub(super) key_handle: String,
    pub(super) how: EncryptHow,
    pub(super) ciphertext: Bytes,
}

pub(super) enum EncryptHow {
    Aead { iv: Bytes, aad: Bytes },
    RsaPkcs1,
    RsaNoPadding,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Derive {
    pub(super) base_key_handle: String,
    pub(super) derivation_data: Bytes,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawSign {
    key_handle: String,
    algorithm: SignAlgorithm,
    parameters: SignParameters,
}

#[derive(Deserialize)]
enum SignAlgorithm {
    #[serde(rename = "ECDSA")]
    Ecdsa,
    #[serde(rename = "HMAC-SHA256")]
    HmacSha256,
}

#[derive(Deserialize)]
struct SignParameters {
    digest: Option<Bytes>,
    message: Option<Secret>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawEncrypt {
    key_handle: String,
    algorithm: EncryptAlgorithm,
    parameters: Option<AeadParameters>,
    plaintext: Secret,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawDecrypt {
    key_handle: String,
    algorithm: EncryptAlgorithm,
    parameters: Option<AeadParameters>,
    ciphertext: Bytes,
}

#[derive(Clone, Copy, Deserialize)]
enum EncryptAlgorithm {
    #[serde(rename = "AEAD")]
    Aead,
    #[serde(rename = "RSA-PKCS1")]
    RsaPkcs1,
    #[serde(rename = "RSA-NO-PADDING")]
    RsaNoPadding,
}

#[derive(Default, Deserialize)]
struct AeadParameters {
    iv: Option<Bytes>,
    aad: Option<Bytes>,
}

/// A field that the algorithm needs is not there; in serde's words.
#[derive(Debug, thiserror::Error)]
#[error("missing field `{0}`")]
struct Missing(&'static str);

impl TryFrom<RawSign> for Sign {
    type Error = Missing;

    fn try_from(raw: RawSign) -> Result<Self, Missing> {
        let RawSign { key_handle, algorithm, parameters: SignParameters { digest, message } } = raw;
        let how = match algorithm {
            SignAlgorithm::Ecdsa => SignHow::Ecdsa { digest: digest.ok_or(Missing("digest"))? },
            SignAlgorithm::HmacSha256 => {
                SignHow::HmacSha256 { message: message.ok_or(Missing("message"))? }
            }
        };
        Ok(Self { key_handle, how })
    }
}

impl EncryptHow {
    fn of(
        algorithm: EncryptAlgorithm,
        parameters: Option<AeadParameters>,
    ) -> Result<Self, Missing> {
        let AeadParameters { iv, aad } = parameters.unwrap_or_default();
        Ok(match algorithm {
            EncryptAlgorithm::Aead => {
                Self::Aead { iv: iv.ok_or(Missing("iv"))?, aad: aad.ok_or(Missing("aad"))? }
            }
            EncryptAlgorithm::RsaPkcs1 => Self::RsaPkcs1,
            EncryptAlgorithm::RsaNoPadding => Self::RsaNoPadding,
        })
    }
}

impl TryFrom<RawEncrypt> for Encrypt {
    type Error = Missing;

    fn try_from(raw: RawEncrypt) -> Result<Self, Missing> {
        let RawEncrypt { key_handle, algorithm, parameters, plaintext } = raw;
        Ok(Self { key_handle, how: EncryptHow::of(algorithm, parameters)?, plaintext })
    }
}

impl TryFrom<RawDecrypt> for Decrypt {
    type Error = Missing;

    fn try_from(raw: RawDecrypt) -> Result<Self, Missing> {
        let RawDecrypt { key_handle, algorithm, parameters, ciphertext } = raw;
        Ok(Self { key_handle, how: EncryptHow::of(algorithm, parameters)?, ciphertext })
    }
}

impl Request for CreateKey {}
impl Request for CreatePair {}
impl Request for Move {}
impl Request for OfHandle {}
impl Request for Sign {}
impl Request for Encrypt {}
impl Request for Decrypt {}
impl Request for Derive {}
