//! New keys: the object, what it must answer from then on, and the record of both.

use std::sync::PoisonError;

use cryptoki::object::ObjectHandle;
use cryptoki::session::Session;
use provider_core::{
    Capabilities, ErrorKind, KeyBlob, KeySpec, ProviderError, Result, SecretBytes,
};

use crate::blob::{CHECK_BYTES, Check, KeyRecord};
use crate::create::{self, NewKey};
use crate::desk::Desk;
use crate::error::{Fault, Step};
use crate::provider::Pkcs11Provider;
use crate::{aead, import, mechanism, object, rsa, wrapped};

impl Pkcs11Provider {
    pub(crate) fn generate_hmac(&self, spec: &KeySpec) -> Result<KeyBlob> {
        let new = NewKey::of(spec.usage, spec.id);
        self.make(spec, |desk| {
            let key_type = self.abilities.hmac_key_type;
            let handle = create::generate_hmac(desk.session, key_type, &new)?;
            self.check_mac(desk.session, handle, spec).map(Check::Mac)
        })
    }

    pub(crate) fn import_hmac(&self, spec: &KeySpec, key: &SecretBytes) -> Result<KeyBlob> {
        let (new, block) = (NewKey::of(spec.usage, spec.id), import::to_block(key));
        self.make(spec, |desk| {
            let key_type = self.abilities.hmac_key_type;
            let handle = create::import_hmac(desk.session, key_type, &new, &block)?;
            self.check_mac(desk.session, handle, spec).map(Check::Mac)
        })
    }

    pub(crate) fn generate_sign(&self, spec: &KeySpec) -> Result<KeyBlob> {
        let new = NewKey::of(spec.usage, spec.id);
        self.make(spec, |desk| {
            let (handle, point) = create::generate_pair(desk.session, &new)?;
            mechanism::challenge(desk.session, handle, &point)?;
            Ok(Check::Point(point))
        })
    }

    pub(crate) fn import_sign(&self, spec: &KeySpec, key: &SecretBytes) -> Result<KeyBlob> {
        let (new, point) = (NewKey::of(spec.usage, spec.id), import::public_point(key)?);
        self.make(spec, |desk| {
            let handle = create::import_private(desk.session, &new, key)?;
            mechanism::challenge(desk.session, handle, &point)?;
            Ok(Check::Point(point))
        })
    }

    /// Makes an AES key inside the device where it computes with it, else one that an HMAC key of
    /// the device wraps; of the bytes that are given, or drawn.
    pub(crate) fn make_aead(&self, spec: &KeySpec, key: Option<&SecretBytes>) -> Result<KeyBlob> {
        let new = NewKey::of(spec.usage, spec.id);
        if !self.abilities.capabilities.contains(Capabilities::AEAD) {
            return self.make(spec, |desk| {
                let key_type = self.abilities.hmac_key_type;
                let handle = create::generate_hmac(desk.session, key_type, &new)?;
                let check = self.check_mac(desk.session, handle, spec)?;
                wrapped::make(desk.session, handle, spec.id, check, key).map(Check::Wrapped)
            });
        }
        let iv = KeyRecord::check_iv(spec.usage, spec.id, &self.home);
        let expected = key.map(|key| aead::check_value_of(key, &iv)).transpose()?;
        self.make(spec, |desk| {
            let handle = match key {
                None => create::generate_aes(desk.session, &new)?,
                Some(key) => create::import_aes(desk.session, &new, key)?,
            };
            if let Some(expected) = &expected {
                aead::check(desk.session, handle, &iv, expected)?;
                return Ok(Check::Tag(*expected));
            }
            aead::check_value(desk.session, handle, &iv).map(Check::Tag)
        })
    }

    /// Makes an RSA key, which takes seconds. A module that must do nothing else while it changes the
    /// token makes it in a session first, so that others wait for its copying only.
    pub(crate) fn generate_rsa(&self, spec: &KeySpec, bytes: usize) -> Result<KeyBlob> {
        let new = NewKey::of(spec.usage, spec.id);
        if !self.changes_alone {
            return self.make(spec, |desk| {
                let (handle, modulus) = create::generate_rsa(desk.session, bytes, &new)?;
                rsa::challenge(desk.session, handle, &modulus)?;
                Ok(Check::Modulus(modulus))
            });
        }
        let passing = NewKey { stays: false, ..new.clone() };
        let (made_in, handle, modulus) = self.link.run(|desk| {
            let (handle, modulus) = create::generate_rsa(desk.session, bytes, &passing)?;
            Ok((desk.epoch, handle, modulus))
        })?;
        let blob = self.make(spec, |desk| {
            if desk.epoch != made_in {
                let detail = "the connection was lost while an RSA key was made";
                let error = ProviderError::new(ErrorKind::DeviceGone, detail);
                return Err(Fault::Found(error));
            }
            let kept = create::keep(desk.session, handle, &new)?;
            rsa::challenge(desk.session, kept, &modulus)?;
            Ok(Check::Modulus(modulus.clone()))
        });
        // Where this fails, the session is lost, and the object with it.
        let _ = self.link.run(|desk| {
            // In another epoch its number may be that of another object.
            if desk.epoch == made_in {
                desk.session.destroy_object(handle)?;
            }
            Ok(())
        });
        blob
    }

    /// Makes an object and its record. What a failure leaves is destroyed; what a crash leaves has
    /// the id of the spec, by which `destroy` finds it.
    fn make(&self, spec: &KeySpec, work: impl Fn(&Desk<'_>) -> Step<Check>) -> Result<KeyBlob> {
        let _one_at_a_time = self.changing.write().unwrap_or_else(PoisonError::into_inner);
        if self.link.run(|desk| object::exists(desk.session, spec.id))? {
            return Err(ProviderError::new(ErrorKind::KeyExists, "the token has this CKA_ID"));
        }
        let check = self.link.run(|desk| {
            if desk.again {
                let _left_behind = object::destroy_ours(desk.session, spec.id)?;
            }
            work(desk).inspect_err(|_fault| {
                // The first failure is told; a second one here leaves the object to `destroy`.
                let _ = object::destroy_ours(desk.session, spec.id);
            })
        })?;
        let home = self.home.clone();
        Ok(KeyRecord { usage: spec.usage, id: spec.id, home, check }.encode())
    }

    fn check_mac(
        &self,
        session: &Session,
        key: ObjectHandle,
        spec: &KeySpec,
    ) -> Step<[u8; CHECK_BYTES]> {
        let input = KeyRecord::check_input(spec.usage, spec.id, &self.home);
        let value = mechanism::hmac(session, key, &input)?;
        value.expose().try_into().map_err(|_length| {
            let detail = "C_Sign: a check value of another length";
            Fault::Found(ProviderError::new(ErrorKind::Integrity, detail))
        })
    }
}
