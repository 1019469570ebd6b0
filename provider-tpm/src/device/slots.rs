//! The keys that are loaded, and those that were and can come back quickly.

use std::collections::BTreeMap;
use std::sync::Arc;

use tss_esapi::Context;
use tss_esapi::handles::KeyHandle;
use tss_esapi::utils::TpmsContext;

use super::{Outcome, command};
use crate::blob::Purpose;
use crate::error::{Fault, RC_OBJECT_MEMORY};

/// Keys remembered at most; each takes about a kilobyte when swapped out.
const KEPT_MAX: usize = 256;

/// SHA-256 of a whole blob.
pub(crate) type BlobHash = [u8; 32];

/// What is known of a loaded key.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) purpose: Purpose,
    pub(super) half: Half,
}

/// The public half of a key.
#[derive(Debug)]
pub(super) enum Half {
    /// Of a key that has none.
    None,
    /// The uncompressed point of a sign key.
    Point([u8; 65]),
    /// The modulus of an RSA key.
    Modulus(Vec<u8>),
}

/// Keys by blob, of which as many are loaded as the TPM has room for.
pub(super) struct Slots {
    kept: BTreeMap<BlobHash, Kept>,
    resident_max: usize,
    /// Whether a key that must go is saved first. A resource manager does that by itself.
    swaps: bool,
    clock: u64,
}

struct Kept {
    facts: Arc<Facts>,
    loaded: Option<KeyHandle>,
    saved: Option<TpmsContext>,
    used: u64,
    uses: u64,
}

impl Slots {
    /// Of a TPM that we have for ourselves, with room for that many keys.
    pub(super) const fn bare(resident_max: usize) -> Self {
        let resident_max = if resident_max == 0 { 1 } else { resident_max };
        Self { kept: BTreeMap::new(), resident_max, swaps: true, clock: 0 }
    }

    /// Behind a resource manager, which saves and restores around every command whatever a
    /// program has loaded: the fewer, the faster.
    pub(super) const fn behind_a_manager() -> Self {
        Self { kept: BTreeMap::new(), resident_max: 1, swaps: false, clock: 0 }
    }

    /// A key that is loaded, or was saved and now is loaded again.
    pub(super) fn find(
        &mut self,
        context: &mut Context,
        hash: &BlobHash,
    ) -> Outcome<Option<(KeyHandle, Arc<Facts>)>> {
        self.clock = self.clock.wrapping_add(1);
        let Some(kept) = self.kept.get_mut(hash) else { return Ok(None) };
        kept.used = self.clock;
        let facts = Arc::clone(&kept.facts);
        if let Some(handle) = kept.loaded {
            return Ok(Some((handle, facts)));
        }
        let Some(saved) = kept.saved.clone() else { return Ok(None) };
        let loaded = self.with_room(context, |context| {
            match command(context, None, |tpm| tpm.context_load(saved.clone())) {
                // The TPM no longer takes the saved form; the blob is as good.
                Err(Fault::Code(code)) if code.is_about_parameter() => Ok(None),
                outcome => outcome.map(|handle| Some(KeyHandle::from(handle))),
            }
        })?;
        let Some(kept) = self.kept.get_mut(hash) else { return Ok(None) };
        kept.loaded = loaded;
        if loaded.is_none() {
            kept.saved = None;
        }
        Ok(loaded.map(|handle| (handle, facts)))
    }

    /// Whether a key was loaded and is remembered.
    pub(super) fn knows(&self, hash: &BlobHash) -> bool {
        self.kept.contains_key(hash)
    }

    /// Counts one use of a remembered key and returns how many there were.
    pub(super) fn count_use(&mut self, hash: &BlobHash) -> u64 {
        let Some(kept) = self.kept.get_mut(hash) else { return 0 };
        kept.uses = kept.uses.saturating_add(1);
        kept.uses
    }

    /// Makes room for one more key, loads it and keeps it.
    pub(super) fn load(
        &mut self,
        context: &mut Context,
        hash: BlobHash,
        facts: &Arc<Facts>,
        load: impl FnMut(&mut Context) -> Outcome<KeyHandle>,
    ) -> Outcome<KeyHandle> {
        let handle = self.with_room(context, load)?;
        self.keep(hash, facts, handle);
        Ok(handle)
    }

    /// Keeps a key that was loaded.
    pub(super) fn keep(&mut self, hash: BlobHash, facts: &Arc<Facts>, handle: KeyHandle) {
        let uses = self.kept.get(&hash).map_or(0, |kept| kept.uses);
        if self.kept.len() >= KEPT_MAX {
            self.forget_oldest();
        }
        let facts = Arc::clone(facts);
        let kept = Kept { facts, loaded: Some(handle), saved: None, used: self.clock, uses };
        self.kept.insert(hash, kept);
    }

    /// Runs what needs a free slot, taking the keys least recently used out for it, and more of
    /// them while the TPM says that there is none.
    pub(super) fn with_room<T>(
        &mut self,
        context: &mut Context,
        mut run: impl FnMut(&mut Context) -> Outcome<T>,
    ) -> Outcome<T> {
        self.keep_at_most(context, self.resident_max.saturating_sub(1))?;
        loop {
            match run(context) {
                Err(fault) if fault.is(RC_OBJECT_MEMORY) => {
                    let resident = self.resident();
                    if resident == 0 {
                        return Err(fault);
                    }
                    self.keep_at_most(context, resident.saturating_sub(1))?;
                }
                outcome => return outcome,
            }
        }
    }

    /// Forgets a key and takes it out of the TPM.
    pub(super) fn forget(&mut self, context: &mut Context, hash: &BlobHash) -> Outcome<()> {
        match self.kept.remove(hash).and_then(|kept| kept.loaded) {
            Some(handle) => command(context, None, |tpm| tpm.flush_context(handle.into())),
            None => Ok(()),
        }
    }

    fn resident(&self) -> usize {
        self.kept.values().filter(|kept| kept.loaded.is_some()).count()
    }

    fn keep_at_most(&mut self, context: &mut Context, most: usize) -> Outcome<()> {
        while self.resident() > most {
            let loaded = self.kept.values_mut().filter(|kept| kept.loaded.is_some());
            let Some(oldest) = loaded.min_by_key(|kept| kept.used) else { break };
            let Some(handle) = oldest.loaded else { break };
            if self.swaps && oldest.saved.is_none() {
                let saved = command(context, None, |tpm| tpm.context_save(handle.into()))?;
                oldest.saved = Some(saved);
            }
            command(context, None, |tpm| tpm.flush_context(handle.into()))?;
            oldest.loaded = None;
        }
        Ok(())
    }

    fn forget_oldest(&mut self) {
        let idle = self.kept.iter().filter(|(_, kept)| kept.loaded.is_none());
        let oldest = idle.min_by_key(|(_, kept)| kept.used).map(|(hash, _)| *hash);
        if let Some(hash) = oldest {
            self.kept.remove(&hash);
        }
    }
}
