//! The store on disk: one SQLite file with sealed values, and an index of all metadata in memory
//! (`docs/secrets.md` section 5).

mod change;
mod db;
mod open;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};

use wire::api::{SealItem, SecretBase64, UnsealItem};
use wire::name::KeyName;
use wire::secrets::{SecretName, SecretVersion};
use zeroize::Zeroizing;

use self::change::Progress;
use self::db::{Db, Edit, State};
use super::index::{Grave, Index, Row};
use super::{Claim, Erasure, Known, Read, Store, Written};
use crate::clock::StoreClock;
use crate::context::{self, Digest, Id};
use crate::counter::Counter;
use crate::error::{OpenError, SealError, StoreError};
use crate::pending::Pending;
use crate::sealer::Sealer;
use crate::secret::{Metadata, Secret, Tombstone, Value};

/// Most versions of secrets in one file store.
pub const SECRETS_MAX: usize = 100_000;

/// What a file store is opened with.
#[derive(Clone, Debug)]
pub struct FileStoreOptions {
    /// Its name, in replies and in the log.
    pub label: String,
    /// The file, in a directory that only this daemon's user can enter.
    pub path: PathBuf,
    /// Who seals the values.
    pub sealer: Arc<dyn Sealer>,
    /// What notices an older file, whatever else is put back with it.
    pub counter: Option<Arc<dyn Counter>>,
    /// The number of a state that the file had at some time, as far as its owner has a record of
    /// it; 0 where it has none. Without a counter a file that is behind is refused by it.
    pub recorded: u64,
    /// The clock that is to know the dates on record.
    pub clock: StoreClock,
    /// Whether to take what does not verify.
    pub accept: Accept,
}

/// What a file store that does not verify comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accept {
    /// It is refused.
    Verified,
    /// Every row that opens is kept, the others are removed, and state and counter begin anew:
    /// the operator has looked, and says so.
    Present,
}

/// Secrets in a file.
///
/// # Secrets
/// Values are sealed by the host. What is opened is wiped when the reader drops it.
#[derive(Clone, Debug)]
pub struct FileStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    label: String,
    id: Id,
    sealer: Arc<dyn Sealer>,
    counter: Option<Arc<dyn Counter>>,
    clock: StoreClock,
    db: Arc<Mutex<Db>>,
    index: RwLock<Index<Stored, Buried>>,
    /// The number of the state on disk, for those who only look.
    generation: AtomicU64,
    /// Held for the whole of a change.
    progress: tokio::sync::Mutex<Progress>,
}

/// What is kept in memory of a row.
#[derive(Clone, Debug)]
struct Stored {
    metadata: Arc<Metadata>,
    write: Id,
    digest: Digest,
}

/// What is kept in memory of a tombstone.
#[derive(Clone, Debug)]
struct Buried {
    tombstone: Tombstone,
    digest: Digest,
}

impl Row for Stored {
    fn metadata(&self) -> &Arc<Metadata> {
        &self.metadata
    }
}

impl Grave for Buried {
    fn tombstone(&self) -> &Tombstone {
        &self.tombstone
    }
}

impl FileStore {
    /// Opens the file, or makes it, and verifies that its rows are those that were last written.
    ///
    /// # Errors
    /// [`OpenError`], which says what to do. A refused file is as it was.
    pub async fn open(options: FileStoreOptions) -> Result<Self, OpenError> {
        let path = options.path.clone();
        let inner = open::open(options).await?;
        inner.catch_up().await.map_err(|reason| OpenError::Counter { path, reason })?;
        Ok(Self { inner: Arc::new(inner) })
    }

    /// How many versions of secrets are there.
    #[must_use]
    pub fn len(&self) -> usize {
        self.inner.index().len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Inner {
    fn index(&self) -> RwLockReadGuard<'_, Index<Stored, Buried>> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    async fn read(&self, wanted: &Metadata) -> Result<Option<Read>, StoreError> {
        let Some(stored) = self.index().row(&wanted.name, &wanted.version).cloned() else {
            return Ok(None);
        };
        if *stored.metadata != *wanted {
            return Ok(None);
        }
        let Stored { metadata, write, digest: _ } = stored;
        let row = Arc::clone(&metadata);
        let sealed = self.with_db(move |db| db.sealed(&row, &write)).await?;
        // A row that another write replaced meanwhile is not ours to judge; one that is gone from
        // the file and not from the index was taken out behind our back.
        let Some(sealed) = sealed else {
            let index = self.index();
            let still = index.row(&wanted.name, &wanted.version);
            return match still.is_some_and(|still| still.write == write) {
                true => Err(SealError::Integrity.into()),
                false => Ok(None),
            };
        };
        let context = context::of_secret(&self.id, &write, &metadata).map_err(refused)?;
        // The state was verified under the same key, so that a refusal is about this value.
        let opened = match self.sealer.unseal(UnsealItem { sealed, context }).await {
            Err(error) if error.is_lost() => return Err(SealError::Integrity.into()),
            opened => opened?,
        };
        let value = Value::new(opened.bytes).map_err(refused)?;
        Ok(Some(Read { secret: Secret { metadata, value }, protection: Some(opened.protection) }))
    }

    /// Runs SQLite where blocking is allowed.
    async fn with_db<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Db) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let db = Arc::clone(&self.db);
        let done = tokio::task::spawn_blocking(move || {
            work(&mut db.lock().unwrap_or_else(PoisonError::into_inner))
        });
        let done = done.await.map_err(|_panicked| StoreError::Bug("the store's file panicked"))?;
        done.map_err(|error| StoreError::File {
            store: self.label.clone(),
            reason: error.to_string(),
        })
    }
}

impl Store for FileStore {
    fn label(&self) -> &str {
        &self.inner.label
    }

    fn key(&self) -> Option<&KeyName> {
        Some(self.inner.sealer.key())
    }

    fn generation(&self) -> u64 {
        match self.inner.counter {
            None => self.inner.generation.load(Ordering::Relaxed),
            Some(_) => 0,
        }
    }

    fn look<'a>(&'a self, name: &'a SecretName) -> Pending<'a, Result<Known, StoreError>> {
        Box::pin(async { Ok(self.inner.index().known(name)) })
    }

    fn list(&self) -> Pending<'_, Result<Vec<Arc<Metadata>>, StoreError>> {
        Box::pin(async {
            let index = self.inner.index();
            Ok(index.rows().map(|stored| Arc::clone(&stored.metadata)).collect())
        })
    }

    fn read<'a>(&'a self, wanted: &'a Metadata) -> Pending<'a, Result<Option<Read>, StoreError>> {
        Box::pin(self.inner.read(wanted))
    }

    fn write<'a>(
        &'a self,
        secrets: &'a [Secret],
        claim: Claim,
    ) -> Pending<'a, Result<Vec<Written>, StoreError>> {
        let secrets = secrets.to_vec();
        change::in_its_own_task(Arc::clone(&self.inner), move |inner| async move {
            inner.write_all(&secrets, claim).await
        })
    }

    fn erase<'a>(
        &'a self,
        name: &'a SecretName,
        version: Option<&'a SecretVersion>,
        erasure: Erasure,
    ) -> Pending<'a, Result<usize, StoreError>> {
        let (name, version) = (name.clone(), version.cloned());
        change::in_its_own_task(Arc::clone(&self.inner), move |inner| async move {
            inner.erase(&name, version.as_ref(), erasure).await
        })
    }

    fn clear(&self) -> Pending<'_, Result<(), StoreError>> {
        change::in_its_own_task(Arc::clone(&self.inner), |inner| async move { inner.clear().await })
    }
}

fn refused(fault: wire::code::Fault) -> StoreError {
    StoreError::Seal(SealError::Refused(fault))
}

/// The item that seals a state: no bytes, all in the context.
fn state_item(
    id: &Id,
    number: u64,
    clock: wire::secrets::Date,
    digest: &Digest,
) -> Result<SealItem, StoreError> {
    let plaintext = SecretBase64::new(Zeroizing::default()).map_err(refused)?;
    let context = context::of_state(id, number, clock, digest).map_err(refused)?;
    Ok(SealItem { plaintext, context })
}

#[cfg(test)]
mod tests;
