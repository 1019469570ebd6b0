//! How the file changes: seal, commit, show, count. A change runs to its end even when its caller
//! goes away, so that memory and file cannot come apart.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use wire::api::{SealItem, SecretBase64};
use wire::secrets::{SecretName, SecretVersion};

use super::{Buried, Edit, Inner, SECRETS_MAX, State, Stored, refused, state_item};
use crate::context::{self, Digest, Id};
use crate::counter::CounterError;
use crate::error::StoreError;
use crate::pending::Pending;
use crate::secret::{Secret, Tombstone};
use crate::store::index::Index;
use crate::store::{Claim, Erasure, Written};

/// How far the file is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Progress {
    /// The number of the state on disk.
    pub(super) state: u64,
    /// Where its counter is.
    pub(super) counted: Counted,
}

/// Where the counter is, as far as is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counted {
    /// With the state, or there is none.
    Yes,
    /// One behind.
    Due,
    /// An increment was not answered: behind, with the state, or even ahead of it.
    Unsure,
}

/// Carries a change through, whether or not somebody waits for it.
pub(super) fn in_its_own_task<'a, T, F>(
    inner: Arc<Inner>,
    change: impl FnOnce(Arc<Inner>) -> F + Send + 'static,
) -> Pending<'a, Result<T, StoreError>>
where
    T: Send + 'static,
    F: Future<Output = Result<T, StoreError>> + Send + 'static,
{
    Box::pin(async move {
        let carried = tokio::spawn(change(inner)).await;
        carried.map_err(|_panicked| StoreError::Bug("a change of the store panicked"))?
    })
}

/// What a change comes to: rows to be put with what is to be sealed for them, and other edits.
#[derive(Default)]
struct Plan {
    puts: Vec<(Stored, SealItem)>,
    removes: Vec<(SecretName, SecretVersion)>,
    removes_all: bool,
    burials: Vec<Buried>,
    exhumations: Vec<Tombstone>,
}

impl Inner {
    pub(super) async fn write_all(
        &self,
        secrets: &[Secret],
        claim: Claim,
    ) -> Result<Vec<Written>, StoreError> {
        let mut progress = self.progress.lock().await;
        let mut plan = Plan::default();
        let mut written = Vec::with_capacity(secrets.len());
        {
            let index = self.index();
            let mut more = 0_usize;
            for secret in secrets {
                if !index.admits(&secret.metadata, claim) {
                    written.push(Written::Outdated);
                    continue;
                }
                written.push(Written::Stored);
                let old = index.row(&secret.metadata.name, &secret.metadata.version);
                more = more.saturating_add(usize::from(old.is_none()));
                plan.exhumations.extend(index.opened_by(&secret.metadata, claim));
                plan.puts.push(self.put(secret)?);
            }
            if more > 0 && index.len().saturating_add(more) > SECRETS_MAX {
                let limit = format!("{SECRETS_MAX} versions of secrets");
                return Err(StoreError::Full { store: self.label.clone(), limit });
            }
        }
        if !plan.puts.is_empty() {
            self.carry_out(&mut progress, plan).await?;
        }
        Ok(written)
    }

    pub(super) async fn erase(
        &self,
        name: &SecretName,
        version: Option<&SecretVersion>,
        erasure: Erasure,
    ) -> Result<usize, StoreError> {
        let mut progress = self.progress.lock().await;
        let mut plan = Plan::default();
        let meant = self.index().meant(name, version);
        let erased = meant.len();
        plan.removes = meant.into_iter().map(|version| (name.clone(), version)).collect();
        match erasure {
            Erasure::Forget if erased == 0 => return Ok(0),
            Erasure::Forget => {}
            Erasure::Delete { at: deleted_at, by: deleted_by } => {
                let (name, version) = (name.clone(), version.cloned());
                let tombstone = Tombstone { name, version, deleted_at, deleted_by };
                plan.burials.push(bury(&self.id, tombstone)?);
            }
        }
        self.carry_out(&mut progress, plan).await?;
        self.overwrite_erased().await;
        Ok(erased)
    }

    pub(super) async fn clear(&self) -> Result<(), StoreError> {
        let mut progress = self.progress.lock().await;
        let plan = Plan { removes_all: true, ..Plan::default() };
        self.carry_out(&mut progress, plan).await?;
        self.overwrite_erased().await;
        Ok(())
    }

    fn put(&self, secret: &Secret) -> Result<(Stored, SealItem), StoreError> {
        let write = Id::draw().ok_or(StoreError::Bug("no randomness"))?;
        let context = context::of_secret(&self.id, &write, &secret.metadata).map_err(refused)?;
        let digest = context::digest_of(&context);
        let plaintext = SecretBase64::new(secret.value.clone().into_bytes()).map_err(refused)?;
        let stored = Stored { metadata: Arc::clone(&secret.metadata), write, digest };
        Ok((stored, SealItem { plaintext, context }))
    }

    /// Seals values and new state in one request, commits both, shows the change to readers, and
    /// raises the counter.
    async fn carry_out(&self, progress: &mut Progress, plan: Plan) -> Result<(), StoreError> {
        self.count(progress).await.map_err(StoreError::CountFirst)?;
        let number = progress.state.checked_add(1).ok_or(StoreError::Bug("no state is left"))?;
        let clock = self.clock.latest_on_record();
        let (rows, mut items): (Vec<_>, Vec<_>) = plan.puts.into_iter().unzip();
        let mut changed = self.index().clone();
        let mut edits = Vec::new();
        if plan.removes_all {
            changed.clear();
            edits.push(Edit::RemoveAll);
        }
        for (name, version) in plan.removes {
            changed.remove(&name, &version);
            edits.push(Edit::Remove(name, version));
        }
        for Tombstone { name, version, .. } in plan.exhumations {
            changed.exhume(&name, version.as_ref());
            edits.push(Edit::Exhume(name, version));
        }
        for buried in plan.burials {
            changed.bury(buried.clone());
            edits.push(Edit::Bury(buried.tombstone));
            if let Some(Tombstone { name, version, .. }) = changed.grave_too_many() {
                changed.exhume(&name, version.as_ref());
                edits.push(Edit::Exhume(name, version));
            }
        }
        for row in &rows {
            changed.put(row.clone());
        }
        items.push(state_item(&self.id, number, clock, &digest_of(&changed))?);
        let mut sealed = self.sealer.seal(items).await?;
        let seal = sealed.pop().ok_or(StoreError::Bug("the state was not sealed"))?.text;
        if sealed.len() != rows.len() {
            return Err(StoreError::Bug("not everything was sealed"));
        }
        let puts = rows.into_iter().zip(sealed).map(|(row, sealed)| Edit::Put {
            metadata: row.metadata,
            write: row.write,
            sealed: sealed.text,
        });
        edits.extend(puts);
        let state = State { id: self.id, number, clock, seal };
        self.with_db(move |db| db.commit(&edits, &state)).await?;
        *self.index.write().unwrap_or_else(PoisonError::into_inner) = changed;
        let counted = if self.counter.is_some() { Counted::Due } else { Counted::Yes };
        *progress = Progress { state: number, counted };
        self.generation.store(number, Ordering::Relaxed);
        self.count(progress).await.map_err(StoreError::Uncounted)
    }

    /// Raises the counter to the state on disk, if it is not there yet.
    async fn count(&self, progress: &mut Progress) -> Result<(), CounterError> {
        let Some(counter) = &self.counter else { return Ok(()) };
        let before = progress.state.saturating_sub(1);
        let value = match progress.counted {
            Counted::Yes => return Ok(()),
            Counted::Due => {
                progress.counted = Counted::Unsure;
                counter.increment(before).await?
            }
            // An increment whose answer was lost may have happened all the same.
            Counted::Unsure => match counter.read().await? {
                Some(value) if value >= progress.state => value,
                Some(value) => counter.increment(value).await?,
                None => return Err(CounterError("it is gone".into())),
            },
        };
        if value < progress.state {
            return Err(CounterError(format!("it is at {value}, below {}", progress.state)));
        }
        if value > progress.state {
            // A late increment got ahead. This process has held the file since it was verified,
            // so that its state is the newest one and may follow.
            self.follow(progress, value).await?;
        }
        progress.counted = Counted::Yes;
        Ok(())
    }

    /// Completes what a crash cut off between file and counter, or what was accepted.
    pub(super) async fn catch_up(&self) -> Result<(), CounterError> {
        self.count(&mut *self.progress.lock().await).await
    }

    /// Writes the state that is on disk under the number that the counter has.
    async fn follow(&self, progress: &mut Progress, number: u64) -> Result<(), CounterError> {
        let clock = self.clock.latest_on_record();
        let digest = digest_of(&self.index());
        let followed = async {
            let item = state_item(&self.id, number, clock, &digest)?;
            let sealed = self.sealer.seal(vec![item]).await?.pop();
            let seal = sealed.ok_or(StoreError::Bug("the state was not sealed"))?.text;
            let state = State { id: self.id, number, clock, seal };
            self.with_db(move |db| db.commit(&[], &state)).await
        };
        let ahead = |error: StoreError| CounterError(format!("it is ahead, and {error}"));
        followed.await.map_err(ahead)?;
        progress.state = number;
        self.generation.store(number, Ordering::Relaxed);
        Ok(())
    }

    /// What was erased stands, sealed, in the write-ahead log until it is brought over. When that
    /// fails it is done with the next change; the erasure itself stands.
    async fn overwrite_erased(&self) {
        if let Err(error) = self.with_db(|db| db.checkpoint()).await {
            tracing::warn!(store = %self.label, %error, "erased values are not overwritten yet");
        }
    }
}

pub(super) fn bury(id: &Id, tombstone: Tombstone) -> Result<Buried, StoreError> {
    let context = context::of_tombstone(id, &tombstone).map_err(refused)?;
    Ok(Buried { digest: context::digest_of(&context), tombstone })
}

/// The digest of the state that has these rows and tombstones.
pub(super) fn digest_of(index: &Index<Stored, Buried>) -> Digest {
    let rows = index.rows().map(|stored| &stored.digest);
    let graves = index.graves().map(|buried| &buried.digest);
    context::digest_of_state(rows.chain(graves))
}
