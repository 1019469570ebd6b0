//! The verbs.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use aws_lc_rs::digest::{Digest, SHA256};
use aws_lc_rs::encoding::{AsBigEndian, EcPrivateKeyBin};
use aws_lc_rs::rand;
use aws_lc_rs::signature::{EcdsaKeyPair, KeyPair};
use aws_lc_rs::{constant_time, hmac};
use provider_core::key::{
    AEAD_KEY_BYTES, check_aead_decrypt, check_aead_encrypt, check_import_length, check_mac_input,
};
use provider_core::{
    AeadInput, Capabilities, ErrorKind, Identity, Info, KeyBlob, KeyRef, KeySpec, Mac, Protection,
    Provider, ProviderError, PublicKey, Result, SecretBytes, Secrets, Settings, Signature, Usage,
};
use zeroize::Zeroizing;

use crate::blob::{self, Key, SIGNING};
use crate::rootkey::{RootKey, no_randomness};

/// Bytes of a generated HMAC key: the output length of SHA-256 (RFC 2104 section 3).
const HMAC_KEY_BYTES: usize = 32;
/// Unwrapped keys kept ready; past it all are dropped and unwrapped anew.
const CACHE_MAX_KEYS: usize = 4096;

/// Keys in software, wrapped under the root that the host passes as the secret `root`.
pub struct SoftProvider {
    root: RootKey,
    /// Keys ready to compute, by their whole blob.
    ready: RwLock<HashMap<Box<[u8]>, Arc<Ready>>>,
}

/// An unwrapped key and what it was unwrapped as.
struct Ready {
    usage: Usage,
    id: provider_core::KeyId,
    key: Key,
}

impl fmt::Debug for SoftProvider {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("SoftProvider").finish_non_exhaustive()
    }
}

impl Provider for SoftProvider {
    fn open(
        settings: Settings,
        mut secrets: Secrets,
        known: Option<&Identity>,
    ) -> Result<(Self, Identity)> {
        settings.finish()?;
        let root = secrets.take("root").ok_or_else(|| ProviderError::invalid("root is missing"))?;
        secrets.finish()?;
        let root = RootKey::new(&root)?;
        let identity = match known {
            None => root.new_identity()?,
            Some(known) if root.made(known) => known.clone(),
            Some(_) => {
                return Err(ProviderError::new(ErrorKind::WrongDevice, "root is another one"));
            }
        };
        Ok((Self { root, ready: RwLock::default() }, identity))
    }

    fn info(&self) -> Info {
        Info {
            kind: "soft".into(),
            manufacturer: "Sealhost".into(),
            firmware: env!("CARGO_PKG_VERSION").into(),
            notes: String::new(),
            protection: Protection::Software,
            capabilities: Capabilities::SEAL
                .and(Capabilities::MAC)
                .and(Capabilities::IMPORT_MAC)
                .and(Capabilities::SIGN)
                .and(Capabilities::IMPORT_SIGN)
                .and(Capabilities::AEAD)
                .and(Capabilities::NEVER_WAITS),
            concurrency: 64,
        }
    }

    fn self_test(&self) -> Result<()> {
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"Jefe");
        let tag = hmac::sign(&key, b"what do ya want for nothing?");
        constant_time::verify_slices_are_equal(tag.as_ref(), &RFC_4231_CASE_2)
            .map_err(|_differs| ProviderError::new(ErrorKind::Integrity, "HMAC-SHA256 is wrong"))?;
        let wrong = || ProviderError::new(ErrorKind::Integrity, "AES-256-GCM is wrong");
        let wrapped = self.root.wrap(b"self test", b"plain")?;
        let plain = self.root.unwrap(b"self test", &wrapped);
        if plain.is_none_or(|plain| plain.as_slice() != b"plain") {
            return Err(wrong());
        }
        let key = soft_aead::Key::new(&[0; AEAD_KEY_BYTES]);
        if key.encrypt(&[0; 12], &[], &[]) != Ok(GCM_CASE_13.to_vec()) {
            return Err(wrong());
        }
        Ok(())
    }

    fn generate(&self, spec: &KeySpec) -> Result<KeyBlob> {
        check_spec(spec)?;
        match spec.usage {
            Usage::Seal | Usage::Mac => {
                let mut key = Zeroizing::new([0; HMAC_KEY_BYTES]);
                rand::fill(key.as_mut_slice()).map_err(|_unspecified| no_randomness())?;
                blob::wrap_hmac(&self.root, spec, key.as_slice())
            }
            Usage::Sign => {
                let pair = EcdsaKeyPair::generate(SIGNING).map_err(|_failed| no_randomness())?;
                let scalar: EcPrivateKeyBin<'_> =
                    pair.private_key().as_be_bytes().map_err(|_unspecified| no_randomness())?;
                blob::wrap_ecdsa(&self.root, spec, scalar.as_ref(), pair.public_key().as_ref())
            }
            Usage::Aead => {
                let mut key = Zeroizing::new([0; AEAD_KEY_BYTES]);
                rand::fill(key.as_mut_slice()).map_err(|_unspecified| no_randomness())?;
                blob::wrap_aead(&self.root, spec, key.as_slice())
            }
            Usage::Rsa => Err(no_rsa()),
        }
    }

    fn import(&self, spec: &KeySpec, key: &SecretBytes) -> Result<KeyBlob> {
        check_spec(spec)?;
        check_import_length(spec.usage, key)?;
        match spec.usage {
            Usage::Mac => blob::wrap_hmac(&self.root, spec, key.expose()),
            Usage::Aead => blob::wrap_aead(&self.root, spec, key.expose()),
            Usage::Sign => blob::wrap_private_number(&self.root, spec, key.expose()),
            Usage::Seal | Usage::Rsa => Err(not_imported()),
        }
    }

    fn destroy(&self, key: KeyRef<'_>) -> Result<()> {
        let mut ready = self.ready.write().unwrap_or_else(PoisonError::into_inner);
        ready.remove(key.blob);
        Ok(())
    }

    fn mac(&self, key: KeyRef<'_>, input: &[u8]) -> Result<Mac> {
        check_mac_input(key.usage, input)?;
        match &self.ready_key(key)?.key {
            Key::Hmac(hmac_key) => Ok(Mac::copy_of(hmac::sign(hmac_key, input).as_ref())),
            Key::Ecdsa(_) | Key::Aead(_) => {
                Err(ProviderError::invalid("a key of this usage computes no mac"))
            }
        }
    }

    fn random(&self, out: &mut [u8]) -> Result<()> {
        rand::fill(out).map_err(|_unspecified| no_randomness())
    }

    fn public_key(&self, key: KeyRef<'_>) -> Result<PublicKey> {
        let ready = self.ready_key(key)?;
        let point = ecdsa(&ready.key)?.public_key().as_ref().try_into();
        point.map(PublicKey).map_err(|_length| internal("the public key is no point"))
    }

    fn sign(&self, key: KeyRef<'_>, digest: &[u8; 32]) -> Result<Signature> {
        let ready = self.ready_key(key)?;
        let pair = ecdsa(&ready.key)?;
        let digest = Digest::import_less_safe(digest, &SHA256)
            .map_err(|_length| internal("the digest was refused"))?;
        let signature = pair.sign_digest(&digest).map_err(|_failed| internal("signing failed"))?;
        let bytes = signature.as_ref().try_into();
        bytes.map(Signature).map_err(|_length| internal("the signature has another length"))
    }

    fn aead_encrypt(&self, key: KeyRef<'_>, input: AeadInput<'_>) -> Result<Vec<u8>> {
        check_aead_encrypt(input)?;
        let ready = self.ready_key(key)?;
        let sealed = aead(&ready.key)?.encrypt(input.iv, input.aad, input.text);
        sealed.map_err(|_failed| internal("encrypting failed"))
    }

    fn aead_decrypt(&self, key: KeyRef<'_>, input: AeadInput<'_>) -> Result<SecretBytes> {
        check_aead_decrypt(input)?;
        let ready = self.ready_key(key)?;
        let text = aead(&ready.key)?.decrypt(input.iv, input.aad, input.text);
        let other = |_failed| ProviderError::new(ErrorKind::Integrity, "the tag is another one");
        text.map(SecretBytes::new).map_err(other)
    }
}

impl SoftProvider {
    /// The key behind a blob, from the cache or unwrapped now.
    fn ready_key(&self, key: KeyRef<'_>) -> Result<Arc<Ready>> {
        let cached = {
            let ready = self.ready.read().unwrap_or_else(PoisonError::into_inner);
            ready.get(key.blob).cloned()
        };
        if let Some(ready) = cached {
            if ready.usage != key.usage || ready.id != key.id {
                return Err(ProviderError::invalid("blob is of another usage or id"));
            }
            return Ok(ready);
        }
        let unwrapped = blob::unwrap(&self.root, key)?;
        let fresh = Arc::new(Ready { usage: key.usage, id: key.id, key: unwrapped });
        let mut ready = self.ready.write().unwrap_or_else(PoisonError::into_inner);
        if ready.len() >= CACHE_MAX_KEYS {
            ready.clear();
        }
        ready.insert(key.blob.into(), Arc::clone(&fresh));
        Ok(fresh)
    }
}

/// RFC 4231 section 4.3.
const RFC_4231_CASE_2: [u8; 32] = [
    0x5b, 0xdc, 0xc1, 0x46, 0xbf, 0x60, 0x75, 0x4e, 0x6a, 0x04, 0x24, 0x26, 0x08, 0x95, 0x75, 0xc7,
    0x5a, 0x00, 0x3f, 0x08, 0x9d, 0x27, 0x39, 0x83, 0x9d, 0xec, 0x58, 0xb9, 0x64, 0xec, 0x38, 0x43,
];

/// Test case 13 of McGrew and Viega, The Galois/Counter Mode of Operation, appendix B: nothing
/// encrypted under a key and an initialization vector of zeros.
const GCM_CASE_13: [u8; 16] = [
    0x53, 0x0f, 0x8a, 0xfb, 0xc7, 0x45, 0x36, 0xb9, 0xa9, 0x63, 0xb4, 0xf1, 0xc4, 0xcb, 0x73, 0x8b,
];

fn check_spec(spec: &KeySpec) -> Result<()> {
    if spec.state.is_some() {
        return Err(ProviderError::new(ErrorKind::Unsupported, "software has no machine state"));
    }
    if !spec.usage.has(spec.algorithm) {
        return Err(ProviderError::new(ErrorKind::Unsupported, "usage and algorithm do not fit"));
    }
    Ok(())
}

fn ecdsa(key: &Key) -> Result<&EcdsaKeyPair> {
    match key {
        Key::Ecdsa(pair) => Ok(pair),
        Key::Hmac(_) | Key::Aead(_) => Err(ProviderError::invalid("the key does not sign")),
    }
}

fn aead(key: &Key) -> Result<&soft_aead::Key> {
    match key {
        Key::Aead(key) => Ok(key),
        Key::Hmac(_) | Key::Ecdsa(_) => Err(ProviderError::invalid("the key does not encrypt")),
    }
}

fn no_rsa() -> ProviderError {
    ProviderError::new(ErrorKind::Unsupported, "software has no rsa keys")
}

fn not_imported() -> ProviderError {
    ProviderError::new(ErrorKind::Unsupported, "no key of this usage is imported")
}

fn internal(what: &str) -> ProviderError {
    ProviderError::new(ErrorKind::Internal, what)
}
