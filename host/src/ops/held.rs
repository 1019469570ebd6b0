//! What is done with the key that a handle is of. A key that was derived from one in a device is in
//! the host's memory for the one request.

use std::sync::Arc;

use aws_lc_rs::hmac;
use provider_core::SecretBytes;
use wire::api::{Protection, Usage};

use super::handle::{issue, key_of};
use super::mac::compute;
use super::sign::{public_point, signature_of};
use super::{Job, aead, destroy, rsa, usable, version_of};
use crate::error::{Failure, HostError};
use crate::registry::{Key, Version};
use crate::reply::{Held, PublicHalf, Reply, Used};
use crate::request::{Handle, HeldRequest};

pub(super) async fn held(
    job: &Job<'_>,
    handle: &Handle,
    request: &HeldRequest,
    used: &mut Used,
) -> Result<Reply, HostError> {
    let key = match key_of(job, handle) {
        Err(error)
            if matches!(error.failure, Failure::NotFound(_))
                && matches!(request, HeldRequest::Destroy) =>
        {
            return Ok(Reply::Held(Held::Destroyed));
        }
        key => key?,
    };
    let held = match &handle.claims.derived_by {
        None => with_key(job, handle, &key, request, used).await,
        Some(data) => {
            let base = usable(&key, Usage::Mac, request.operation())?;
            let version = version_of(base, None)?;
            used.note(version);
            if let HeldRequest::Encrypt { with, refuse_repeated, .. } = request {
                let derived = (version, Some(&data[..]));
                aead::note_vector(job, base, derived, &with.iv, *refuse_repeated)?;
            }
            let derived = derive(job, base, version, data).await?;
            // What is computed from here on is in this process.
            used.protection = Some(Protection::Software);
            with_derived(&derived, request)
        }
    };
    wire::burn_stack();
    match held? {
        Outcome::Held(held) => Ok(Reply::Held(held)),
        Outcome::Derive(data) => Ok(Reply::Handle(issue(job, &key, Some(data))?)),
    }
}

enum Outcome {
    Held(Held),
    Derive(Vec<u8>),
}

async fn with_key(
    job: &Job<'_>,
    handle: &Handle,
    key: &Arc<Key>,
    request: &HeldRequest,
    used: &mut Used,
) -> Result<Outcome, HostError> {
    let asked = request.operation();
    let active = |usage| usable(key, usage, asked).and_then(|key| version_of(key, None));
    let held = match request {
        HeldRequest::Mac(message) => {
            let version = active(Usage::Mac)?;
            used.note(version);
            let mac = compute(job, key, version, message.expose()).await?;
            Held::Mac(SecretBytes::copy_of(&mac))
        }
        HeldRequest::Sign(digest) => {
            let version = active(Usage::Sign)?;
            used.note(version);
            Held::Signature(signature_of(job, key, version, truncated(digest)).await?)
        }
        HeldRequest::Encrypt { with, plaintext, refuse_repeated } => {
            let version = active(Usage::Aead)?;
            used.note(version);
            aead::note_vector(job, key, (version, None), &with.iv, *refuse_repeated)?;
            Held::Encrypted(aead::encrypt(job, key, version, with, plaintext.expose()).await?)
        }
        HeldRequest::Decrypt { with, ciphertext } => {
            usable(key, Usage::Aead, asked)?;
            Held::Decrypted(aead::decrypt(job, key, with, ciphertext, used).await?)
        }
        HeldRequest::RsaPrivate(padding, message) => {
            let version = active(Usage::Rsa)?;
            used.note(version);
            Held::Rsa(rsa::private(job, key, version, *padding, message.expose()).await?)
        }
        HeldRequest::Derive(data) => {
            let version = active(Usage::Mac)?;
            used.note(version);
            // Data that cannot be used is refused now and not when the handle is used.
            compute(job, key, version, data).await?;
            return Ok(Outcome::Derive(data.clone()));
        }
        HeldRequest::Export => return Err(Failure::WrongUsage { is: "not derived", asked }.into()),
        HeldRequest::Public => {
            let version = version_of(key, None)?;
            used.note(version);
            match key.terms.usage {
                Usage::Sign => {
                    Held::Public(PublicHalf::P256(public_point(job, key, version).await?))
                }
                Usage::Rsa => Held::Public(PublicHalf::Rsa(rsa::modulus(job, key, version).await?)),
                usage @ (Usage::Seal | Usage::Mac | Usage::Aead) => {
                    return Err(Failure::WrongUsage { is: usage.as_str(), asked }.into());
                }
            }
        }
        HeldRequest::Destroy => {
            destroy::destroy_generation(job, &key.name, handle.claims.generation).await?;
            Held::Destroyed
        }
    };
    Ok(Outcome::Held(held))
}

/// The bytes of the key that is derived by `data`: its HMAC.
async fn derive(
    job: &Job<'_>,
    base: &Key,
    version: &Version,
    data: &[u8],
) -> Result<SecretBytes, HostError> {
    Ok(SecretBytes::copy_of(&compute(job, base, version, data).await?))
}

fn with_derived(derived: &SecretBytes, request: &HeldRequest) -> Result<Outcome, HostError> {
    let asked = request.operation();
    let held = match request {
        HeldRequest::Mac(message) => {
            let key = hmac::Key::new(hmac::HMAC_SHA256, derived.expose());
            let mac = hmac::sign(&key, message.expose());
            Held::Mac(SecretBytes::copy_of(mac.as_ref()))
        }
        HeldRequest::Encrypt { with, plaintext, .. } => {
            Held::Encrypted(aead::encrypt_in_memory(derived, with, plaintext.expose())?)
        }
        HeldRequest::Decrypt { with, ciphertext } => {
            Held::Decrypted(aead::decrypt_in_memory(derived, with, ciphertext)?)
        }
        HeldRequest::Export => Held::Exported(SecretBytes::copy_of(derived.expose())),
        HeldRequest::Sign(_)
        | HeldRequest::RsaPrivate(..)
        | HeldRequest::Derive(_)
        | HeldRequest::Public
        | HeldRequest::Destroy => return Err(Failure::WrongUsage { is: "derived", asked }.into()),
    };
    Ok(Outcome::Held(held))
}

/// The digest as ECDSA takes it: its leftmost 256 bits, or the same number with zeros before it.
///
/// # Spec
/// FIPS 186-5 section 6.4.1, step 2.
fn truncated(digest: &[u8]) -> [u8; 32] {
    let mut field = [0; 32];
    let taken = digest.get(..32).unwrap_or(digest);
    if let Some(end) = field.get_mut(32 - taken.len()..) {
        end.copy_from_slice(taken);
    }
    field
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(digest: &[u8], number: [u8; 32]) {
        assert_eq!(truncated(digest), number);
    }

    #[test]
    fn digest_of_256_bits_is_itself() {
        check(&[7; 32], [7; 32]);
    }

    #[test]
    fn longer_digest_loses_its_end() {
        check(&[[7; 32], [9; 32]].concat(), [7; 32]);
    }

    #[test]
    fn shorter_digest_is_the_same_number() {
        let mut number = [0; 32];
        number[12..].fill(7);
        check(&[7; 20], number);
        check(&[], [0; 32]);
    }
}
