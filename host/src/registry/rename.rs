//! A key that gets another name, in one step.

use std::sync::Arc;

use wire::name::KeyName;

use super::{Key, Registry, RegistryError, Stage};

impl Registry {
    /// Demands that every instance which a version of a key is in is open, so that the key can be
    /// renamed.
    ///
    /// # Errors
    /// `NotOpen`.
    pub fn check_open(&self, key: &Key) -> Result<(), RegistryError> {
        let open = self.instance_keys();
        let closed = key.versions.iter().find(|version| !open.contains_key(&version.provider));
        closed.map_or(Ok(()), |version| Err(RegistryError::NotOpen(version.provider.clone())))
    }

    /// Gives a key's versions another name, which no living key has. Of the old name a record stays
    /// that its versions are gone, so that their numbers are never used again.
    ///
    /// # Errors
    /// `Stale`: one of both is not as the caller read it. `NotOpen` of a version's instance,
    /// `Store`. Nothing is changed then.
    pub fn rename(
        &self,
        from: &Arc<Key>,
        to: &KeyName,
        replaced: Option<&Arc<Key>>,
    ) -> Result<u64, RegistryError> {
        let mut store = self.store();
        self.check_same(&from.name, Some(from))?;
        self.check_same(to, replaced)?;
        self.check_open(from)?;
        let mut left = Key::clone(from);
        for version in &mut left.versions {
            version.stage = Stage::Destroyed;
            version.blob = Arc::from([]);
        }
        let first = replaced.map_or(1, |key| key.next_number());
        let mut moved = Key { name: to.clone(), ..Key::clone(from) };
        for (number, version) in (first..).zip(&mut moved.versions) {
            version.number = number;
        }
        self.authenticate(None, &mut left)?;
        self.authenticate(None, &mut moved)?;
        let (left, moved) = (Arc::new(left), Arc::new(moved));
        let rows = [Arc::clone(&left), Arc::clone(&moved)];
        self.commit(
            &mut store,
            move |model| {
                for key in [left, moved] {
                    model.keys.insert(key.name.clone(), key);
                }
            },
            |store| rows.iter().try_for_each(|key| store.put_key(key)),
        )
    }
}
