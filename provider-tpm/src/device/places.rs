//! The persistent handles that are ours to use, what is at them, and when they may change next.
//!
//! A TPM keeps no record of who put an object where, and neither do we: an object is known by its
//! Name alone, and counts as ours only after it has computed with the authorization value of a
//! blob that the host gave us. What does not is never evicted, whatever it looks like.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tss_esapi::Context;
use tss_esapi::handles::{KeyHandle, ObjectHandle, PersistentTpmHandle, TpmHandle};
use tss_esapi::interface_types::dynamic_handles::Persistent;
use tss_esapi::interface_types::resource_handles::Provision;
use tss_esapi::interface_types::session_handles::AuthSession;

use super::slots::{BlobHash, Facts};
use super::{Outcome, command, fault, session};
use crate::config::PersistKeys;
use crate::range::HandleRange;

/// What is at the handles of the range.
pub(super) struct Places {
    range: HandleRange,
    after: u64,
    interval: Duration,
    taken: BTreeMap<u32, Place>,
    /// When the next change may come; never, once the TPM refused us the owner's authorization.
    next: Option<Instant>,
    /// What was said in the log, each once.
    said: Vec<String>,
}

struct Place {
    handle: KeyHandle,
    name: Vec<u8>,
    ours: Option<Ours>,
}

/// A key of ours at its place.
struct Ours {
    hash: BlobHash,
    facts: Arc<Facts>,
    used: Instant,
}

impl Places {
    /// Looks at every handle of the range.
    pub(super) fn open(context: &mut Context, settings: &PersistKeys) -> Outcome<Self> {
        let PersistKeys { range, after, interval } = *settings;
        let mut places = Self {
            range,
            after,
            interval,
            taken: BTreeMap::new(),
            next: Instant::now().checked_add(interval),
            said: Vec::new(),
        };
        places.refresh(context)?;
        Ok(places)
    }

    /// Looks at the handles that were taken or given up since.
    pub(super) fn refresh(&mut self, context: &mut Context) -> Outcome<()> {
        let found = session::handles(context, self.range.first(), self.range.len())?;
        let found: Vec<_> = found.into_iter().map(|handle| (u32::from(handle), handle)).collect();
        let is_found = |number: &u32| found.iter().any(|(there, _)| there == number);
        let gone: Vec<_> = self.taken.keys().filter(|number| !is_found(number)).copied().collect();
        for number in gone {
            self.forget(context, number)?;
        }
        for (number, handle) in found {
            if self.range.contains(number) && !self.taken.contains_key(&number) {
                let place = Place::read(context, handle)?;
                self.taken.insert(number, place);
            }
        }
        Ok(())
    }

    /// A key of ours at its place, which counts as a use of it.
    pub(super) fn find(&mut self, hash: &BlobHash) -> Option<(u32, KeyHandle, Arc<Facts>)> {
        self.taken.iter_mut().find_map(|(number, place)| {
            let ours = place.ours.as_mut().filter(|ours| ours.hash == *hash)?;
            ours.used = Instant::now();
            Some((*number, place.handle, Arc::clone(&ours.facts)))
        })
    }

    /// Whether a key may be at a place without our knowing.
    pub(super) fn has_unknown(&self) -> bool {
        self.taken.values().any(|place| place.ours.is_none())
    }

    /// The places of a Name that are not known to be ours.
    pub(super) fn unknown(&self, name: &[u8]) -> Vec<(u32, KeyHandle)> {
        let named = self.taken.iter().filter(|(_, place)| place.name == name);
        let unknown = named.filter(|(_, place)| place.ours.is_none());
        unknown.map(|(number, place)| (*number, place.handle)).collect()
    }

    /// The places of a Name, whoever made them.
    pub(super) fn named(&self, name: &[u8]) -> Vec<u32> {
        let named = self.taken.iter().filter(|(_, place)| place.name == name);
        named.map(|(number, _)| *number).collect()
    }

    /// Notes that a place is ours: its object computed with the blob's authorization value.
    pub(super) fn claim(&mut self, number: u32, hash: BlobHash, facts: Arc<Facts>) {
        if let Some(place) = self.taken.get_mut(&number) {
            place.ours = Some(Ours { hash, facts, used: Instant::now() });
        }
    }

    /// Forgets a place of ours that refused us: another object is there now. What is merely not
    /// known to be ours stays as it is; the blob may have been the wrong one.
    pub(super) fn doubt(&mut self, context: &mut Context, number: u32) -> Outcome<()> {
        match self.taken.get(&number) {
            Some(place) if place.ours.is_some() => self.forget(context, number),
            _ => Ok(()),
        }
    }

    /// Whether a key used so often is hot, and a change may come now. If so, none may come for
    /// the next interval, whatever becomes of this one.
    pub(super) fn begin(&mut self, uses: u64) -> bool {
        let now = Instant::now();
        let due = uses >= self.after && self.next.is_some_and(|next| next <= now);
        if due {
            self.next = now.checked_add(self.interval);
        }
        due
    }

    /// Makes no changes any more.
    pub(super) fn stop(&mut self) {
        self.next = None;
    }

    /// A handle with nothing at it.
    pub(super) fn free(&self) -> Option<u32> {
        self.range.iter().find(|number| !self.taken.contains_key(number))
    }

    /// Our key least recently used, if it was not used for an interval.
    pub(super) fn idle(&self) -> Option<u32> {
        let ours = |(number, place): (&u32, &Place)| Some((place.ours.as_ref()?.used, *number));
        let (used, number) = self.taken.iter().filter_map(ours).min()?;
        (used.elapsed() >= self.interval).then_some(number)
    }

    /// How many handles are taken, of how many.
    pub(super) fn counts(&self) -> (usize, u32) {
        (self.taken.len(), self.range.len())
    }

    /// Persists a loaded object at a free handle (TPM2_EvictControl, TPM 2.0 Part 3, 28.5).
    pub(super) fn put(
        &mut self,
        context: &mut Context,
        number: u32,
        loaded: KeyHandle,
    ) -> Outcome<KeyHandle> {
        let kept = evict_control(context, number, loaded.into())?;
        let name = context.tr_get_name(kept).map_err(fault)?.value().to_vec();
        let handle = KeyHandle::from(kept);
        self.taken.insert(number, Place { handle, name, ours: None });
        Ok(handle)
    }

    /// Takes the object at a handle out of the TPM (the same command).
    pub(super) fn evict(&mut self, context: &mut Context, number: u32) -> Outcome<()> {
        let Some(place) = self.taken.get(&number) else { return Ok(()) };
        evict_control(context, number, place.handle.into())?;
        self.taken.remove(&number);
        Ok(())
    }

    fn forget(&mut self, context: &mut Context, number: u32) -> Outcome<()> {
        let Some(place) = self.taken.remove(&number) else { return Ok(()) };
        context.tr_close(&mut place.handle.into()).map_err(fault)
    }

    /// Tells the operator, once for each opening, why keys are not persisted.
    pub(super) fn say(&mut self, what: String) {
        if !self.said.contains(&what) {
            // There is nobody to tell that standard error is closed.
            let _ = writeln!(io::stderr(), "provider_tpm: persist_keys: {what}");
            self.said.push(what);
        }
    }
}

impl Place {
    /// libtss2 has checked that the Name is the hash of the public area that it read.
    fn read(context: &mut Context, handle: TpmHandle) -> Outcome<Self> {
        let object = command(context, None, |tpm| tpm.tr_from_tpm_public(handle))?;
        let name = context.tr_get_name(object).map_err(fault)?.value().to_vec();
        Ok(Self { handle: KeyHandle::from(object), name, ours: None })
    }
}

fn evict_control(
    context: &mut Context,
    number: u32,
    object: ObjectHandle,
) -> Outcome<ObjectHandle> {
    let place = PersistentTpmHandle::new(number).map_err(fault)?;
    command(context, Some(AuthSession::Password), |tpm| {
        tpm.evict_control(Provision::Owner, object, Persistent::Persistent(place))
    })
}
