//! Aead keys: AES keys that an HMAC key of the TPM wraps.
//!
//! TPMs have no authenticated encryption, and most no encryption in bulk. So the AES key lies in
//! the blob, under a key-encryption key that only this TPM computes, and is in this process's
//! memory from its first use on. Its level is therefore not that of the other keys: who reads this
//! memory has it.
//!
//! The HMAC key is made for this alone: its public area says so, so that the verb `mac` cannot be
//! given it under another usage.

use std::sync::Arc;

use provider_core::key::AEAD_KEY_BYTES;
use provider_core::{KeyBlob, KeyRef, ProviderError, SecretBytes};
use soft_aead::{Failed, Key, wrapped};
use tss_esapi::Context;
use tss_esapi::interface_types::algorithm::HashingAlgorithm;
use tss_esapi::structures::{MaxBuffer, Private};
use zeroize::Zeroizing;

use super::key::{altered, public, wipe_stack};
use super::slots::Facts;
use super::{Device, Outcome, command, fault, unexpected};
use crate::binding::sha256;
use crate::blob::{Blob, Purpose, Wrapped};

impl Device {
    /// Makes an aead key, of `secret` or of random bytes of the TPM.
    pub(super) fn create_aead(
        &mut self,
        purpose: Purpose,
        secret: Option<&SecretBytes>,
    ) -> Outcome<KeyBlob> {
        let mut key = Zeroizing::new([0; AEAD_KEY_BYTES]);
        match secret {
            Some(secret) if secret.len() == key.len() => key.copy_from_slice(secret.expose()),
            Some(_) => return Err(ProviderError::invalid("an aead key has 32 bytes").into()),
            None => self.random(&mut key[..])?,
        }
        let mut salt = [0; wrapped::SALT_BYTES];
        self.random(&mut salt)?;
        let blob = self.create_object(purpose, None)?;
        self.wrap(blob, salt, &key)
    }

    /// The AES key of a blob: from memory, or unwrapped by one command.
    ///
    /// # Errors
    /// `InvalidParameter`: the blob is of another usage or id. `Integrity`: it was altered.
    pub(crate) fn aead_key(&mut self, key: KeyRef<'_>) -> Outcome<Arc<Key>> {
        let hash = sha256(key.blob);
        if let Some((id, found)) = self.unwrapped.find(&hash) {
            if id != key.id {
                return Err(ProviderError::invalid("the key was made with another id").into());
            }
            return Ok(found);
        }
        let (blob, _) = self.decode(key)?;
        let Wrapped { salt, key: wrapped } = blob.wrapped.ok_or_else(altered)?;
        let mac = self.mac(key, &wrapped::mac_input(&key.id.0, &salt))?;
        let bytes = wrapped::unwrap(mac.expose(), &wrapped).map_err(|Failed| altered())?;
        let unwrapped = Arc::new(Key::new(&bytes));
        self.unwrapped.keep(hash, key.id, Arc::clone(&unwrapped));
        Ok(unwrapped)
    }

    /// Wraps an AES key by the HMAC key of a blob, which stays loaded for its first use.
    fn wrap(
        &mut self,
        mut blob: Blob,
        salt: [u8; wrapped::SALT_BYTES],
        key: &[u8; AEAD_KEY_BYTES],
    ) -> Outcome<KeyBlob> {
        let public = public(&blob)?;
        let facts = Arc::new(Facts::of(&blob, &public)?);
        let private = Private::try_from(&blob.private[..]).map_err(fault)?;
        let input = wrapped::mac_input(&blob.purpose.id.0, &salt);
        let input = MaxBuffer::try_from(input).map_err(fault)?;
        let (parent, session) = (self.srk.handle, self.sessions.authorizing());
        let handle = self.slots.with_room(&mut self.context, |context| {
            let load = |tpm: &mut Context| tpm.load(parent, private.clone(), public.clone());
            command(context, session, load)
        })?;
        let mac = command(&mut self.context, session, |tpm| {
            tpm.hmac(handle.into(), input.clone(), HashingAlgorithm::Sha256)
        });
        let wrapped = mac.and_then(|mac| {
            wrapped::wrap(&mac, key).map_err(|Failed| unexpected("a key cannot be wrapped"))
        });
        wipe_stack();
        let encoded = wrapped.and_then(|key| {
            blob.wrapped = Some(Wrapped { salt, key });
            Ok(blob.encode()?)
        });
        match encoded {
            Ok(bytes) => {
                self.slots.keep(sha256(&bytes), &facts, handle);
                Ok(KeyBlob(bytes))
            }
            Err(fault) => {
                if !fault.is_lost() {
                    command(&mut self.context, None, |tpm| tpm.flush_context(handle.into()))?;
                }
                Err(fault)
            }
        }
    }
}
