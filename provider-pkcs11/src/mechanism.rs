//! HMAC-SHA256 and ECDSA P-256 inside the device.

use aws_lc_rs::digest::{Digest, SHA256};
use aws_lc_rs::rand;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ParsedPublicKey};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::ObjectHandle;
use cryptoki::session::Session;
use provider_core::key::SIGNATURE_BYTES;
use provider_core::{ErrorKind, ProviderError, SecretBytes, Signature};
use zeroize::Zeroizing;

use crate::error::{Fault, Step};

/// The block length of SHA-256 in bytes: what every HMAC key is brought to.
pub(crate) const HMAC_KEY_BYTES: usize = 64;

/// Computes an HMAC-SHA256 inside the device.
pub(crate) fn hmac(session: &Session, key: ObjectHandle, input: &[u8]) -> Step<SecretBytes> {
    let mac = session.sign(&Mechanism::Sha256Hmac, key, input)?;
    if mac.len() != 32 {
        return Err(wrong(&format!("C_Sign: an HMAC-SHA256 of {} bytes", mac.len())));
    }
    Ok(SecretBytes::new(Zeroizing::new(mac)))
}

/// Signs a SHA-256 digest inside the device.
pub(crate) fn ecdsa(session: &Session, key: ObjectHandle, digest: &[u8; 32]) -> Step<Signature> {
    let signature = session.sign(&Mechanism::Ecdsa, key, digest)?;
    let bytes: [u8; SIGNATURE_BYTES] = signature.try_into().map_err(|other: Vec<u8>| {
        wrong(&format!("C_Sign: a signature of {} bytes", other.len()))
    })?;
    Ok(Signature(bytes))
}

/// Lets a key sign a random challenge and verifies it under the point that it shall have.
///
/// # Errors
/// `Integrity`: it does not verify.
pub(crate) fn challenge(session: &Session, key: ObjectHandle, point: &[u8; 65]) -> Step<()> {
    let mut digest = [0; 32];
    rand::fill(&mut digest).map_err(|_unspecified| wrong("no randomness for a challenge"))?;
    let signature = ecdsa(session, key, &digest)?;
    let verified = Digest::import_less_safe(&digest, &SHA256).is_ok_and(|digest| {
        ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
            .is_ok_and(|key| key.verify_digest_sig(&digest, &signature.0).is_ok())
    });
    if verified { Ok(()) } else { Err(wrong("C_Sign: the signature does not verify")) }
}

fn wrong(detail: &str) -> Fault {
    Fault::Found(ProviderError::new(ErrorKind::Integrity, detail))
}
