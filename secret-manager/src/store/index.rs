//! Entries by name and version, and what was deleted: what a store looks things up in.

use std::collections::BTreeMap;
use std::sync::Arc;

use wire::secrets::{SecretName, SecretVersion};

use super::{Claim, Known, TOMBSTONES_MAX};
use crate::secret::{Metadata, Tombstone};

/// An entry that a store keeps for a version.
pub(super) trait Row {
    fn metadata(&self) -> &Arc<Metadata>;
}

/// A tombstone, with what a store keeps beside it.
pub(super) trait Grave {
    fn tombstone(&self) -> &Tombstone;
}

impl Grave for Tombstone {
    fn tombstone(&self) -> &Tombstone {
        self
    }
}

/// Rows by name and version, graves by name and version, none of which stands for all versions.
///
/// A clone shares what does not change, so that the index of a change that may fail costs little
/// beside sealing and writing it.
#[derive(Clone, Debug)]
pub(super) struct Index<R, G> {
    rows: ByName<SecretVersion, R>,
    graves: ByName<Option<SecretVersion>, G>,
    row_count: usize,
    grave_count: usize,
}

type ByName<V, T> = BTreeMap<Arc<SecretName>, Arc<BTreeMap<V, T>>>;

impl<R, G> Default for Index<R, G> {
    fn default() -> Self {
        Self { rows: BTreeMap::new(), graves: BTreeMap::new(), row_count: 0, grave_count: 0 }
    }
}

impl<R: Row + Clone, G: Grave + Clone> Index<R, G> {
    pub(super) const fn len(&self) -> usize {
        self.row_count
    }

    /// The oldest grave, when there are more than a store keeps.
    pub(super) fn grave_too_many(&self) -> Option<Tombstone> {
        if self.grave_count <= TOMBSTONES_MAX {
            return None;
        }
        let graves = self.graves().map(Grave::tombstone);
        graves.min_by_key(|grave| grave.deleted_at).cloned()
    }

    /// Every row, in the order of name and version.
    pub(super) fn rows(&self) -> impl Iterator<Item = &R> {
        self.rows.values().flat_map(|versions| versions.values())
    }

    /// Every grave, in the order of name and version.
    pub(super) fn graves(&self) -> impl Iterator<Item = &G> {
        self.graves.values().flat_map(|graves| graves.values())
    }

    pub(super) fn row(&self, name: &SecretName, version: &SecretVersion) -> Option<&R> {
        self.rows.get(name)?.get(version)
    }

    pub(super) fn row_mut(&mut self, name: &SecretName, version: &SecretVersion) -> Option<&mut R> {
        Arc::make_mut(self.rows.get_mut(name)?).get_mut(version)
    }

    pub(super) fn known(&self, name: &SecretName) -> Known {
        let versions = self.rows.get(name).into_iter().flat_map(|versions| versions.values());
        let graves = self.graves.get(name).into_iter().flat_map(|graves| graves.values());
        Known {
            versions: versions.map(|row| Arc::clone(row.metadata())).collect(),
            tombstones: graves.map(|grave| grave.tombstone().clone()).collect(),
        }
    }

    /// Puts a row, and gives back the one that it replaces.
    pub(super) fn put(&mut self, row: R) -> Option<R> {
        let metadata = Arc::clone(row.metadata());
        let Metadata { name, version, .. } = &*metadata;
        let version = version.clone();
        let versions = of_name(&mut self.rows, name);
        let before = versions.insert(version, row);
        self.row_count = self.row_count.saturating_add(usize::from(before.is_none()));
        before
    }

    pub(super) fn remove(&mut self, name: &SecretName, version: &SecretVersion) -> Option<R> {
        let versions = Arc::make_mut(self.rows.get_mut(name)?);
        let row = versions.remove(version)?;
        if versions.is_empty() {
            self.rows.remove(name);
        }
        self.row_count = self.row_count.saturating_sub(1);
        Some(row)
    }

    /// The versions of a name that an erasure is about.
    pub(super) fn meant(
        &self,
        name: &SecretName,
        version: Option<&SecretVersion>,
    ) -> Vec<SecretVersion> {
        let stored = self.rows.get(name).into_iter().flat_map(|versions| versions.keys());
        stored.filter(|stored| version.is_none_or(|asked| asked == *stored)).cloned().collect()
    }

    pub(super) fn clear(&mut self) {
        self.rows.clear();
        self.row_count = 0;
    }

    /// Puts a grave, and gives back the one that it replaces.
    pub(super) fn bury(&mut self, grave: G) -> Option<G> {
        let Tombstone { name, version, .. } = grave.tombstone();
        let (name, version) = (name.clone(), version.clone());
        let before = of_name(&mut self.graves, &name).insert(version, grave);
        self.grave_count = self.grave_count.saturating_add(usize::from(before.is_none()));
        before
    }

    pub(super) fn exhume(&mut self, name: &SecretName, version: Option<&SecretVersion>) {
        let Some(graves) = self.graves.get_mut(name).map(Arc::make_mut) else { return };
        let found = graves.remove(&version.cloned()).is_some();
        if graves.is_empty() {
            self.graves.remove(name);
        }
        self.grave_count = self.grave_count.saturating_sub(usize::from(found));
    }

    /// Whether a version is to be stored.
    pub(super) fn admits(&self, metadata: &Metadata, claim: Claim) -> bool {
        self.known(&metadata.name).admits(&metadata.version, claim)
    }

    /// The graves that are opened when a version is stored: that of the version, and that of the
    /// whole name when the source brings it back. What a caller puts brings back itself alone.
    pub(super) fn opened_by(&self, metadata: &Metadata, claim: Claim) -> Vec<Tombstone> {
        let of_name =
            self.graves.get(&metadata.name).into_iter().flat_map(|graves| graves.values());
        let opened = of_name.map(Grave::tombstone).filter(|grave| match (&grave.version, claim) {
            (None, Claim::Delivered(_)) => true,
            (None, Claim::Put | Claim::ReadThrough(_)) => false,
            (Some(version), _) => *version == metadata.version,
        });
        opened.cloned().collect()
    }
}

fn of_name<'m, V: Ord + Clone, T: Clone>(
    names: &'m mut ByName<V, T>,
    name: &SecretName,
) -> &'m mut BTreeMap<V, T> {
    Arc::make_mut(names.entry(Arc::new(name.clone())).or_default())
}
