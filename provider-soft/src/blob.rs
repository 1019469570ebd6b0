//! The stored form of a key: a clear header that names usage, algorithm and id, authenticated
//! together with the key wrapped under the root.
//!
//! Layout: version 1 (1 byte), usage (1), algorithm (1), id (16), nonce (12), wrapped key, tag (16).

use aws_lc_rs::agreement::{self, ECDH_P256};
use aws_lc_rs::hmac;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm};
use provider_core::key::{AEAD_KEY_BYTES, PRIVATE_KEY_BYTES, PUBLIC_KEY_BYTES};
use provider_core::{
    Algorithm, ErrorKind, KeyBlob, KeyId, KeyRef, KeySpec, ProviderError, Result, Usage,
};
use zeroize::Zeroizing;

use crate::rootkey::RootKey;

const VERSION: u8 = 1;
const HEADER_BYTES: usize = 19;
/// P-256 with signatures as r and s.
pub(crate) const SIGNING: &EcdsaSigningAlgorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;

/// A key ready to compute; it stands behind a reference count, so its size costs nothing.
#[expect(clippy::large_enum_variant, reason = "one allocation a key either way")]
pub(crate) enum Key {
    /// For `Seal` and `Mac`.
    Hmac(hmac::Key),
    /// For `Sign`.
    Ecdsa(EcdsaKeyPair),
    /// For `Aead`.
    Aead(soft_aead::Key),
}

/// Wraps HMAC key bytes.
pub(crate) fn wrap_hmac(root: &RootKey, spec: &KeySpec, key: &[u8]) -> Result<KeyBlob> {
    wrap(root, spec.usage, Algorithm::HmacSha256, spec.id, key)
}

/// Wraps the bytes of an AES-256-GCM key.
pub(crate) fn wrap_aead(root: &RootKey, spec: &KeySpec, key: &[u8]) -> Result<KeyBlob> {
    wrap(root, spec.usage, Algorithm::Aes256Gcm, spec.id, key)
}

/// Wraps a P-256 key pair as scalar and point.
pub(crate) fn wrap_ecdsa(
    root: &RootKey,
    spec: &KeySpec,
    scalar: &[u8],
    point: &[u8],
) -> Result<KeyBlob> {
    let mut plain = Zeroizing::new(Vec::with_capacity(PRIVATE_KEY_BYTES + PUBLIC_KEY_BYTES));
    plain.extend_from_slice(scalar);
    plain.extend_from_slice(point);
    wrap(root, spec.usage, Algorithm::EcdsaP256, spec.id, &plain)
}

/// Wraps a P-256 private number together with the point that follows from it.
///
/// # Errors
/// `InvalidParameter`: it is zero, or not less than the order of the curve.
pub(crate) fn wrap_private_number(
    root: &RootKey,
    spec: &KeySpec,
    scalar: &[u8],
) -> Result<KeyBlob> {
    // The library derives points for key agreement only; the point of a number is the same for
    // signing.
    let point = agreement::PrivateKey::from_private_key(&ECDH_P256, scalar)
        .map_err(|_rejected| ProviderError::invalid("the key is no private number of P-256"))?
        .compute_public_key()
        .map_err(|_unspecified| ProviderError::new(ErrorKind::Internal, "a point has no bytes"))?;
    wrap_ecdsa(root, spec, scalar, point.as_ref())
}

/// Opens a blob and checks that it is of the usage and id that the caller names.
///
/// # Errors
/// `InvalidParameter`: of another usage or id. `Integrity`: altered, or of another root; the tag
/// does not tell which.
pub(crate) fn unwrap(root: &RootKey, key: KeyRef<'_>) -> Result<Key> {
    let (header, wrapped) = key
        .blob
        .split_first_chunk::<HEADER_BYTES>()
        .ok_or_else(|| ProviderError::new(ErrorKind::Integrity, "blob is too short"))?;
    let [version, usage, algorithm, id @ ..] = header;
    if *version != VERSION {
        return Err(ProviderError::new(ErrorKind::Integrity, format!("blob version {version}")));
    }
    let plain = root.unwrap(header, wrapped).ok_or_else(|| {
        ProviderError::new(ErrorKind::Integrity, "blob is altered or of another root")
    })?;
    if Usage::from_number(u32::from(*usage)) != Some(key.usage) || *id != key.id.0 {
        return Err(ProviderError::invalid("blob is of another usage or id"));
    }
    let damaged = || ProviderError::new(ErrorKind::Integrity, "blob holds no key");
    match Algorithm::from_number(u32::from(*algorithm)) {
        Some(Algorithm::HmacSha256) => Ok(Key::Hmac(hmac::Key::new(hmac::HMAC_SHA256, &plain))),
        Some(Algorithm::EcdsaP256) => {
            let (scalar, point) = plain.split_at_checked(PRIVATE_KEY_BYTES).ok_or_else(damaged)?;
            EcdsaKeyPair::from_private_key_and_public_key(SIGNING, scalar, point)
                .map(Key::Ecdsa)
                .map_err(|_rejected| damaged())
        }
        Some(Algorithm::Aes256Gcm) => {
            let key: &[u8; AEAD_KEY_BYTES] =
                plain.as_slice().try_into().map_err(|_length| damaged())?;
            Ok(Key::Aead(soft_aead::Key::new(key)))
        }
        Some(Algorithm::Rsa2048 | Algorithm::Rsa4096) | None => Err(damaged()),
    }
}

fn wrap(
    root: &RootKey,
    usage: Usage,
    algorithm: Algorithm,
    id: KeyId,
    plain: &[u8],
) -> Result<KeyBlob> {
    let mut blob = Vec::with_capacity(HEADER_BYTES + plain.len() + 28);
    blob.push(VERSION);
    blob.push(small(usage.number())?);
    blob.push(small(algorithm.number())?);
    blob.extend_from_slice(&id.0);
    let wrapped = root.wrap(&blob, plain)?;
    blob.extend_from_slice(&wrapped);
    Ok(KeyBlob(blob))
}

fn small(number: u32) -> Result<u8> {
    u8::try_from(number).map_err(|error| ProviderError::new(ErrorKind::Internal, error.to_string()))
}
