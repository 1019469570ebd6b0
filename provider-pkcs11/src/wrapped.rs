//! AES keys where the device has no AES-256-GCM: an HMAC key of the device wraps each, and the
//! process of the provider computes with it.
//!
//! The HMAC key stands on the token under the id of the AES key, and is destroyed with it. The AES
//! key is drawn here, so that it is in the memory of the process that made it and of those that use
//! it; on disk it is wrapped (`soft_aead::wrapped`).

use aws_lc_rs::rand;
use cryptoki::object::ObjectHandle;
use cryptoki::session::Session;
use provider_core::key::AEAD_KEY_BYTES;
use provider_core::{ErrorKind, KeyId, ProviderError, SecretBytes};
use soft_aead::wrapped::{SALT_BYTES, mac_input, unwrap, wrap};
use soft_aead::{Failed, Key};
use zeroize::Zeroizing;

use crate::blob::Wrapped;
use crate::error::{Fault, Step};
use crate::mechanism;

/// Wraps a key, or one drawn now, under an HMAC key of the device that answers `check`.
///
/// # Secrets
/// Copies of the key are wiped.
pub(crate) fn make(
    session: &Session,
    device_key: ObjectHandle,
    id: KeyId,
    check: [u8; 32],
    key: Option<&SecretBytes>,
) -> Step<Wrapped> {
    let mut bytes = Box::new(Zeroizing::new([0; AEAD_KEY_BYTES]));
    match key {
        None => rand::fill(&mut **bytes).map_err(|_unspecified| internal("no randomness"))?,
        Some(key) if key.len() == bytes.len() => bytes.copy_from_slice(key.expose()),
        Some(_) => return Err(internal("a key of another length")),
    }
    let mut salt = [0; SALT_BYTES];
    rand::fill(&mut salt).map_err(|_unspecified| internal("no randomness"))?;
    let mac = mechanism::hmac(session, device_key, &mac_input(&id.0, &salt))?;
    let key = wrap(mac.expose(), &bytes).map_err(|Failed| internal("a key was not wrapped"))?;
    Ok(Wrapped { check, salt, key })
}

/// Unwraps a key, for use in this process.
///
/// # Errors
/// `Integrity`: it is not what this device wrapped.
pub(crate) fn open(
    session: &Session,
    device_key: ObjectHandle,
    id: KeyId,
    wrapped: &Wrapped,
) -> Step<Key> {
    let mac = mechanism::hmac(session, device_key, &mac_input(&id.0, &wrapped.salt))?;
    let key = unwrap(mac.expose(), &wrapped.key).map_err(|Failed| {
        Fault::Found(ProviderError::new(ErrorKind::Integrity, "the wrapped key was altered"))
    })?;
    Ok(Key::new(&key))
}

fn internal(detail: &str) -> Fault {
    Fault::Found(ProviderError::new(ErrorKind::Internal, detail))
}
