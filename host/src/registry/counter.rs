//! Counters: those that a device keeps, of which the registry holds the name and the blob, and
//! those whose number is here.
//!
//! The record of the former has a MAC under its instance's record key, as a key version has. The
//! latter have no instance: they are in the head, which every open instance MACs, and each change
//! of one raises the generation that the audit notes. So a registry that is put back is older than
//! its audit, and refused.

use std::sync::Arc;

use provider_core::KeyId;
use serde::Serialize;
use wire::api::Protection;
use wire::name::{KeyName, ProviderName};

use super::authentic::{RecordKey, RegistryId, sha256};
use super::model::{Model, Stage};
use super::{Registry, RegistryError};

/// A counter.
#[derive(Clone, Debug)]
pub struct Counter {
    /// Its name, in a space of its own.
    pub name: KeyName,
    /// Who keeps its number.
    pub home: Home,
    /// When, RFC 3339.
    pub created_at: String,
    /// Who, as uid.
    pub created_by: u32,
    /// The digest of the record, computed whenever it is read or changed.
    pub(super) digest: [u8; 32],
    /// The record's MAC under its instance's record key; zeros for one of the registry.
    pub(super) mac: [u8; 32],
}

/// Who keeps a counter's number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Home {
    /// A device.
    Device(DeviceHome),
    /// The registry.
    Registry {
        /// The number.
        value: u64,
    },
}

/// The device that keeps a counter's number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceHome {
    /// The instance.
    pub provider: ProviderName,
    /// What stood behind it when the counter was made.
    pub protection: Protection,
    /// Its name on the device.
    pub id: KeyId,
    /// What the provider finds it by; empty while creating.
    pub blob: Arc<[u8]>,
    /// Where it is in its life: never `Destroyed`, because then the record is gone.
    pub stage: Stage,
}

/// Everything that a record's digest covers. Field order is the format.
#[derive(Serialize)]
struct Record<'a> {
    label: &'static str,
    registry: &'a RegistryId,
    name: &'a str,
    device: Option<DeviceRecord<'a>>,
    value: Option<u64>,
    created_at: &'a str,
    created_by: u32,
}

#[derive(Serialize)]
struct DeviceRecord<'a> {
    stage: &'static str,
    provider: &'a str,
    protection: &'static str,
    id: &'a [u8; 16],
    blob: &'a [u8],
}

impl Counter {
    /// A counter before its record is written.
    #[must_use]
    pub const fn new(name: KeyName, home: Home, created_at: String, created_by: u32) -> Self {
        Self { name, home, created_at, created_by, digest: [0; 32], mac: [0; 32] }
    }

    /// The device that keeps it, if one does.
    #[must_use]
    pub const fn device(&self) -> Option<&DeviceHome> {
        match &self.home {
            Home::Device(device) => Some(device),
            Home::Registry { .. } => None,
        }
    }

    /// Whether it can be used.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.device().is_none_or(|device| device.stage == Stage::Live)
    }

    fn compute_digest(&self, registry: &RegistryId) -> Result<[u8; 32], RegistryError> {
        let (device, value) = match &self.home {
            Home::Device(home) => {
                let DeviceHome { provider, protection, id, blob, stage } = home;
                let device = DeviceRecord {
                    stage: stage.as_str(),
                    provider: provider.as_str(),
                    protection: protection.as_str(),
                    id: &id.0,
                    blob,
                };
                (Some(device), None)
            }
            Home::Registry { value } => (None, Some(*value)),
        };
        let record = Record {
            label: "sealhost/registry/counter/1",
            registry,
            name: self.name.as_str(),
            device,
            value,
            created_at: &self.created_at,
            created_by: self.created_by,
        };
        let bytes = postcard::to_stdvec(&record).map_err(|_unencodable| RegistryError::Stale)?;
        Ok(sha256(&bytes))
    }
}

impl Registry {
    /// A counter by name, unfinished ones included.
    #[must_use]
    pub fn counter(&self, name: &KeyName) -> Option<Arc<Counter>> {
        self.model().counters.get(name).cloned()
    }

    /// All counters in the order of their names, unfinished ones included.
    #[must_use]
    pub fn counters(&self) -> Vec<Arc<Counter>> {
        self.model().counters.values().cloned().collect()
    }

    /// Counters of an instance that are half made or half destroyed.
    #[must_use]
    pub fn unfinished_counters(&self, provider: &ProviderName) -> Vec<Arc<Counter>> {
        let of_provider = |counter: &&Arc<Counter>| {
            counter.device().is_some_and(|home| home.provider == *provider && !counter.is_live())
        };
        self.model().counters.values().filter(of_provider).cloned().collect()
    }

    /// Writes a counter that a device keeps as it shall be.
    ///
    /// `before` is the counter as the caller read it; the change is refused when it is no longer so.
    ///
    /// # Errors
    /// `Stale`, `NotOpen` (of the counter's instance), `Store`. Nothing is changed then.
    pub fn put_counter(
        &self,
        before: Option<&Arc<Counter>>,
        mut after: Counter,
    ) -> Result<Arc<Counter>, RegistryError> {
        let mut store = self.store();
        self.check_current(&after.name, before)?;
        after.digest = after.compute_digest(&self.id)?;
        if let Some(home) = after.device() {
            let keys = self.instance_keys();
            let key = keys.get(&home.provider).map(|keys| &keys.record);
            let key = key.ok_or_else(|| RegistryError::NotOpen(home.provider.clone()))?;
            after.mac = key.mac(&after.digest);
        }
        let after = Arc::new(after);
        let row = Arc::clone(&after);
        self.commit(
            &mut store,
            |model| {
                model.counters.insert(after.name.clone(), Arc::clone(&after));
            },
            |rows| rows.put_counter(&row),
        )?;
        Ok(after)
    }

    /// Removes a counter. One that was kept here leaves its value as the floor of later ones.
    ///
    /// # Errors
    /// `Stale`, `NoneOpen`, `Store`. Nothing is changed then.
    pub fn remove_counter(&self, before: &Arc<Counter>) -> Result<u64, RegistryError> {
        let mut store = self.store();
        self.check_current(&before.name, Some(before))?;
        self.check_some_open()?;
        let floor = match before.home {
            Home::Registry { value } => self.model().counter_floor.max(value),
            Home::Device(_) => self.model().counter_floor,
        };
        self.commit(
            &mut store,
            |model| {
                model.counters.remove(&before.name);
                model.counter_floor = floor;
            },
            |rows| {
                rows.remove_counter(&before.name)?;
                rows.set_counter_floor(floor)
            },
        )
    }

    /// Makes a counter that is kept here. It begins above every one that was kept here and is
    /// destroyed, as those of a TPM do.
    ///
    /// # Errors
    /// `Stale` (there is one of this name), `NoneOpen`, `Store`.
    pub fn add_counter(
        &self,
        name: &KeyName,
        created_at: String,
        created_by: u32,
    ) -> Result<Arc<Counter>, RegistryError> {
        let mut store = self.store();
        self.check_current(name, None)?;
        let value = self.model().counter_floor.saturating_add(1);
        let home = Home::Registry { value };
        let counter = Counter::new(name.clone(), home, created_at, created_by);
        self.write_own(&mut store, counter)
    }

    /// Raises a counter that is kept here; it is on disk when this returns.
    ///
    /// # Errors
    /// `Stale` (there is none of this name here), `NoneOpen`, `Store`.
    pub fn increment_counter(&self, name: &KeyName) -> Result<Arc<Counter>, RegistryError> {
        let mut store = self.store();
        let mut counter = self.counter(name).as_deref().cloned().ok_or(RegistryError::Stale)?;
        let Home::Registry { value } = &mut counter.home else { return Err(RegistryError::Stale) };
        *value = value.checked_add(1).ok_or(RegistryError::Stale)?;
        self.write_own(&mut store, counter)
    }

    fn write_own(
        &self,
        store: &mut super::store::Store,
        mut counter: Counter,
    ) -> Result<Arc<Counter>, RegistryError> {
        self.check_some_open()?;
        counter.digest = counter.compute_digest(&self.id)?;
        let counter = Arc::new(counter);
        let row = Arc::clone(&counter);
        self.commit(
            store,
            |model| {
                model.counters.insert(counter.name.clone(), Arc::clone(&counter));
            },
            |rows| rows.put_counter(&row),
        )?;
        Ok(counter)
    }

    fn check_current(
        &self,
        name: &KeyName,
        before: Option<&Arc<Counter>>,
    ) -> Result<(), RegistryError> {
        let current = self.counter(name);
        let same = match (before, &current) {
            (Some(before), Some(current)) => Arc::ptr_eq(before, current),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        if same { Ok(()) } else { Err(RegistryError::Stale) }
    }

    /// A head that nobody MACed could not be verified at the next start.
    pub(super) fn check_some_open(&self) -> Result<(), RegistryError> {
        if self.instance_keys().is_empty() { Err(RegistryError::NoneOpen) } else { Ok(()) }
    }
}

/// Computes the digests of what was read.
pub(super) fn digest_all(registry: &RegistryId, model: &mut Model) -> Result<(), RegistryError> {
    for counter in model.counters.values_mut() {
        let digest = counter.compute_digest(registry)?;
        Arc::make_mut(counter).digest = digest;
    }
    Ok(())
}

/// Verifies the record of every counter that an instance keeps.
pub(super) fn verify_all(
    model: &Model,
    provider: &ProviderName,
    key: &RecordKey,
) -> Result<(), RegistryError> {
    for counter in model.counters.values() {
        let kept_there = counter.device().is_some_and(|home| home.provider == *provider);
        if kept_there && !key.verifies(&counter.digest, &counter.mac) {
            return Err(RegistryError::CounterAltered(counter.name.clone()));
        }
    }
    Ok(())
}
