//! What changes secrets: put, delete, clear, and what the source delivers of its own accord. From
//! the base to the head, in a task that outlives its caller.

use std::sync::Arc;

use wire::code::{Code, Fault};
use wire::secrets::{Author, Change, ChangeKind, Date, SecretName, SecretVersion};

use super::{Chain, Inner};
use crate::error::{PutError, StoreError};
use crate::secret::{Draft, Metadata, Secret, Stamp, Standing};
use crate::source::{Delivery, Removal};
use crate::store::{Claim, Erasure, Known, Written};

/// Secrets that are stored in one change of the base.
const CHUNK: usize = 128;

impl Chain {
    /// Stores a secret, in place of the same version if there is one.
    ///
    /// When this fails, nothing is stored but for `Uncounted`.
    ///
    /// # Errors
    /// `Invalid`: the activation is not before the expiration. `Store`: the base did not take it.
    pub async fn put(&self, draft: Draft, by: &Author) -> Result<Arc<Metadata>, PutError> {
        let mut stored = self.put_many(vec![draft], by).await?;
        Ok(stored.pop().ok_or(StoreError::Bug("a put stored nothing"))?)
    }

    /// Stores secrets, in order. Each part of 128 is stored wholly or not at all.
    ///
    /// # Errors
    /// As [`Chain::put`]; with `Store`, earlier parts are stored.
    pub async fn put_many(
        &self,
        drafts: Vec<Draft>,
        by: &Author,
    ) -> Result<Vec<Arc<Metadata>>, PutError> {
        if !drafts.iter().all(Draft::is_sound) {
            let detail = "activation is not before expiration";
            return Err(PutError::Invalid(Fault::new(Code::Invalid, detail)));
        }
        let (inner, by) = (Arc::clone(&self.inner), by.clone());
        let carried = tokio::spawn(async move { inner.put_many(drafts, &by).await });
        Ok(carried.await.map_err(|_panicked| StoreError::Bug("a put panicked"))??)
    }

    /// Deletes a version, or all versions of a name, and tells how many there were. A tombstone
    /// keeps older copies out, also when there were none.
    ///
    /// # Errors
    /// The base did not do it; nothing is deleted but for `Uncounted`.
    pub async fn delete(
        &self,
        name: &SecretName,
        version: Option<&SecretVersion>,
        by: &Author,
    ) -> Result<usize, StoreError> {
        let (inner, name) = (Arc::clone(&self.inner), name.clone());
        let (version, by) = (version.cloned(), by.clone());
        let carried = tokio::spawn(async move {
            let at = inner.clock.stamp();
            inner.delete(&name, version.as_ref(), at, &by).await
        });
        carried.await.map_err(|_panicked| StoreError::Bug("a deletion panicked"))?
    }

    /// Erases every value, in every store. Tombstones stay, and the source is not touched.
    ///
    /// # Errors
    /// The base did not do it; nothing is erased but for `Uncounted`.
    pub async fn clear(&self) -> Result<(), StoreError> {
        let inner = Arc::clone(&self.inner);
        let carried = tokio::spawn(async move { inner.clear().await });
        carried.await.map_err(|_panicked| StoreError::Bug("clearing panicked"))?
    }

    /// Takes in what a source says without being asked: first what it wants deleted, then what it
    /// wants stored. The same delivery twice changes nothing more.
    ///
    /// Tells for each secret whether it is stored or outdated.
    ///
    /// # Errors
    /// `Invalid`: an activation is not before its expiration; nothing is changed. `Store`: the
    /// base did not take it; parts may be stored, and the delivery can be given again.
    pub async fn deliver(&self, delivery: Delivery, by: &Author) -> Result<Vec<Written>, PutError> {
        if !delivery.secrets.iter().all(Draft::is_sound) {
            let detail = "activation is not before expiration";
            return Err(PutError::Invalid(Fault::new(Code::Invalid, detail)));
        }
        let (inner, by) = (Arc::clone(&self.inner), by.clone());
        let carried = tokio::spawn(async move { inner.deliver(delivery, &by).await });
        Ok(carried.await.map_err(|_panicked| StoreError::Bug("a delivery panicked"))??)
    }
}

impl Inner {
    async fn put_many(
        &self,
        mut drafts: Vec<Draft>,
        by: &Author,
    ) -> Result<Vec<Arc<Metadata>>, StoreError> {
        let mut stored = Vec::with_capacity(drafts.len());
        while !drafts.is_empty() {
            let rest = drafts.split_off(drafts.len().min(CHUNK));
            let mut secrets = Vec::with_capacity(drafts.len());
            for draft in std::mem::replace(&mut drafts, rest) {
                let known = self.base.look(&draft.name).await?;
                let drafts = vec![draft];
                secrets.extend(self.stamped(drafts, &known, by, Standing::Offered, None));
            }
            self.base.write(&secrets, Claim::Put).await?;
            self.show(&secrets).await;
            stored.extend(secrets.iter().map(|secret| Arc::clone(&secret.metadata)));
        }
        Ok(stored)
    }

    async fn delete(
        &self,
        name: &SecretName,
        version: Option<&SecretVersion>,
        at: Date,
        by: &Author,
    ) -> Result<usize, StoreError> {
        let erasure = Erasure::Delete { at, by: by.clone() };
        let erased = self.base.erase(name, version, erasure).await;
        for cache in self.caches.iter().rev() {
            if let Err(error) = cache.erase(name, version, Erasure::Forget).await {
                tracing::warn!(store = cache.label(), %error, "a copy was not forgotten");
            }
        }
        let erased = erased?;
        self.tell(ChangeKind::Delete, Some(name), version, at);
        Ok(erased)
    }

    async fn clear(&self) -> Result<(), StoreError> {
        self.base.clear().await?;
        for cache in self.caches.iter().rev() {
            if let Err(error) = cache.clear().await {
                tracing::warn!(store = cache.label(), %error, "copies were not erased");
            }
        }
        self.negatives.forget_all();
        self.tell(ChangeKind::Clear, None, None, self.clock.now().date);
        Ok(())
    }

    async fn deliver(&self, delivery: Delivery, by: &Author) -> Result<Vec<Written>, StoreError> {
        // A source whose clock runs ahead must not outdate everybody else.
        let issued = delivery.issued.min(self.clock.stamp());
        for removal in &delivery.removals {
            self.remove(removal, issued, by).await?;
        }
        // Later than the removals of the same delivery.
        let as_of = issued.next();
        let mut written = Vec::with_capacity(delivery.secrets.len());
        for draft in delivery.secrets {
            self.negatives.forget(&draft.name);
            let known = self.base.look(&draft.name).await?;
            let drafts = vec![draft];
            let secrets = self.stamped(drafts, &known, by, Standing::Offered, Some(as_of));
            let fate = self.base.write(&secrets, Claim::Delivered(as_of)).await?;
            if fate.first() == Some(&Written::Stored) {
                self.show(&secrets).await;
            }
            written.extend(fate);
        }
        Ok(written)
    }

    /// Deletes what is not as of a later date.
    async fn remove(&self, removal: &Removal, at: Date, by: &Author) -> Result<(), StoreError> {
        let Removal { name, version } = removal;
        let known = self.base.look(name).await?;
        let meant = |stored: &&Arc<Metadata>| {
            version.as_ref().is_none_or(|version| stored.version == *version)
        };
        let (old, later): (Vec<_>, Vec<_>) =
            known.versions.iter().filter(meant).partition(|stored| stored.as_of <= at);
        let mut tombstones = known.tombstones.iter();
        let done = tombstones.any(|it| it.version == *version && it.deleted_at >= at);
        if later.is_empty() {
            if !done || !old.is_empty() {
                self.delete(name, version.as_ref(), at, by).await?;
            }
            return Ok(());
        }
        for stored in old {
            self.delete(name, Some(&stored.version), at, by).await?;
        }
        Ok(())
    }

    /// Gives drafts of one name their dates and authors. As of a date that is given, or of when
    /// they are stored.
    pub(super) fn stamped(
        &self,
        drafts: Vec<Draft>,
        known: &Known,
        by: &Author,
        standing: Standing,
        as_of: Option<Date>,
    ) -> Vec<Secret> {
        let stamped = drafts.into_iter().map(|draft| {
            let version = draft.stored_version();
            let before = known.versions.iter().find(|stored| stored.version == version);
            let at = self.clock.stamp();
            let stamp = Stamp { standing, at, by, as_of: as_of.unwrap_or(at) };
            draft.into_secret(before.map(AsRef::as_ref), &stamp)
        });
        stamped.collect()
    }

    /// Brings what the base has stored into the caches, and tells the watchers.
    pub(super) async fn show(&self, secrets: &[Secret]) {
        for secret in secrets {
            self.negatives.forget(&secret.metadata.name);
        }
        self.write_back(secrets, self.caches.len()).await;
        for secret in secrets {
            let Metadata { name, version, updated_at, .. } = &*secret.metadata;
            self.tell(ChangeKind::Put, Some(name), Some(version), *updated_at);
        }
    }

    /// Brings secrets into the first caches, the deepest of them first. A cache that fails keeps
    /// no older copy either; should it, the base's metadata tells that it is old.
    pub(super) async fn write_back(&self, secrets: &[Secret], caches: usize) {
        for cache in self.caches.iter().take(caches).rev() {
            if let Err(error) = cache.write(secrets, Claim::Put).await {
                tracing::warn!(store = cache.label(), %error, "a copy was not kept");
                self.forget(cache.as_ref(), secrets).await;
            }
        }
        if caches == 0 {
            return;
        }
        // What was deleted meanwhile must not stay behind in a cache.
        for secret in secrets {
            let Metadata { name, version, .. } = &*secret.metadata;
            let known = self.base.look(name).await;
            if known.is_ok_and(|known| known.versions.iter().any(|it| it.version == *version)) {
                continue;
            }
            for cache in self.caches.iter().take(caches) {
                self.forget(cache.as_ref(), std::slice::from_ref(secret)).await;
            }
        }
    }

    pub(super) async fn forget(&self, cache: &dyn crate::store::Store, secrets: &[Secret]) {
        for secret in secrets {
            let Metadata { name, version, .. } = &*secret.metadata;
            if let Err(error) = cache.erase(name, Some(version), Erasure::Forget).await {
                tracing::warn!(store = cache.label(), %error, "a copy was not forgotten");
            }
        }
    }

    fn tell(
        &self,
        kind: ChangeKind,
        name: Option<&SecretName>,
        version: Option<&SecretVersion>,
        at: Date,
    ) {
        let change = Change { kind, name: name.cloned(), version: version.cloned(), at };
        let _nobody_may_watch = self.changes.send(change);
    }
}
