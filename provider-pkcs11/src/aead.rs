//! AES-256-GCM inside the device, and how a key answers for itself.
//!
//! **The check value.** A record holds what the object of its CKA_ID must answer. For an AES key
//! that is one more use of GCM: the tag of the empty text, without associated data, under
//! [`KeyRecord::check_iv`](crate::blob::KeyRecord::check_iv), which no caller can name
//! ([`is_check_iv`](crate::blob::is_check_iv) refuses them). It gives away no more than any
//! ciphertext under a fresh initialization vector does, for which GCM is proven; other ways are worse:
//!
//! - An initialization vector that a caller could use too would be used twice, and two tags under
//!   one betray the hash key and with it every tag (NIST SP 800-38D appendix A). For the same
//!   reason the vector holds a hash of the record (a label and 32 bytes, so that it is hashed to
//!   the first counter block), and the record is not put into the associated data under a fixed
//!   vector: a key that is imported twice would answer twice under that.
//! - E(0), the usual key check value (CKA_CHECK_VALUE), is the hash key itself.
//! - Another mode (ECB, CBC, CMAC) under the same key needs an argument that its inputs meet no
//!   counter block, a permission on the object that it does not need otherwise, and a mechanism
//!   that is missing where GCM is not. GCM itself is never missing where it is used.
//!
//! **A tag that is refused** is told from a broken device by asking the device. Most modules have a
//! return value for it; SoftHSM 2.6 says CKR_GENERAL_ERROR, as it does when its files are gone. So
//! after a value that may mean either, the key must answer its check, and then refuse the same text
//! once more. Only that is `Integrity`; the session and the login are left as they are.

use aws_lc_rs::constant_time;
use cryptoki::context::Function;
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::aead::GcmParams;
use cryptoki::object::ObjectHandle;
use cryptoki::session::Session;
use cryptoki::types::Ulong;
use provider_core::key::AEAD_TAG_BYTES;
use provider_core::{AeadInput, ErrorKind, ProviderError, Result, SecretBytes};
use zeroize::Zeroizing;

use crate::error::{Fault, Step};

const TAG_BITS: u64 = 128;
/// CKR_AEAD_DECRYPT_FAILED of PKCS#11 3.0, which the binding does not know.
const AEAD_DECRYPT_FAILED: RvError = RvError::UnknownErrorCode(0x42);

/// Encrypts inside the device: the ciphertext, then the tag.
pub(crate) fn encrypt(session: &Session, key: ObjectHandle, input: AeadInput<'_>) -> Step<Vec<u8>> {
    let mut iv = input.iv.to_vec();
    let sealed =
        session.encrypt(&Mechanism::AesGcm(parameters(&mut iv, input.aad)?), key, input.text)?;
    // Some devices draw an initialization vector of their own and give it in the place of ours.
    if iv != input.iv {
        return Err(odd("C_Encrypt: the device used another initialization vector"));
    }
    if sealed.len() != input.text.len().saturating_add(AEAD_TAG_BYTES) {
        return Err(odd("C_Encrypt: the ciphertext is not as long as the text and a tag"));
    }
    Ok(sealed)
}

/// Decrypts inside the device. `answers` is asked whether device and key are as they should be,
/// where the module does not say whether it was the tag.
///
/// # Errors
/// `Integrity`: the tag is not the one. Those of `answers`.
///
/// # Secrets
/// The plaintext.
pub(crate) fn decrypt(
    session: &Session,
    key: ObjectHandle,
    input: AeadInput<'_>,
    answers: impl FnOnce() -> Step<()>,
) -> Step<SecretBytes> {
    let error = match open(session, key, input)? {
        Outcome::Text(text) => return Ok(text),
        Outcome::Refused => return Err(wrong_tag()),
        Outcome::Unclear(error) => error,
    };
    answers()?;
    match open(session, key, input)? {
        Outcome::Text(text) => Ok(text),
        Outcome::Refused => Err(wrong_tag()),
        Outcome::Unclear(again) if again == error => Err(wrong_tag()),
        Outcome::Unclear(again) => Err(Error::Pkcs11(again, Function::Decrypt).into()),
    }
}

/// What a key answers under an initialization vector of check values.
pub(crate) fn check_value(
    session: &Session,
    key: ObjectHandle,
    iv: &[u8],
) -> Step<[u8; AEAD_TAG_BYTES]> {
    let tag = encrypt(session, key, AeadInput { iv, aad: b"", text: b"" })?;
    tag.try_into().map_err(|_length| odd("C_Encrypt: the tag is not 16 bytes"))
}

/// What a key of these bytes answers, computed here.
///
/// # Errors
/// `InvalidParameter`: it has another length.
///
/// # Secrets
/// The copy of the key is wiped.
pub(crate) fn check_value_of(key: &SecretBytes, iv: &[u8]) -> Result<[u8; AEAD_TAG_BYTES]> {
    let wrong_length = || ProviderError::invalid("an imported key of this usage has 32 bytes");
    let key = soft_aead::Key::new(key.expose().try_into().map_err(|_length| wrong_length())?);
    let tag = key.encrypt(iv, b"", b"").map_err(|_failed| {
        ProviderError::new(ErrorKind::Internal, "AES-256-GCM in this process failed")
    })?;
    tag.try_into().map_err(|_length| {
        ProviderError::new(ErrorKind::Internal, "AES-256-GCM in this process failed")
    })
}

/// Whether a key answers as recorded.
///
/// # Errors
/// `Integrity`: it does not.
pub(crate) fn check(
    session: &Session,
    key: ObjectHandle,
    iv: &[u8],
    expected: &[u8; AEAD_TAG_BYTES],
) -> Step<()> {
    let value = check_value(session, key, iv)?;
    constant_time::verify_slices_are_equal(&value, expected).map_err(|_differs| {
        let detail = "C_Encrypt: the check value of the object differs";
        Fault::Found(ProviderError::new(ErrorKind::Integrity, detail))
    })
}

enum Outcome {
    Text(SecretBytes),
    /// It was the tag.
    Refused,
    /// It was the tag, or something is broken.
    Unclear(RvError),
}

#[expect(clippy::wildcard_enum_match_arm, reason = "what is not in the table is no tag")]
fn open(session: &Session, key: ObjectHandle, input: AeadInput<'_>) -> Step<Outcome> {
    let mut iv = input.iv.to_vec();
    let mechanism = Mechanism::AesGcm(parameters(&mut iv, input.aad)?);
    let status = match session.decrypt(&mechanism, key, input.text) {
        Ok(text) => {
            let text = SecretBytes::new(Zeroizing::new(text));
            let fits = text.len().saturating_add(AEAD_TAG_BYTES) == input.text.len();
            let short = || odd("C_Decrypt: the text is not as long as the ciphertext");
            return fits.then_some(Outcome::Text(text)).ok_or_else(short);
        }
        Err(Error::Pkcs11(status, Function::Decrypt)) => status,
        Err(error) => return Err(error.into()),
    };
    match status {
        RvError::EncryptedDataInvalid
        | RvError::EncryptedDataLenRange
        | RvError::SignatureInvalid
        | AEAD_DECRYPT_FAILED => Ok(Outcome::Refused),
        RvError::GeneralError
        | RvError::FunctionFailed
        | RvError::DeviceError
        | RvError::DataInvalid
        | RvError::DataLenRange => Ok(Outcome::Unclear(status)),
        status => Err(Error::Pkcs11(status, Function::Decrypt).into()),
    }
}

fn parameters<'a>(iv: &'a mut [u8], aad: &'a [u8]) -> Step<GcmParams<'a>> {
    Ok(GcmParams::new(iv, aad, Ulong::new(TAG_BITS))?)
}

fn wrong_tag() -> Fault {
    let detail = "C_Decrypt: the tag is not that of the text";
    Fault::Found(ProviderError::new(ErrorKind::Integrity, detail))
}

fn odd(detail: &str) -> Fault {
    Fault::Refused(ProviderError::new(ErrorKind::Integrity, detail))
}
