//! Using a new key once, before anybody relies on it: a device may say that it made a key, and
//! hand out a blob that it cannot use, or keep another key than the one it was given.

use aws_lc_rs::digest::{Digest, SHA256};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, ParsedPublicKey,
    RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents,
};
use aws_lc_rs::{hmac, rand};
use provider_core::key::SEAL_LABEL;
use provider_core::{ErrorKind, Mac, PublicKey, SecretBytes, Signature, Usage};

use super::version::Material;
use super::{Job, rsa};
use crate::error::{Failure, HostError};
use crate::plugin::{AeadText, Answer, Call, CallError, DeviceKey};
use crate::router::Provider;

/// What a new MAC key is used on; for a seal key it follows the label. No envelope's message can
/// be that, where the length of a field follows the label; the answer is kept by nobody.
const FIRST_INPUT: &[u8] = b"first use of a new key";

/// The exponent of every RSA key.
const RSA_EXPONENT: [u8; 3] = [1, 0, 1];

/// Uses a key that was just made: one MAC, which must be right where the key's bytes are known, or
/// one signature, which the public key must verify, or one text, which must come back.
///
/// # Errors
/// `BrokenKey`: the device does not know the key that it made, or computes wrongly with it.
/// Whatever says nothing of the key, such as a device that is gone, as it is.
pub(super) async fn use_once(
    job: &Job<'_>,
    provider: &Provider,
    key: &DeviceKey,
    material: Material<'_>,
) -> Result<(), HostError> {
    let call = async |call| provider.call(job.account(), call).await.map_err(judge);
    let is_right = match key.usage {
        Usage::Seal | Usage::Mac => {
            let input = first_input(key.usage);
            let Answer::Mac(mac) = call(Call::Mac(key.clone(), input.clone())).await? else {
                return Err(Failure::Bug("mac did not answer with a mac").into());
            };
            mac_is_right(material, &input, &mac)
        }
        Usage::Sign => {
            let mut digest = [0; 32];
            rand::fill(&mut digest).map_err(|_unspecified| Failure::Bug("no randomness"))?;
            let Answer::PublicKey(point) = call(Call::PublicKey(key.clone())).await? else {
                return Err(Failure::Bug("public_key did not answer with a point").into());
            };
            let Answer::Signature(signature) = call(Call::Sign(key.clone(), digest)).await? else {
                return Err(Failure::Bug("sign did not answer with a signature").into());
            };
            point_is_right(material, &point) && verifies(&point, &digest, &signature)
        }
        Usage::Aead => {
            let mut iv = [0; 12];
            rand::fill(&mut iv).map_err(|_unspecified| Failure::Bug("no randomness"))?;
            let input = |text: &[u8]| AeadText {
                iv: iv.to_vec(),
                aad: FIRST_INPUT.to_vec(),
                text: SecretBytes::copy_of(text),
            };
            let sealed = call(Call::AeadEncrypt(key.clone(), input(b""))).await?;
            let Answer::AeadCiphertext(tag) = sealed else {
                return Err(Failure::Bug("aead_encrypt did not answer with a ciphertext").into());
            };
            let opened = call(Call::AeadDecrypt(key.clone(), input(&tag))).await?;
            let Answer::AeadPlaintext(text) = opened else {
                return Err(Failure::Bug("aead_decrypt did not answer with a text").into());
            };
            text.is_empty() && tag_is_right(material, &iv, &tag)
        }
        Usage::Rsa => {
            let mut message = [0; 32];
            rand::fill(&mut message).map_err(|_unspecified| Failure::Bug("no randomness"))?;
            let Answer::RsaModulus(modulus) = call(Call::RsaPublic(key.clone())).await? else {
                return Err(Failure::Bug("rsa_public did not answer with a modulus").into());
            };
            let block = rsa::signature_block(&message, modulus.0.len());
            let block = block.ok_or(Failure::Bug("an rsa key that is too short"))?;
            let call = call(Call::RsaPrivate(key.clone(), SecretBytes::new(block))).await?;
            let Answer::Rsa(signature) = call else {
                return Err(Failure::Bug("rsa_private did not answer with a number").into());
            };
            let public = RsaPublicKeyComponents { n: &modulus.0[..], e: &RSA_EXPONENT[..] };
            public.verify(&RSA_PKCS1_2048_8192_SHA256, &message, signature.expose()).is_ok()
        }
    };
    if is_right {
        return Ok(());
    }
    tracing::error!(provider = %provider.name(), "the device computes wrongly with a new key");
    Err(HostError::from(Failure::BrokenKey("it computes wrongly".into())).at(provider.name()))
}

fn first_input(usage: Usage) -> Vec<u8> {
    match usage {
        Usage::Seal => [SEAL_LABEL, FIRST_INPUT].concat(),
        Usage::Mac | Usage::Sign | Usage::Aead | Usage::Rsa => FIRST_INPUT.to_vec(),
    }
}

/// Of a key that the device drew, nobody else can tell.
fn mac_is_right(material: Material<'_>, input: &[u8], mac: &Mac) -> bool {
    match material {
        Material::Generated => true,
        Material::Imported(bytes) => {
            let key = hmac::Key::new(hmac::HMAC_SHA256, bytes);
            let is_right = hmac::verify(&key, input, mac.expose()).is_ok();
            drop(key);
            wire::burn_stack();
            is_right
        }
    }
}

/// Of a key that was imported, whether the device tells the point of that one.
fn point_is_right(material: Material<'_>, point: &PublicKey) -> bool {
    let Material::Imported(private) = material else { return true };
    let pair = EcdsaKeyPair::from_private_key_and_public_key(
        &ECDSA_P256_SHA256_FIXED_SIGNING,
        private,
        &point.0,
    );
    pair.is_ok()
}

/// Of a key that was imported, whether the device computes with that one.
fn tag_is_right(material: Material<'_>, iv: &[u8], tag: &[u8]) -> bool {
    let Material::Imported(bytes) = material else { return true };
    let is_right = <&[u8; 32]>::try_from(bytes)
        .is_ok_and(|key| soft_aead::Key::new(key).decrypt(iv, FIRST_INPUT, tag).is_ok());
    wire::burn_stack();
    is_right
}

fn verifies(point: &PublicKey, digest: &[u8; 32], signature: &Signature) -> bool {
    let key = ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point.0);
    let digest = Digest::import_less_safe(digest, &SHA256);
    match (key, digest) {
        (Ok(key), Ok(digest)) => key.verify_digest_sig(&digest, &signature.0).is_ok(),
        (Err(_), _) | (_, Err(_)) => false,
    }
}

/// What a failure of the first use says: of the key, that it is broken, whatever the provider
/// found wrong with it.
fn judge(mut error: HostError) -> HostError {
    if let Failure::Call(CallError::Provider(said)) = &error.failure
        && is_about_the_key(said.kind)
    {
        error.failure = Failure::BrokenKey(said.to_string());
    }
    error
}

const fn is_about_the_key(kind: ErrorKind) -> bool {
    match kind {
        ErrorKind::InvalidParameter
        | ErrorKind::Unsupported
        | ErrorKind::TooLarge
        | ErrorKind::KeyNotFound
        | ErrorKind::KeyExists
        | ErrorKind::Integrity
        | ErrorKind::Internal
        | ErrorKind::Panicked => true,
        ErrorKind::StateMismatch
        | ErrorKind::Busy
        | ErrorKind::DeviceAuth
        | ErrorKind::LockedOut
        | ErrorKind::DeviceGone
        | ErrorKind::Exhausted
        | ErrorKind::WrongDevice => false,
    }
}
