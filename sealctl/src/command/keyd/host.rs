//! The host that keys are moved into: its two sockets, and the proof that it has a key.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use aws_lc_rs::{constant_time, hmac, rand};
use sealhost_client::blocking::Client;
use sealhost_client::{Call, Error, KeyHandle, KeydUsage};
use wire::api::{ImportRequest, Protection, SecretBase64, Usage, VersionState};
use wire::code::Code;
use wire::keyd::Kind;
use wire::name::{KeyName, ProviderName};

use super::material::P256;
use crate::command::Session;
use crate::exit::Failure;

/// Bytes that a proof is made over.
const CHALLENGE_BYTES: usize = 32;
/// Bytes of an initialization vector that no other call will have.
const IV_BYTES: usize = 12;
/// The byte before a ciphertext that the dialect writes.
const CIPHERTEXT_V2: u8 = 2;

/// Where a key is in the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Lives {
    pub(super) provider: ProviderName,
    pub(super) protection: Protection,
}

/// A key to be moved.
pub(super) enum Key<'a> {
    Symmetric(KeydUsage, &'a [u8]),
    P256(&'a P256),
}

/// The native socket and that of the dialect.
pub(super) struct Host {
    native: Session,
    keyd: Client,
    providers: Option<Vec<ProviderName>>,
    floor: Option<Protection>,
}

impl Host {
    /// Makes sure that a host of ours listens on the dialect's socket, and not the service that
    /// keys are moved from: its refusals have a code.
    pub(super) fn reach(
        native: Session,
        keyd: Client,
        providers: Option<Vec<ProviderName>>,
        floor: Option<Protection>,
    ) -> Result<Self, Failure> {
        let host = Self { native, keyd, providers, floor };
        // No id has a zero byte, and the dialect alone says so.
        match host.keyd.send(&Call::keyd_handle(Kind::Key, "\0")) {
            Err(error) if error.code() == Some(Code::Invalid) => Ok(host),
            Err(error) if error.code() == Some(Code::Denied) || error.retryable() => {
                Err(error.into())
            }
            Err(error @ Error::Connect(_)) => Err(error.into()),
            Ok(_) | Err(_) => Err(Failure::usage(
                "what listens on the socket of the dialect is not sealhost",
                "stop the aziot Key Service and let sealhost listen there ([listen.keyd]), or name \
                 sealhost's socket with --keyd-socket",
            )),
        }
    }

    /// A handle of a key that the host has.
    pub(super) fn find(&self, kind: Kind, id: &str) -> Result<Option<KeyHandle>, Error> {
        match self.keyd.send(&Call::keyd_handle(kind, id)) {
            Ok(reply) => Ok(Some(reply.value)),
            Err(error) if error.code() == Some(Code::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Imports a key and gives a handle of it.
    pub(super) fn import(
        &self,
        id: &str,
        name: &KeyName,
        key: &Key<'_>,
    ) -> Result<KeyHandle, Error> {
        match key {
            Key::Symmetric(usage, bytes) => {
                Ok(self.keyd.send(&Call::keyd_import(id, *usage, bytes)?)?.value)
            }
            Key::P256(pair) => {
                let key = SecretBase64::new(pair.number.clone()).map_err(Error::Limit)?;
                let request = ImportRequest {
                    usage: Usage::Sign,
                    key,
                    providers: self.providers.clone(),
                    floor: self.floor,
                    new_version: None,
                };
                self.native.client.send(&Call::import(name, &request)?)?;
                Ok(self.keyd.send(&Call::keyd_handle(Kind::Pair, id))?.value)
            }
        }
    }

    /// Whether the host computes with the key of a handle what the bytes of the file give, over
    /// values that were never used before.
    pub(super) fn proves(&self, handle: &KeyHandle, key: &Key<'_>) -> Result<bool, Error> {
        let (mut challenge, mut iv) = ([0; CHALLENGE_BYTES], [0; IV_BYTES]);
        if rand::fill(&mut challenge).and_then(|()| rand::fill(&mut iv)).is_err() {
            return Ok(false);
        }
        match key {
            Key::Symmetric(KeydUsage::Sign, bytes) => {
                let reply = self.keyd.send(&Call::keyd_mac(handle, &challenge)?)?.value;
                let key = hmac::Key::new(hmac::HMAC_SHA256, bytes);
                Ok(hmac::verify(&key, &challenge, reply.signature.as_bytes()).is_ok())
            }
            Key::Symmetric(KeydUsage::Encrypt, bytes) => {
                let call = Call::keyd_encrypt(handle, &iv, &challenge, &challenge)?;
                let reply = self.keyd.send(&call)?.value;
                let expected = sealed(bytes, iv, &challenge);
                Ok(expected.is_some_and(|expected| {
                    constant_time::verify_slices_are_equal(&expected, reply.ciphertext.as_bytes())
                        .is_ok()
                }))
            }
            Key::P256(pair) => {
                let digest = digest(&SHA256, &challenge);
                let reply = self.keyd.send(&Call::keyd_sign(handle, digest.as_ref())?)?.value;
                let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &pair.point);
                Ok(public.verify(&challenge, reply.signature.as_bytes()).is_ok())
            }
        }
    }

    /// Where the active version of a key is, by the native socket: the same host has it.
    pub(super) fn lives(&self, name: &KeyName) -> Result<Option<Lives>, Error> {
        let record = self.native.client.send(&Call::key(name))?.value;
        let active = record.versions.into_iter().find(|it| it.state == VersionState::Active);
        Ok(active.map(|it| Lives { provider: it.provider, protection: it.protection }))
    }
}

/// What the dialect answers to `encrypt`: the challenge, with itself authenticated besides.
fn sealed(key: &[u8], iv: [u8; IV_BYTES], challenge: &[u8]) -> Option<Vec<u8>> {
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).ok()?);
    let mut text = challenge.to_vec();
    let nonce = Nonce::assume_unique_for_key(iv);
    key.seal_in_place_append_tag(nonce, Aad::from(challenge), &mut text).ok()?;
    text.insert(0, CIPHERTEXT_V2);
    Some(text)
}
