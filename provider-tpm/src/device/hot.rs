//! Keys that are used often, kept at persistent handles: behind a resource manager nothing is
//! swapped for them, and after a restart nothing is loaded.
//!
//! A copy at a handle could be used by whoever reaches the TPM, while using a blob takes the blob
//! too. So the copy gets an authorization value, the hash of the whole blob (TPM2_ObjectChangeAuth):
//! it is as good as the blob to whoever has that, and no good to anybody else. It also tells an
//! altered blob from the right one, which loading does otherwise. The session's HMAC covers the
//! Name of the object, so another one put at the handle computes nothing for us.
//!
//! Keys bound to PCRs are not persisted: their policy asks for no authorization value.

use std::sync::Arc;

use provider_core::KeyRef;
use tss_esapi::Context;
use tss_esapi::handles::KeyHandle;
use tss_esapi::structures::{Auth, Public};
use tss_esapi::traits::UnMarshall;

use super::slots::{BlobHash, Facts};
use super::{Device, Outcome, command, fault};
use crate::binding::sha256;
use crate::blob::Blob;
use crate::error::Fault;

/// Domain of the digest that authorizes a persisted key.
const AUTH_LABEL: &[u8] = b"sealhost/tpm/persist/1\0";

impl Device {
    /// Runs one command with the key's persistent copy; nothing when it has none.
    pub(super) fn with_persistent<T>(
        &mut self,
        hash: &BlobHash,
        key: KeyRef<'_>,
        mut run: impl FnMut(&mut Context, KeyHandle) -> tss_esapi::Result<T>,
    ) -> Outcome<Option<T>> {
        let session = self.sessions.authorizing();
        for (number, handle, facts) in self.copies(hash, key)? {
            let outcome = command(&mut self.context, session, |tpm| run(tpm, handle));
            let Some(places) = &mut self.places else { continue };
            match outcome {
                Ok(output) => {
                    places.claim(number, *hash, facts);
                    return Ok(Some(output));
                }
                // Another object is there now, or this is not the blob it was made from. If it
                // was the session's fault, the next command tells.
                Err(fault) if fault.is_refused() => places.doubt(&mut self.context, number)?,
                Err(fault) => return Err(fault),
            }
        }
        Ok(None)
    }

    /// Counts a use of a loaded key, and persists a hot one when a change may come: at most one
    /// TPM2_EvictControl, so where nothing is free it only makes room. Whatever goes wrong, the
    /// key works on as it did.
    pub(super) fn settle(&mut self, hash: &BlobHash, key: KeyRef<'_>) {
        let Some(places) = &mut self.places else { return };
        let uses = self.slots.count_use(hash);
        if !places.begin(uses) {
            return;
        }
        let outcome = self.change(hash, key);
        let (Err(fault), Some(places)) = (outcome, &mut self.places) else { return };
        let refused = fault.is_refused();
        if refused {
            places.stop();
        }
        places.say(match fault {
            Fault::Code(code) if refused => {
                format!(
                    "the owner's authorization is not empty ({:#x}), so no key is persisted",
                    code.0
                )
            }
            Fault::Code(code) => format!("going on without: {}", code.describe()),
            Fault::Final(error) => format!("going on without: {error}"),
        });
    }

    /// Takes every persistent copy of a key out of the TPM.
    pub(super) fn evict(&mut self, blob: &[u8]) -> Outcome<()> {
        let (Some(places), Ok(blob)) = (&mut self.places, Blob::decode(blob)) else {
            return Ok(());
        };
        places.refresh(&mut self.context)?;
        for number in places.named(&blob.name()) {
            places.evict(&mut self.context, number)?;
        }
        Ok(())
    }

    /// Where the key may be: at the place that is known, else at those of its Name.
    fn copies(
        &mut self,
        hash: &BlobHash,
        key: KeyRef<'_>,
    ) -> Outcome<Vec<(u32, KeyHandle, Arc<Facts>)>> {
        let Some(places) = &mut self.places else { return Ok(Vec::new()) };
        if let Some(known) = places.find(hash) {
            let (_, _, facts) = &known;
            facts.purpose.check(key)?;
            return Ok(vec![known]);
        }
        if !places.has_unknown() || self.slots.knows(hash) {
            return Ok(Vec::new());
        }
        let (blob, public) = self.decode(key)?;
        let facts = Arc::new(Facts::of(&blob, &public)?);
        let mut copies = Vec::new();
        let Some(places) = &self.places else { return Ok(copies) };
        for (number, handle) in places.unknown(&blob.name()) {
            self.context.tr_set_auth(handle.into(), auth(key.blob)?).map_err(fault)?;
            copies.push((number, handle, Arc::clone(&facts)));
        }
        Ok(copies)
    }

    fn change(&mut self, hash: &BlobHash, key: KeyRef<'_>) -> Outcome<()> {
        let Some(places) = &mut self.places else { return Ok(()) };
        places.refresh(&mut self.context)?;
        match (places.free(), places.idle()) {
            (Some(number), _) => self.persist(number, hash, key),
            (None, Some(number)) => places.evict(&mut self.context, number),
            (None, None) => {
                places.say("all handles hold keys in use, or objects that are not ours".into());
                Ok(())
            }
        }
    }

    fn persist(&mut self, number: u32, hash: &BlobHash, key: KeyRef<'_>) -> Outcome<()> {
        let (handle, facts) = self.loaded(hash, key)?;
        let auth = auth(key.blob)?;
        let (parent, session) = (self.srk.handle, self.sessions.authorizing());
        let private = command(&mut self.context, session, |tpm| {
            tpm.object_change_auth(handle.into(), parent.into(), auth.clone())
        })?;
        let blob = Blob::decode(key.blob)?;
        let public = Public::unmarshall(&blob.public).map_err(fault)?;
        let copy = self.slots.with_room(&mut self.context, |context| {
            command(context, session, |tpm| tpm.load(parent, private.clone(), public.clone()))
        })?;
        let Some(places) = &mut self.places else { return Ok(()) };
        let put = places.put(&mut self.context, number, copy);
        command(&mut self.context, None, |tpm| tpm.flush_context(copy.into()))?;
        self.context.tr_set_auth(put?.into(), auth).map_err(fault)?;
        places.claim(number, *hash, facts);
        self.slots.forget(&mut self.context, hash)
    }
}

/// The authorization value of a persisted key.
fn auth(blob: &[u8]) -> Outcome<Auth> {
    let digest = sha256(&[AUTH_LABEL, blob].concat());
    Auth::try_from(&digest[..]).map_err(fault)
}
