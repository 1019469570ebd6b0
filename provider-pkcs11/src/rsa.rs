//! RSA inside the device: the bare operation, and letting a key prove that it is the one.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand;
use aws_lc_rs::rsa::PublicKeyComponents;
use aws_lc_rs::signature::RSA_PKCS1_2048_8192_SHA256;
use cryptoki::mechanism::Mechanism;
use cryptoki::object::ObjectHandle;
use cryptoki::session::Session;
use provider_core::{ErrorKind, ProviderError, Result, RsaModulus, RsaResult, SecretBytes};
use zeroize::Zeroizing;

use crate::create::RSA_EXPONENT;
use crate::error::{Fault, Step};

/// The DER before a SHA-256 digest in a signature (RFC 8017 section 9.2, note 1).
const DIGEST_INFO: [u8; 19] = [
    0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05,
    0x00, 0x04, 0x20,
];

/// Checks what is given to the bare operation: a number below the modulus, as long as it.
///
/// # Errors
/// `InvalidParameter`.
pub(crate) fn check_input(input: &[u8], modulus: &RsaModulus) -> Result<()> {
    if input.len() == modulus.0.len() && input < modulus.0.as_slice() {
        Ok(())
    } else {
        Err(ProviderError::invalid("the input must be as long as the modulus, and less than it"))
    }
}

/// RSASP1 inside the device.
///
/// # Secrets
/// The result.
///
/// # Spec
/// RFC 8017 section 5.2.1; PKCS#11 2.40 mechanisms, section 2.1.8 X.509 (raw) RSA.
pub(crate) fn private(session: &Session, key: ObjectHandle, input: &[u8]) -> Step<RsaResult> {
    let result = SecretBytes::new(Zeroizing::new(session.sign(&Mechanism::RsaX509, key, input)?));
    if result.len() == input.len() {
        Ok(result)
    } else {
        Err(wrong("C_Sign: the result is not as long as the modulus"))
    }
}

/// Lets a key sign a random challenge (RSASSA-PKCS1-v1_5, padded here) and verifies it under the
/// modulus that it shall have.
///
/// # Errors
/// `Integrity`: it does not verify.
pub(crate) fn challenge(session: &Session, key: ObjectHandle, modulus: &RsaModulus) -> Step<()> {
    let mut message = [0; 32];
    rand::fill(&mut message).map_err(|_unspecified| wrong("no randomness for a challenge"))?;
    let signature = private(session, key, &padded(&message, modulus.0.len()))?;
    let public = PublicKeyComponents { n: modulus.0.as_slice(), e: RSA_EXPONENT.as_slice() };
    public
        .verify(&RSA_PKCS1_2048_8192_SHA256, &message, signature.expose())
        .map_err(|_differs| wrong("C_Sign: the RSA signature does not verify"))
}

/// EMSA-PKCS1-v1_5 (RFC 8017 section 9.2) with SHA-256.
fn padded(message: &[u8], length: usize) -> Vec<u8> {
    let hash = digest(&SHA256, message);
    let end = [&[0], DIGEST_INFO.as_slice(), hash.as_ref()].concat();
    let mut padded = vec![0xff; length.saturating_sub(end.len())];
    for (to, from) in padded.iter_mut().zip([0, 1]) {
        *to = from;
    }
    padded.extend_from_slice(&end);
    padded
}

fn wrong(detail: &str) -> Fault {
    Fault::Found(ProviderError::new(ErrorKind::Integrity, detail))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(input: &[u8], passes: bool) {
        assert_eq!(check_input(input, &RsaModulus(vec![0x80, 5])).is_ok(), passes, "{input:?}");
    }

    #[test]
    fn input_below_the_modulus_passes() {
        check(&[0x80, 4], true);
        check(&[0, 0], true);
    }

    #[test]
    fn input_of_the_modulus_or_more_is_invalid() {
        check(&[0x80, 5], false);
        check(&[0xff, 0], false);
    }

    #[test]
    fn input_of_another_length_is_invalid() {
        check(&[1], false);
        check(&[0, 0, 1], false);
        check(&[], false);
    }
}
