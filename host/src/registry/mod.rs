//! The registry: which keys there are, in which provider each version lives, and proof that
//! nobody but the host wrote it.
//!
//! Reads come from memory. A change is one transaction that raises the generation: it is on disk
//! before it is in memory. The registry never calls a provider; it is given the record keys that
//! opened instances derive.

mod authentic;
mod checkpoint;
mod counter;
mod handle;
mod model;
mod rename;
mod store;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

use provider_core::AuthSubject;
use wire::name::{KeyName, ProviderName};

pub use authentic::{REGISTRY_ID_BYTES, RecordKey, RegistryId, record_key_input};
pub use checkpoint::{CheckpointKey, checkpoint_key_input};
pub use counter::{Counter, DeviceHome, Home};
pub use handle::{HandleKey, handle_key_input};
pub use model::{Instance, Key, RecordKeyName, Stage, Terms, Version};

use model::Model;
use store::{HeadMacs, Store};

/// Why the registry cannot be used or changed. Each message ends with what to do.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The file cannot be read or written.
    #[error("registry: {0}; check the state directory, its space and its owner")]
    Store(#[from] rusqlite::Error),
    /// The head does not verify at an instance that is open, and whose device was asked twice.
    #[error(
        "the registry was altered or replaced by an older one: its head does not verify at \
         provider {0}, whose device gave the same answer twice; restore registry and audit from \
         one backup, docs/config.md \"Backup\"; where nobody touched them, look after the device"
    )]
    HeadAltered(ProviderName),
    /// No instance that made the head is open.
    #[error(
        "the registry cannot be verified: none of the providers that authenticated it is open \
         ({0}); bring one of them back"
    )]
    HeadUnverified(String),
    /// A record does not verify.
    #[error(
        "the record of key {key} version {version} was altered; restore registry and audit from \
         one backup, docs/config.md \"Backup\""
    )]
    RecordAltered {
        /// The key.
        key: KeyName,
        /// The version.
        version: u32,
    },
    /// A counter's record does not verify.
    #[error(
        "the record of counter {0} was altered; restore registry and audit from one backup, \
         docs/config.md \"Backup\""
    )]
    CounterAltered(KeyName),
    /// A version's instance is not open, so its record cannot be authenticated.
    #[error("provider {0} is not open")]
    NotOpen(ProviderName),
    /// No instance is open, so no record can be authenticated.
    #[error("no provider is open")]
    NoneOpen,
    /// What the caller changed is not there, or not as it was.
    #[error("it was changed meanwhile")]
    Stale,
}

/// The registry.
#[derive(Debug)]
pub struct Registry {
    id: RegistryId,
    /// Held for the whole of a change; taken before `model` and `instance_keys`.
    store: Mutex<Store>,
    model: RwLock<Model>,
    instance_keys: RwLock<BTreeMap<ProviderName, InstanceKeys>>,
    /// The head as it was found at the start, until an instance verified it or a change replaced it.
    found_head: Mutex<FoundHead>,
}

/// The keys that an open instance has derived.
#[derive(Debug)]
pub struct InstanceKeys {
    /// Authenticates the records of the instance, and the head.
    pub record: RecordKey,
    /// Vouches for the audit.
    pub checkpoint: CheckpointKey,
    /// Authenticates handles.
    pub handle: HandleKey,
}

#[derive(Debug)]
struct FoundHead {
    macs: HeadMacs,
    verified: bool,
}

impl Registry {
    /// Opens the file in the state directory, or makes it. Nothing in it is believed until
    /// [`attach`](Self::attach) and [`require_verified`](Self::require_verified).
    ///
    /// # Errors
    /// `Store`: it cannot be read, or is of a later layout.
    pub fn open(path: &Path, new_id: &RegistryId) -> Result<Self, RegistryError> {
        let store = Store::open(path, new_id)?;
        let mut stored = store.load()?;
        for key in stored.model.keys.values_mut() {
            let Key { name, terms, versions } = Arc::make_mut(key);
            for version in versions {
                version.digest = authentic::record_digest(&stored.id, name, terms, version)
                    .ok_or(RegistryError::Stale)?;
            }
        }
        counter::digest_all(&stored.id, &mut stored.model)?;
        // A registry that was never changed has no head to verify.
        let verified = stored.model.generation == 0
            && stored.model.keys.is_empty()
            && stored.model.counters.is_empty()
            && stored.model.instances.is_empty()
            && stored.model.audit_mark.is_none();
        Ok(Self {
            id: stored.id,
            store: Mutex::new(store),
            model: RwLock::new(stored.model),
            instance_keys: RwLock::default(),
            found_head: Mutex::new(FoundHead { macs: stored.head, verified }),
        })
    }

    /// The random number that tells this registry from others.
    #[must_use]
    pub const fn id(&self) -> &RegistryId {
        &self.id
    }

    /// Counts changes.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.model().generation
    }

    /// Whether nothing was ever recorded.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let model = self.model();
        model.keys.is_empty() && model.counters.is_empty() && model.instances.is_empty()
    }

    /// A key by name, destroyed ones included.
    #[must_use]
    pub fn key(&self, name: &KeyName) -> Option<Arc<Key>> {
        self.model().keys.get(name).cloned()
    }

    /// All keys in the order of their names, destroyed ones included.
    #[must_use]
    pub fn keys(&self) -> Vec<Arc<Key>> {
        self.model().keys.values().cloned().collect()
    }

    /// An instance that was opened before.
    #[must_use]
    pub fn instance(&self, name: &ProviderName) -> Option<Instance> {
        self.model().instances.get(name).cloned()
    }

    /// Versions of an instance that are half made or half destroyed.
    #[must_use]
    pub fn leftovers(&self, provider: &ProviderName) -> Vec<(KeyName, Version)> {
        let unfinished =
            |version: &&Version| version.provider == *provider && version.is_unfinished();
        let model = self.model();
        let of_key = |key: &Arc<Key>| {
            let versions: Vec<_> = key.versions.iter().filter(unfinished).cloned().collect();
            versions.into_iter().map(|version| (key.name.clone(), version)).collect::<Vec<_>>()
        };
        model.keys.values().flat_map(of_key).collect()
    }

    /// Admits an opened instance: verifies the head, if this instance made one, and every record
    /// of the instance; from then on its keys authenticate changes and the audit.
    ///
    /// # Errors
    /// `HeadAltered`, `RecordAltered`: the instance is not admitted.
    pub fn attach(&self, name: &ProviderName, keys: InstanceKeys) -> Result<(), RegistryError> {
        let key = &keys.record;
        let _changing = self.store();
        {
            let model = self.model();
            let mut head = self.found_head.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(mac) = head.macs.get(name) {
                let digest = authentic::head_digest(&self.id, &model);
                if !digest.is_some_and(|digest| authentic::head_verifies(key, &digest, mac)) {
                    return Err(RegistryError::HeadAltered(name.clone()));
                }
                head.verified = true;
            }
            for record in model.keys.values() {
                for version in record.versions.iter().filter(|version| version.provider == *name) {
                    if !authentic::record_verifies(key, version) {
                        return Err(RegistryError::RecordAltered {
                            key: record.name.clone(),
                            version: version.number,
                        });
                    }
                }
            }
            counter::verify_all(&model, name, key)?;
        }
        self.instance_keys_mut().insert(name.clone(), keys);
        Ok(())
    }

    /// Takes an instance out that is no longer open.
    pub fn detach(&self, name: &ProviderName) {
        self.instance_keys_mut().remove(name);
    }

    /// Demands that some instance has verified the head that was found at the start.
    ///
    /// # Errors
    /// `HeadUnverified`.
    pub fn require_verified(&self) -> Result<(), RegistryError> {
        let head = self.found_head.lock().unwrap_or_else(PoisonError::into_inner);
        if head.verified {
            return Ok(());
        }
        let makers: Vec<_> = head.macs.keys().map(ProviderName::as_str).collect();
        let makers = if makers.is_empty() { "none is recorded".into() } else { makers.join(", ") };
        Err(RegistryError::HeadUnverified(makers))
    }

    /// Records an instance at its first opening, with its keys, and admits it.
    ///
    /// # Errors
    /// `Store`.
    pub fn add_instance(
        &self,
        instance: &Instance,
        keys: InstanceKeys,
    ) -> Result<u64, RegistryError> {
        let mut store = self.store();
        self.instance_keys_mut().insert(instance.name.clone(), keys);
        let added = self.commit(
            &mut store,
            |model| {
                model.instances.insert(instance.name.clone(), instance.clone());
            },
            |rows| rows.put_instance(instance),
        );
        if added.is_err() {
            self.instance_keys_mut().remove(&instance.name);
        }
        added
    }

    /// Writes a key as it shall be: its terms, and all its versions with fresh MACs for those
    /// that changed. A key left without versions is removed.
    ///
    /// `before` is the key as the caller read it; the change is refused when it is no longer so.
    ///
    /// # Errors
    /// `Stale`, `NotOpen` (of a changed version's instance), `Store`. Nothing is changed then.
    pub fn put_key(&self, before: Option<&Arc<Key>>, mut after: Key) -> Result<u64, RegistryError> {
        let mut store = self.store();
        self.check_same(&after.name, before)?;
        self.authenticate(before, &mut after)?;
        let after = Arc::new(after);
        let row = Arc::clone(&after);
        self.commit(
            &mut store,
            move |model| {
                if after.versions.is_empty() {
                    model.keys.remove(&after.name);
                } else {
                    model.keys.insert(after.name.clone(), Arc::clone(&after));
                }
            },
            |rows| {
                if row.versions.is_empty() {
                    rows.remove_key(&row.name)
                } else {
                    rows.put_key(&row)
                }
            },
        )
    }

    /// Demands that a key is as the caller read it.
    fn check_same(&self, name: &KeyName, before: Option<&Arc<Key>>) -> Result<(), RegistryError> {
        let model = self.model();
        match (before, model.keys.get(name)) {
            (Some(before), Some(current)) if Arc::ptr_eq(before, current) => Ok(()),
            (None, None) => Ok(()),
            (Some(_), Some(_) | None) | (None, Some(_)) => Err(RegistryError::Stale),
        }
    }

    /// Gives fresh MACs to the versions that differ from what they were.
    fn authenticate(
        &self,
        before: Option<&Arc<Key>>,
        after: &mut Key,
    ) -> Result<(), RegistryError> {
        let before = before.filter(|before| before.terms == after.terms);
        for version in &mut after.versions {
            if before.is_some_and(|key| key.versions.iter().any(|old| old.same_record(version))) {
                continue;
            }
            let keys = self.instance_keys();
            let key = keys.get(&version.provider).map(|keys| &keys.record);
            let key = key.ok_or_else(|| RegistryError::NotOpen(version.provider.clone()))?;
            version.digest = authentic::record_digest(&self.id, &after.name, &after.terms, version)
                .ok_or(RegistryError::Stale)?;
            version.mac = authentic::record_mac(key, version);
        }
        Ok(())
    }

    /// What refused a PIN before and must not be shown one, and why.
    ///
    /// # Errors
    /// `Store`.
    pub fn refused_subjects(&self) -> Result<Vec<(AuthSubject, String)>, RegistryError> {
        Ok(self.store().refused_subjects()?)
    }

    /// Remembers, or with `None` forgets, that a PIN was refused by this.
    ///
    /// # Errors
    /// `Store`.
    pub fn set_refused_subject(
        &self,
        subject: &AuthSubject,
        reason: Option<&str>,
    ) -> Result<(), RegistryError> {
        Ok(self.store().set_refused_subject(subject, reason)?)
    }

    /// Why a provider's PIN must not be tried, if it was refused before by something that has no
    /// name.
    ///
    /// # Errors
    /// `Store`.
    pub fn refused_pin(&self, instance: &ProviderName) -> Result<Option<String>, RegistryError> {
        Ok(self.store().refused_pin(instance)?)
    }

    /// Remembers, or with `None` forgets, that a provider's PIN was refused.
    ///
    /// # Errors
    /// `Store`.
    pub fn set_refused_pin(
        &self,
        instance: &ProviderName,
        reason: Option<&str>,
    ) -> Result<(), RegistryError> {
        Ok(self.store().set_refused_pin(instance, reason)?)
    }

    /// Makes one change, which raises the generation.
    fn commit(
        &self,
        store: &mut Store,
        change: impl FnOnce(&mut Model),
        write: impl FnOnce(&store::Rows<'_>) -> rusqlite::Result<()>,
    ) -> Result<u64, RegistryError> {
        let mut next = {
            let model = self.model();
            Model { generation: model.generation + 1, ..model.clone() }
        };
        change(&mut next);
        self.write(store, next, write)
    }

    /// Writes the model as it will be, and only then shows it.
    fn write(
        &self,
        store: &mut Store,
        next: Model,
        write: impl FnOnce(&store::Rows<'_>) -> rusqlite::Result<()>,
    ) -> Result<u64, RegistryError> {
        let digest = authentic::head_digest(&self.id, &next).ok_or(RegistryError::Stale)?;
        let head = authentic::head_macs(&self.instance_keys(), &digest);
        store.commit(next.generation, &head, write)?;
        let generation = next.generation;
        *self.model.write().unwrap_or_else(PoisonError::into_inner) = next;
        let mut found = self.found_head.lock().unwrap_or_else(PoisonError::into_inner);
        *found = FoundHead { macs: head, verified: true };
        Ok(generation)
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn model(&self) -> RwLockReadGuard<'_, Model> {
        self.model.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn instance_keys(&self) -> RwLockReadGuard<'_, BTreeMap<ProviderName, InstanceKeys>> {
        self.instance_keys.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn instance_keys_mut(
        &self,
    ) -> std::sync::RwLockWriteGuard<'_, BTreeMap<ProviderName, InstanceKeys>> {
        self.instance_keys.write().unwrap_or_else(PoisonError::into_inner)
    }
}
