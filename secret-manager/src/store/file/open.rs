//! Opening a file: are its rows those that were last written, and is it the newest copy?

use std::fs::{OpenOptions, Permissions};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use wire::api::UnsealItem;

use super::change::{Counted, Progress, bury, digest_of};
use super::db::{Db, Edit, Rows, State};
use super::{Accept, Buried, FileStoreOptions, Inner, Stored, refused, state_item};
use crate::context::{self, Id};
use crate::counter::Counter;
use crate::error::{OpenError, SealError, StoreError};
use crate::store::index::Index;

pub(super) async fn open(options: FileStoreOptions) -> Result<Inner, OpenError> {
    let path = options.path.clone();
    let read = tokio::task::spawn_blocking(move || load(&path)).await;
    let (db, state, rows) = read.map_err(|_panicked| StoreError::Bug("opening panicked"))??;
    let opening = Opening { options, db: Arc::new(Mutex::new(db)) };
    let Some(state) = state else {
        // Whoever removed the state and left the rows altered the file.
        if !rows.secrets.is_empty() || !rows.tombstones.is_empty() {
            return Err(OpenError::Altered { path: opening.options.path });
        }
        return opening.begin().await;
    };
    let index = index_of(&state.id, rows)?;
    let verified = opening.verify(&state, &index).await?;
    let counted = opening.compare(state.number).await;
    match (verified, counted, opening.options.accept) {
        (Verified::Yes, Ok(counted), _) => {
            let progress = Progress { state: state.number, counted };
            Ok(opening.finish(&state, index, progress))
        }
        (
            _,
            Ok(_) | Err(OpenError::Older { .. } | OpenError::ForeignCounter { .. }),
            Accept::Present,
        ) => opening.accept(&state, index).await,
        (Verified::No, Ok(_), Accept::Verified) => {
            Err(OpenError::Altered { path: opening.options.path })
        }
        (_, Err(error), _) => Err(error),
    }
}

/// Whether the seal of the state opens for the rows that are there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verified {
    Yes,
    No,
}

struct Opening {
    options: FileStoreOptions,
    db: Arc<Mutex<Db>>,
}

impl Opening {
    /// Begins the state of a file that was just made.
    async fn begin(self) -> Result<Inner, OpenError> {
        let id = Id::draw().ok_or(StoreError::Bug("no randomness"))?;
        let index = Index::default();
        // A counter without a state is a store that was taken away, so that none is made unless
        // the host seals.
        let _it_seals = self.seal_state(&id, 0, &index).await?;
        let number = match &self.options.counter {
            None => self.above_recorded(0)?,
            Some(counter) => match counter.read().await.map_err(|it| self.counter_error(it))? {
                None => counter.create().await.map_err(|it| self.counter_error(it))?,
                // There was a file, or else who would have made the counter?
                Some(counter) => match self.options.accept {
                    Accept::Present => counter,
                    Accept::Verified => {
                        let path = self.options.path;
                        return Err(OpenError::Older { path, state: 0, counter });
                    }
                },
            },
        };
        let state = self.write_state(id, number, &index, &[]).await?;
        Ok(self.finish(&state, index, Progress { state: number, counted: Counted::Yes }))
    }

    async fn verify(
        &self,
        state: &State,
        index: &Index<Stored, Buried>,
    ) -> Result<Verified, OpenError> {
        let item = state_item(&state.id, state.number, state.clock, &digest_of(index))?;
        let item = UnsealItem { sealed: state.seal.clone(), context: item.context };
        match self.options.sealer.unseal(item).await {
            Ok(_empty) => Ok(Verified::Yes),
            Err(SealError::Integrity) => Ok(Verified::No),
            Err(reason @ (SealError::Unavailable(_) | SealError::Refused(_))) => {
                Err(OpenError::Seal { path: self.options.path.clone(), reason })
            }
        }
    }

    /// Compares state and counter.
    async fn compare(&self, state: u64) -> Result<Counted, OpenError> {
        let Some(counter) = &self.options.counter else {
            return self.above_recorded(state).map(|_number| Counted::Yes);
        };
        let path = self.options.path.clone();
        match counter.read().await.map_err(|error| self.counter_error(error))? {
            Some(counter) if counter == state => Ok(Counted::Yes),
            Some(counter) if state.checked_sub(1) == Some(counter) => Ok(Counted::Unsure),
            Some(counter) if state < counter => Err(OpenError::Older { path, state, counter }),
            Some(counter) => {
                Err(OpenError::ForeignCounter { path, state, counter: counter.to_string() })
            }
            None => Err(OpenError::ForeignCounter { path, state, counter: "nothing".into() }),
        }
    }

    /// The number of the state, where the record does not know of a later one; what the operator
    /// accepts goes on after that.
    fn above_recorded(&self, state: u64) -> Result<u64, OpenError> {
        let FileStoreOptions { path, recorded, accept, .. } = &self.options;
        match accept {
            _ if state >= *recorded => Ok(state),
            Accept::Present => Ok(*recorded),
            Accept::Verified => {
                let (path, recorded) = (path.clone(), *recorded);
                Err(OpenError::OlderThanAudit { path, state, recorded })
            }
        }
    }

    /// Keeps the rows that open, and begins state and counter anew.
    async fn accept(self, state: &State, index: Index<Stored, Buried>) -> Result<Inner, OpenError> {
        let (mut kept, mut edits) = (index.clone(), Vec::new());
        for row in index.rows() {
            if !self.opens(&state.id, row).await? {
                let (name, version) = (row.metadata.name.clone(), row.metadata.version.clone());
                kept.remove(&name, &version);
                edits.push(Edit::Remove(name, version));
            }
        }
        let counter = self.options.counter.clone();
        let number = match &counter {
            None => self.above_recorded(state.number)?.saturating_add(1),
            Some(counter) => self.next_of(counter.as_ref()).await?,
        };
        tracing::warn!(
            store = %self.options.label, kept = kept.len(), removed = edits.len(),
            "a store that did not verify was accepted, as the operator asked"
        );
        let state = self.write_state(state.id, number, &kept, &edits).await?;
        let counted = if counter.is_some() { Counted::Due } else { Counted::Yes };
        let progress = Progress { state: number, counted };
        Ok(self.finish(&state, kept, progress))
    }

    /// The value that the counter has next, made if need be.
    async fn next_of(&self, counter: &dyn Counter) -> Result<u64, OpenError> {
        let now = match counter.read().await.map_err(|error| self.counter_error(error))? {
            Some(now) => now,
            None => counter.create().await.map_err(|error| self.counter_error(error))?,
        };
        Ok(now.saturating_add(1))
    }

    async fn opens(&self, id: &Id, row: &Stored) -> Result<bool, OpenError> {
        let sealed = self.db().sealed(&row.metadata, &row.write);
        let sealed = sealed.map_err(|error| unreadable(&self.options.path, &error))?;
        let Some(sealed) = sealed else { return Ok(false) };
        let context = context::of_secret(id, &row.write, &row.metadata).map_err(refused)?;
        match self.options.sealer.unseal(UnsealItem { sealed, context }).await {
            Ok(_value) => Ok(true),
            Err(error) if error.is_lost() => Ok(false),
            Err(reason) => Err(OpenError::Seal { path: self.options.path.clone(), reason }),
        }
    }

    async fn write_state(
        &self,
        id: Id,
        number: u64,
        index: &Index<Stored, Buried>,
        edits: &[Edit],
    ) -> Result<State, OpenError> {
        let state = self.seal_state(&id, number, index).await?;
        self.db().commit(edits, &state).map_err(|error| unreadable(&self.options.path, &error))?;
        Ok(state)
    }

    async fn seal_state(
        &self,
        id: &Id,
        number: u64,
        index: &Index<Stored, Buried>,
    ) -> Result<State, OpenError> {
        let clock = self.options.clock.latest_on_record();
        let item = state_item(id, number, clock, &digest_of(index))?;
        let sealed = self.options.sealer.seal(vec![item]).await;
        let sealed =
            sealed.map_err(|reason| OpenError::Seal { path: self.options.path.clone(), reason })?;
        let sealed = sealed.into_iter().next();
        let seal = sealed.ok_or(StoreError::Bug("the state was not sealed"))?.text;
        Ok(State { id: *id, number, clock, seal })
    }

    fn finish(self, state: &State, index: Index<Stored, Buried>, progress: Progress) -> Inner {
        let FileStoreOptions { label, sealer, counter, clock, .. } = self.options;
        clock.observe(state.clock);
        Inner {
            label,
            id: state.id,
            sealer,
            counter,
            clock,
            db: self.db,
            index: RwLock::new(index),
            generation: AtomicU64::new(progress.state),
            progress: tokio::sync::Mutex::new(progress),
        }
    }

    fn db(&self) -> MutexGuard<'_, Db> {
        self.db.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn counter_error(&self, reason: crate::counter::CounterError) -> OpenError {
        OpenError::Counter { path: self.options.path.clone(), reason }
    }
}

fn load(path: &Path) -> Result<(Db, Option<State>, Rows), OpenError> {
    make_private(path)?;
    let db = Db::open(path)?;
    let state = db.state().map_err(|error| unreadable(path, &error))?;
    let rows = db.rows().map_err(|error| unreadable(path, &error))?;
    Ok((db, state, rows))
}

/// Makes the file with mode 0600; SQLite gives its other files the mode of this one.
fn make_private(path: &Path) -> Result<(), OpenError> {
    let failed =
        |error: std::io::Error| OpenError::File { path: path.into(), reason: error.to_string() };
    let no_follow = rustix::fs::OFlags::NOFOLLOW.bits();
    let flags = i32::try_from(no_follow).unwrap_or_default();
    let mut options = OpenOptions::new();
    let options = options.write(true).create(true).truncate(false).mode(0o600);
    let file = options.custom_flags(flags).open(path).map_err(failed)?;
    file.set_permissions(Permissions::from_mode(0o600)).map_err(failed)
}

fn index_of(id: &Id, rows: Rows) -> Result<Index<Stored, Buried>, OpenError> {
    let mut index = Index::default();
    for row in rows.secrets {
        let context = context::of_secret(id, &row.write, &row.metadata).map_err(refused)?;
        let digest = context::digest_of(&context);
        index.put(Stored { metadata: row.metadata, write: row.write, digest });
    }
    for tombstone in rows.tombstones {
        index.bury(bury(id, tombstone)?);
    }
    Ok(index)
}

fn unreadable(path: &Path, error: &rusqlite::Error) -> OpenError {
    let (path, reason) = (path.to_owned(), error.to_string());
    match error.sqlite_error_code() {
        None => OpenError::Row { path, reason },
        Some(_) => OpenError::File { path, reason },
    }
}
