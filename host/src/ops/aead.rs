//! Encryption under initialization vectors of the caller's.

use provider_core::SecretBytes;
use soft_aead::Key as SoftKey;
use wire::code::{Code, Fault};
use wire::envelope::Integrity;

use super::{Job, version_of};
use crate::error::{Failure, HostError};
use crate::plugin::{AeadText, Answer, Call};
use crate::registry::{Key, Version};
use crate::reply::Used;
use crate::request::AeadWith;

/// Notes the vector of an encryption by a version, or by what is derived from it; says so in the log when the key had it before, at the first
/// time and then ever more rarely.
///
/// # Errors
/// `Invalid`: it had, and that is refused.
pub(super) fn note_vector(
    job: &Job<'_>,
    key: &Key,
    (version, derived_by): (&Version, Option<&[u8]>),
    iv: &[u8],
    refused: bool,
) -> Result<(), HostError> {
    let noted = job.host.ivs.note(version.id, derived_by, iv);
    let Some(repeats) = noted else { return Ok(()) };
    job.host.metrics.count_repeated_vector();
    if repeats.is_power_of_two() {
        tracing::warn!(
            request = job.request_id,
            version = version.number,
            repeats,
            "a caller encrypts twice under one initialization vector, which betrays what it \
             encrypts; the audit names key and caller"
        );
    }
    if refused {
        let detail = "the key has encrypted under this initialization vector before";
        return Err(HostError::from(Fault::new(Code::Invalid, detail)).of(&key.name));
    }
    Ok(())
}

pub(super) async fn encrypt(
    job: &Job<'_>,
    key: &Key,
    version: &Version,
    with: &AeadWith,
    plaintext: &[u8],
) -> Result<Vec<u8>, HostError> {
    let text = text_of(with, plaintext);
    let call = |key| Call::AeadEncrypt(key, text);
    let answer = job.host.router.call(job.account(), version, key.terms.usage, call).await?;
    let Answer::AeadCiphertext(ciphertext) = answer else {
        return Err(Failure::Bug("aead_encrypt did not answer with a ciphertext").into());
    };
    Ok(ciphertext)
}

/// Decrypts with the active version, or with an older one that fits: a ciphertext names none.
pub(super) async fn decrypt(
    job: &Job<'_>,
    key: &Key,
    with: &AeadWith,
    ciphertext: &[u8],
    used: &mut Used,
) -> Result<SecretBytes, HostError> {
    let mut versions = key.live_versions().collect::<Vec<_>>();
    versions.sort_by_key(|version| std::cmp::Reverse(version.number));
    let mut failure = None;
    for version in versions {
        used.note(version);
        let text = text_of(with, ciphertext);
        let call = |key| Call::AeadDecrypt(key, text);
        let answer = job.host.router.call(job.account(), version, key.terms.usage, call).await;
        match answer {
            Ok(Answer::AeadPlaintext(plaintext)) => return Ok(plaintext),
            Ok(_) => return Err(Failure::Bug("aead_decrypt did not answer with a text").into()),
            Err(error) if error.code() == Code::Integrity => failure = Some(error),
            Err(error) => return Err(error),
        }
    }
    match failure {
        Some(error) => Err(error),
        None => version_of(key, None).and(Err(Integrity.into())),
    }
}

fn text_of(with: &AeadWith, text: &[u8]) -> AeadText {
    let text = SecretBytes::copy_of(text);
    AeadText { iv: with.iv.clone(), aad: with.aad.clone(), text }
}

pub(super) fn encrypt_in_memory(
    key: &SecretBytes,
    with: &AeadWith,
    plaintext: &[u8],
) -> Result<Vec<u8>, HostError> {
    let sealed = soft_key(key)?.encrypt(&with.iv, &with.aad, plaintext);
    Ok(sealed.map_err(|_failed| Failure::Bug("encryption failed"))?)
}

pub(super) fn decrypt_in_memory(
    key: &SecretBytes,
    with: &AeadWith,
    ciphertext: &[u8],
) -> Result<SecretBytes, HostError> {
    let opened = soft_key(key)?.decrypt(&with.iv, &with.aad, ciphertext);
    Ok(SecretBytes::new(opened.map_err(|_failed| Integrity)?))
}

fn soft_key(key: &SecretBytes) -> Result<SoftKey, HostError> {
    let bytes = key.expose().try_into();
    let bytes = bytes.map_err(|_length| Failure::Bug("a derived key of another length"))?;
    Ok(SoftKey::new(bytes))
}
