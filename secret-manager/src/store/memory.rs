//! A store in memory: wiped when dropped, bounded, and sealed where wanted.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use wire::api::{SealItem, SealedText, SecretBase64, UnsealItem};
use wire::name::KeyName;
use wire::secrets::{SecretName, SecretVersion};

use super::index::{Index, Row};
use super::{Claim, Erasure, Known, Read, Store, Written};
use crate::clock::StoreClock;
use crate::context::{self, Id};
use crate::error::{SealError, StoreError};
use crate::pending::Pending;
use crate::sealer::Sealer;
use crate::secret::{Metadata, Secret, Tombstone, Value};

/// How much a memory store holds, and how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryBounds {
    /// Most versions of secrets.
    pub entries: usize,
    /// Most bytes of values together, sealed ones as they are kept.
    pub bytes: usize,
    /// How long a version is kept; for ever when there is none.
    pub ttl: Option<Duration>,
}

/// Secrets in memory.
///
/// Past its bounds a cache drops what was not read for longest; a base, which has no copies to
/// drop, takes nothing more.
///
/// # Secrets
/// Values are wiped when they are replaced, dropped or forgotten. With a sealer they are sealed
/// in memory too, and opened for each read.
#[derive(Debug)]
pub struct MemoryStore {
    label: String,
    bounds: MemoryBounds,
    is_base: bool,
    clock: StoreClock,
    sealing: Option<Sealing>,
    shelf: Mutex<Shelf>,
}

#[derive(Debug)]
struct Sealing {
    id: Id,
    sealer: Arc<dyn Sealer>,
}

#[derive(Debug, Default)]
struct Shelf {
    index: Index<Entry, Tombstone>,
    /// By when they were last used, for dropping the oldest.
    order: BTreeMap<u64, (SecretName, SecretVersion)>,
    /// By when they are no longer kept, and the number of the use that put them.
    ends: BTreeMap<(Duration, u64), (SecretName, SecretVersion)>,
    bytes: usize,
    uses: u64,
}

#[derive(Clone, Debug)]
struct Entry {
    metadata: Arc<Metadata>,
    kept: Kept,
    /// When it is no longer kept, on the clock that never goes back.
    until: Option<Duration>,
    put: u64,
    used: u64,
}

#[derive(Clone, Debug)]
enum Kept {
    Plain(Value),
    Sealed(SealedText, Id),
}

impl MemoryStore {
    /// A cache, in front of other stores.
    #[must_use]
    pub fn cache(label: &str, bounds: MemoryBounds, clock: StoreClock) -> Self {
        let label = label.to_owned();
        let shelf = Mutex::default();
        Self { label, bounds, is_base: false, clock, sealing: None, shelf }
    }

    /// The base of a chain that keeps nothing on disk.
    #[must_use]
    pub fn base(label: &str, bounds: MemoryBounds, clock: StoreClock) -> Self {
        Self { is_base: true, ..Self::cache(label, bounds, clock) }
    }

    /// Seals the values in memory, too.
    ///
    /// # Errors
    /// The system gives no randomness.
    pub fn sealed_by(self, sealer: Arc<dyn Sealer>) -> Result<Self, StoreError> {
        let id = Id::draw().ok_or(StoreError::Bug("no randomness"))?;
        Ok(Self { sealing: Some(Sealing { id, sealer }), ..self })
    }

    /// How many versions are there, and of how many bytes.
    #[must_use]
    pub fn held(&self) -> (usize, usize) {
        let shelf = self.shelf();
        (shelf.index.len(), shelf.bytes)
    }

    async fn keep(&self, secret: &Secret) -> Result<Kept, StoreError> {
        let Some(Sealing { id, sealer }) = &self.sealing else {
            return Ok(Kept::Plain(secret.value.clone()));
        };
        let write = Id::draw().ok_or(StoreError::Bug("no randomness"))?;
        let refused = |fault| StoreError::Seal(SealError::Refused(fault));
        let context = context::of_secret(id, &write, &secret.metadata).map_err(refused)?;
        let plaintext = SecretBase64::new(secret.value.clone().into_bytes()).map_err(refused)?;
        let sealed = sealer.seal(vec![SealItem { plaintext, context }]).await?;
        let sealed = sealed.into_iter().next().ok_or(StoreError::Bug("nothing was sealed"))?;
        Ok(Kept::Sealed(sealed.text, write))
    }

    async fn open(&self, entry: Entry) -> Result<Read, StoreError> {
        let metadata = entry.metadata;
        match (entry.kept, &self.sealing) {
            (Kept::Plain(value), _) => {
                Ok(Read { secret: Secret { metadata, value }, protection: None })
            }
            (Kept::Sealed(sealed, write), Some(Sealing { id, sealer })) => {
                let refused = |fault| StoreError::Seal(SealError::Refused(fault));
                let context = context::of_secret(id, &write, &metadata).map_err(refused)?;
                let opened = sealer.unseal(UnsealItem { sealed, context }).await?;
                let value = Value::new(opened.bytes).map_err(refused)?;
                let protection = Some(opened.protection);
                Ok(Read { secret: Secret { metadata, value }, protection })
            }
            (Kept::Sealed(..), None) => Err(StoreError::Bug("sealed by nobody")),
        }
    }

    async fn write_all(
        &self,
        secrets: &[Secret],
        claim: Claim,
    ) -> Result<Vec<Written>, StoreError> {
        let mut kept = Vec::with_capacity(secrets.len());
        for secret in secrets {
            kept.push(self.keep(secret).await?);
        }
        let passed = self.clock.passed();
        let until = self.bounds.ttl.map(|ttl| passed.saturating_add(ttl));
        let mut shelf = self.shelf();
        shelf.drop_expired(passed);
        let admitted: Vec<_> =
            secrets.iter().map(|secret| shelf.index.admits(&secret.metadata, claim)).collect();
        let news = secrets.iter().zip(kept).zip(&admitted).filter(|(_, admitted)| **admitted);
        let news: Vec<_> = news.map(|((secret, kept), _)| (&secret.metadata, kept)).collect();
        if self.is_base {
            self.check_room(&shelf, &news)?;
        }
        for (metadata, kept) in news {
            shelf.remove(&metadata.name, &metadata.version);
            for grave in shelf.index.opened_by(metadata, claim) {
                shelf.index.exhume(&grave.name, grave.version.as_ref());
            }
            // What alone is past the bound would push everything else out first.
            if kept.bytes() <= self.bounds.bytes {
                shelf.put(Entry { metadata: Arc::clone(metadata), kept, until, put: 0, used: 0 });
            }
        }
        while shelf.index.len() > self.bounds.entries || shelf.bytes > self.bounds.bytes {
            shelf.drop_oldest();
        }
        let written = |admitted| if admitted { Written::Stored } else { Written::Outdated };
        Ok(admitted.into_iter().map(written).collect())
    }

    /// Counts what is to come as if it replaced nothing but what it really replaces.
    fn check_room(&self, shelf: &Shelf, news: &[(&Arc<Metadata>, Kept)]) -> Result<(), StoreError> {
        let (mut entries, mut bytes) = (shelf.index.len(), shelf.bytes);
        for (metadata, kept) in news {
            let replaced = shelf.index.row(&metadata.name, &metadata.version);
            entries = entries.saturating_add(usize::from(replaced.is_none()));
            bytes = bytes.saturating_add(kept.bytes());
            bytes = bytes.saturating_sub(replaced.map_or(0, |entry| entry.kept.bytes()));
        }
        if entries <= self.bounds.entries && bytes <= self.bounds.bytes {
            return Ok(());
        }
        let limit = format!("{} entries, {} bytes", self.bounds.entries, self.bounds.bytes);
        Err(StoreError::Full { store: self.label.clone(), limit })
    }

    /// Drops what is no longer to be kept. Reads never serve it; this wipes it.
    pub fn sweep(&self) {
        self.shelf().drop_expired(self.clock.passed());
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, wanted: &Metadata) -> Option<Entry> {
        let passed = self.clock.passed();
        let mut shelf = self.shelf();
        let entry = shelf.index.row(&wanted.name, &wanted.version)?;
        if entry.is_expired(passed) || *entry.metadata != *wanted {
            return None;
        }
        shelf.touch(&wanted.name, &wanted.version);
        shelf.index.row(&wanted.name, &wanted.version).cloned()
    }
}

impl Entry {
    fn is_expired(&self, passed: Duration) -> bool {
        self.until.is_some_and(|until| until <= passed)
    }
}

impl Row for Entry {
    fn metadata(&self) -> &Arc<Metadata> {
        &self.metadata
    }
}

impl Kept {
    fn bytes(&self) -> usize {
        match self {
            Self::Plain(value) => value.as_bytes().len(),
            Self::Sealed(text, _) => text.0.len(),
        }
    }
}

impl Shelf {
    fn put(&mut self, entry: Entry) {
        self.uses = self.uses.saturating_add(1);
        self.bytes = self.bytes.saturating_add(entry.kept.bytes());
        let id = (entry.metadata.name.clone(), entry.metadata.version.clone());
        if let Some(until) = entry.until {
            self.ends.insert((until, self.uses), id.clone());
        }
        self.order.insert(self.uses, id);
        self.index.put(Entry { put: self.uses, used: self.uses, ..entry });
    }

    fn remove(&mut self, name: &SecretName, version: &SecretVersion) {
        if let Some(entry) = self.index.remove(name, version) {
            self.order.remove(&entry.used);
            if let Some(until) = entry.until {
                self.ends.remove(&(until, entry.put));
            }
            self.bytes = self.bytes.saturating_sub(entry.kept.bytes());
        }
    }

    /// Makes an entry the one used last.
    fn touch(&mut self, name: &SecretName, version: &SecretVersion) {
        self.uses = self.uses.saturating_add(1);
        if let Some(entry) = self.index.row_mut(name, version) {
            self.order.remove(&entry.used);
            entry.used = self.uses;
            self.order.insert(self.uses, (name.clone(), version.clone()));
        }
    }

    fn drop_oldest(&mut self) {
        if let Some((_, (name, version))) = self.order.pop_first() {
            self.remove(&name, &version);
        }
    }

    fn drop_expired(&mut self, passed: Duration) {
        while let Some(first) = self.ends.first_entry() {
            let (until, _) = *first.key();
            if passed < until {
                break;
            }
            let (name, version) = first.remove();
            self.remove(&name, &version);
        }
    }
}

impl Store for MemoryStore {
    fn label(&self) -> &str {
        &self.label
    }

    fn key(&self) -> Option<&KeyName> {
        self.sealing.as_ref().map(|sealing| sealing.sealer.key())
    }

    fn generation(&self) -> u64 {
        0
    }

    fn look<'a>(&'a self, name: &'a SecretName) -> Pending<'a, Result<Known, StoreError>> {
        Box::pin(async {
            let passed = self.clock.passed();
            let shelf = self.shelf();
            let mut known = shelf.index.known(name);
            known.versions.retain(|metadata| {
                let entry = shelf.index.row(name, &metadata.version);
                entry.is_some_and(|entry| !entry.is_expired(passed))
            });
            Ok(known)
        })
    }

    fn list(&self) -> Pending<'_, Result<Vec<Arc<Metadata>>, StoreError>> {
        Box::pin(async {
            let passed = self.clock.passed();
            let shelf = self.shelf();
            let kept = shelf.index.rows().filter(|entry| !entry.is_expired(passed));
            Ok(kept.map(|entry| Arc::clone(&entry.metadata)).collect())
        })
    }

    fn read<'a>(&'a self, wanted: &'a Metadata) -> Pending<'a, Result<Option<Read>, StoreError>> {
        Box::pin(async move {
            match self.find(wanted) {
                Some(entry) => self.open(entry).await.map(Some),
                None => Ok(None),
            }
        })
    }

    fn write<'a>(
        &'a self,
        secrets: &'a [Secret],
        claim: Claim,
    ) -> Pending<'a, Result<Vec<Written>, StoreError>> {
        Box::pin(self.write_all(secrets, claim))
    }

    fn erase<'a>(
        &'a self,
        name: &'a SecretName,
        version: Option<&'a SecretVersion>,
        erasure: Erasure,
    ) -> Pending<'a, Result<usize, StoreError>> {
        Box::pin(async move {
            let mut shelf = self.shelf();
            shelf.drop_expired(self.clock.passed());
            let meant = shelf.index.meant(name, version);
            meant.iter().for_each(|version| shelf.remove(name, version));
            if let Erasure::Delete { at: deleted_at, by: deleted_by } = erasure {
                let (name, version) = (name.clone(), version.cloned());
                shelf.index.bury(Tombstone { name, version, deleted_at, deleted_by });
                if let Some(oldest) = shelf.index.grave_too_many() {
                    shelf.index.exhume(&oldest.name, oldest.version.as_ref());
                }
            }
            Ok(meant.len())
        })
    }

    fn clear(&self) -> Pending<'_, Result<(), StoreError>> {
        Box::pin(async {
            let mut shelf = self.shelf();
            shelf.index.clear();
            shelf.order.clear();
            shelf.ends.clear();
            shelf.bytes = 0;
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests;
