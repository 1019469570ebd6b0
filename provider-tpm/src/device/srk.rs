//! The storage root key: parent of all our keys, salt of our sessions, identity of the TPM.

use provider_core::{ErrorKind, ProviderError};
use tss_esapi::Context;
use tss_esapi::handles::{KeyHandle, ObjectHandle, PersistentTpmHandle, TpmHandle};
use tss_esapi::interface_types::dynamic_handles::Persistent;
use tss_esapi::interface_types::resource_handles::{Hierarchy, Provision};
use tss_esapi::interface_types::session_handles::AuthSession;

use super::{Outcome, command, fault, session, template};
use crate::error::Fault;

/// Where a storage root key is kept by convention (TCG TPM v2.0 Provisioning Guidance, 7.8).
const PERSISTENT: u32 = 0x8100_0001;

/// The storage root key in use.
pub(super) struct Srk {
    pub(super) handle: KeyHandle,
    /// nameAlg and hash of the public area (TPM 2.0 Part 1, 16).
    pub(super) name: Vec<u8>,
    /// Why it is not persistent, if it was to be.
    pub(super) note: Option<String>,
    persistent: bool,
}

impl Srk {
    /// Takes the persistent key when it is of the template, else derives the primary one, and
    /// persists that when told to and the place is free.
    pub(super) fn find_or_make(
        context: &mut Context,
        persist: bool,
        known: Option<&[u8]>,
    ) -> Outcome<Self> {
        let fits = |srk: &Self| known.is_none_or(|known| known == srk.name);
        let persistent = Self::persistent(context)?;
        // Somebody may have replaced it; the primary one may still be the one we know.
        if let Some(srk) = persistent.filter(fits) {
            return Ok(srk);
        }
        let srk = Self::primary(context)?;
        if !fits(&srk) {
            let detail = "the storage root key is not the recorded one: another TPM, or this one \
                          was cleared";
            return Err(ProviderError::new(ErrorKind::WrongDevice, detail).into());
        }
        match (persist, place_is_free(context)?) {
            (false, _) => Ok(srk),
            (true, true) => srk.persist(context),
            (true, false) => {
                let note =
                    Some("another key is at 0x81000001, so the SRK is not persistent".into());
                Ok(Self { note, ..srk })
            }
        }
    }

    pub(super) const fn is_persistent(&self) -> bool {
        self.persistent
    }

    /// The key at the persistent handle, when it is of the template.
    fn persistent(context: &mut Context) -> Outcome<Option<Self>> {
        if place_is_free(context)? {
            return Ok(None);
        }
        let handle = TpmHandle::try_from(PERSISTENT).map_err(fault)?;
        let object: ObjectHandle = command(context, None, |tpm| tpm.tr_from_tpm_public(handle))?;
        let key = KeyHandle::from(object);
        let public = command(context, None, |tpm| match tpm.read_public(key) {
            // A key of a kind that the library cannot describe is not of the template.
            Err(tss_esapi::Error::WrapperError(_)) => Ok(None),
            outcome => outcome.map(|(public, _, _)| Some(public)),
        })?;
        match public {
            Some(public) if template::is_srk(&public)? => Self::named(context, key, true).map(Some),
            _ => Ok(None),
        }
    }

    fn primary(context: &mut Context) -> Outcome<Self> {
        let public = template::srk()?;
        let owner = Some(AuthSession::Password);
        let made = command(context, owner, |tpm| {
            tpm.create_primary(Hierarchy::Owner, public.clone(), None, None, None, None)
        })?;
        Self::named(context, made.key_handle, false)
    }

    /// libtss2 has checked that the Name is the hash of the public area by which it encrypts
    /// the salt, so a Name equal to the pinned one means the pinned key.
    fn named(context: &mut Context, handle: KeyHandle, persistent: bool) -> Outcome<Self> {
        let name = context.tr_get_name(handle.into()).map_err(fault)?;
        Ok(Self { handle, name: name.value().to_vec(), note: None, persistent })
    }

    fn persist(self, context: &mut Context) -> Outcome<Self> {
        let place = PersistentTpmHandle::new(PERSISTENT).map_err(fault)?;
        let kept = command(context, Some(AuthSession::Password), |tpm| {
            tpm.evict_control(Provision::Owner, self.handle.into(), Persistent::Persistent(place))
        });
        match kept {
            Ok(kept) => {
                command(context, None, |tpm| tpm.flush_context(self.handle.into()))?;
                Self::named(context, KeyHandle::from(kept), true)
            }
            Err(Fault::Code(code)) if !Fault::Code(code).is_lost() => {
                let note = format!("the SRK could not be persisted: {}", code.describe());
                Ok(Self { note: Some(note), ..self })
            }
            Err(fault) => Err(fault),
        }
    }
}

fn place_is_free(context: &mut Context) -> Outcome<bool> {
    let found = session::handles(context, PERSISTENT, 1)?;
    let wanted = TpmHandle::try_from(PERSISTENT).map_err(fault)?;
    Ok(found.first() != Some(&wanted))
}
