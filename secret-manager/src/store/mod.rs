//! What every store can do. Which store is asked when is the chain's matter.

pub(crate) mod file;
mod index;
pub(crate) mod memory;

use std::fmt;
use std::sync::Arc;

use wire::api::Protection;
use wire::name::KeyName;
use wire::secrets::{Author, Date, SecretName, SecretVersion};

use crate::error::StoreError;
use crate::pending::Pending;
use crate::secret::{Metadata, Secret, Tombstone};

/// A place for secrets. As the base of a chain it says which versions there are; as a cache it
/// holds copies of values, and nobody asks it anything but [`Store::read`].
///
/// # Secrets
/// A store keeps values sealed, or in memory that is wiped.
pub trait Store: fmt::Debug + Send + Sync {
    /// Its name, in replies and in the log.
    fn label(&self) -> &str;

    /// The host's key that seals its values, if one does.
    fn key(&self) -> Option<&KeyName>;

    /// Counts changes, for whoever keeps a record by which an older copy is noticed; 0 where a
    /// counter does that, or where nothing outlasts the process.
    fn generation(&self) -> u64;

    /// What is known of a name, deleted versions included.
    ///
    /// # Errors
    /// The store cannot be read.
    fn look<'a>(&'a self, name: &'a SecretName) -> Pending<'a, Result<Known, StoreError>>;

    /// Every version of every name, by name and version.
    ///
    /// # Errors
    /// The store cannot be read.
    fn list(&self) -> Pending<'_, Result<Vec<Arc<Metadata>>, StoreError>>;

    /// Reads the version that has exactly this metadata; none when it is another by now.
    ///
    /// # Errors
    /// `Seal` with `Integrity`: what is there was altered. Others: it cannot be read now.
    fn read<'a>(&'a self, wanted: &'a Metadata) -> Pending<'a, Result<Option<Read>, StoreError>>;

    /// Stores secrets, all or none of those that the claim is good for. One result each.
    ///
    /// # Errors
    /// Nothing is stored, but for `Uncounted`.
    fn write<'a>(
        &'a self,
        secrets: &'a [Secret],
        claim: Claim,
    ) -> Pending<'a, Result<Vec<Written>, StoreError>>;

    /// Erases a version, or all versions of a name, and tells how many there were.
    ///
    /// # Errors
    /// Nothing is erased, but for `Uncounted`.
    fn erase<'a>(
        &'a self,
        name: &'a SecretName,
        version: Option<&'a SecretVersion>,
        erasure: Erasure,
    ) -> Pending<'a, Result<usize, StoreError>>;

    /// Erases every value. Tombstones stay.
    ///
    /// # Errors
    /// Nothing is erased, but for `Uncounted`.
    fn clear(&self) -> Pending<'_, Result<(), StoreError>>;
}

/// Most tombstones of one store; past it the oldest is dropped.
pub const TOMBSTONES_MAX: usize = 65_536;

/// What a store knows of one name.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// Its versions, by version.
    pub versions: Vec<Arc<Metadata>>,
    /// What was deleted of it.
    pub tombstones: Vec<Tombstone>,
}

impl Known {
    /// Whether the name, or the version that is asked for, was deleted and has not come back.
    #[must_use]
    pub fn is_deleted(&self, version: Option<&SecretVersion>) -> bool {
        self.tombstones.iter().any(|tombstone| match (&tombstone.version, version) {
            (None, _) => true,
            (Some(deleted), Some(asked)) => deleted == asked,
            (Some(_), None) => false,
        })
    }

    /// Whether a claim is good for a version.
    #[must_use]
    pub fn admits(&self, version: &SecretVersion, claim: Claim) -> bool {
        let (date, brings_back) = match claim {
            Claim::Put => return true,
            Claim::Delivered(date) => (date, true),
            Claim::ReadThrough(date) => (date, false),
        };
        let mut tombstones = self.tombstones.iter().filter(|tombstone| {
            tombstone.version.as_ref().is_none_or(|deleted| deleted == version)
        });
        let mut stored = self.versions.iter().filter(|stored| stored.version == *version);
        // Only what the source says after the deletion brings a deleted secret back.
        tombstones.all(|tombstone| brings_back && tombstone.deleted_at < date)
            && stored.all(|stored| stored.as_of < date)
    }
}

/// By what right something is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// A caller put it: it replaces what is there, and brings back what was deleted.
    Put,
    /// The source says so, as of this date: it does not replace what is as of this date or later,
    /// nor bring back what was deleted at this date or later.
    Delivered(Date),
    /// The source was asked at this date by somebody who only looked: as `Delivered`, and it
    /// brings nothing back that was deleted.
    ReadThrough(Date),
}

/// What became of a secret that was to be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// It is stored.
    Stored,
    /// Something later is there, or it was deleted.
    Outdated,
}

/// Why something is erased.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Erasure {
    /// A copy is dropped.
    Forget,
    /// The secret is deleted, which a tombstone says from then on.
    Delete {
        /// When.
        at: Date,
        /// Who deletes it.
        by: Author,
    },
}

/// A secret that was read.
#[derive(Clone, Debug)]
pub struct Read {
    /// The secret.
    pub secret: Secret,
    /// What protects the sealed form that was opened, if it was sealed.
    pub protection: Option<Protection>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::{Draft, Stamp, Standing, Value};

    fn date(number: u8) -> Date {
        Date::parse(&format!("2026-01-{number:02}T00:00:00Z")).unwrap()
    }

    /// What is known: a version `v1` stored on a day, a deletion of the name or of `v1` on a day.
    fn known(stored: Option<u8>, name: Option<u8>, version: Option<u8>) -> Known {
        let metadata = |day| {
            let value = Value::new(Vec::new().into()).unwrap();
            let draft = Draft::new("a".parse().unwrap(), Some("v1".parse().unwrap()), value);
            draft
                .into_secret(
                    None,
                    &Stamp {
                        standing: Standing::Offered,
                        at: date(day),
                        by: &Author::user(0),
                        as_of: date(day),
                    },
                )
                .metadata
        };
        let tombstone = |day, version: Option<&str>| Tombstone {
            name: "a".parse().unwrap(),
            version: version.map(|version| version.parse().unwrap()),
            deleted_at: date(day),
            deleted_by: Author::user(0),
        };
        let of_name = name.map(|day| tombstone(day, None));
        let of_version = version.map(|day| tombstone(day, Some("v1")));
        Known {
            versions: stored.map(metadata).into_iter().collect(),
            tombstones: of_name.into_iter().chain(of_version).collect(),
        }
    }

    #[track_caller]
    fn check(known: &Known, claim: Claim, admitted: bool) {
        assert_eq!(known.admits(&"v1".parse().unwrap(), claim), admitted, "{claim:?}");
    }

    #[test]
    fn put_is_always_admitted() {
        check(&known(Some(9), None, None), Claim::Put, true);
        check(&known(None, Some(9), Some(9)), Claim::Put, true);
    }

    #[test]
    fn m16_deletion_keeps_out_what_is_not_later() {
        for deleted in [known(None, Some(5), None), known(None, None, Some(5))] {
            check(&deleted, Claim::Delivered(date(4)), false);
            check(&deleted, Claim::Delivered(date(5)), false);
            check(&deleted, Claim::Delivered(date(6)), true);
            check(&deleted, Claim::ReadThrough(date(6)), false);
        }
    }

    #[test]
    fn delivery_does_not_replace_what_is_as_new() {
        let stored = known(Some(5), None, None);
        check(&stored, Claim::Delivered(date(4)), false);
        check(&stored, Claim::Delivered(date(5)), false);
        check(&stored, Claim::Delivered(date(6)), true);
        check(&stored, Claim::ReadThrough(date(6)), true);
        check(&stored, Claim::ReadThrough(date(4)), false);
    }

    #[test]
    fn deletion_of_a_version_leaves_the_others() {
        let deleted = known(None, None, Some(5));
        assert!(deleted.admits(&"v2".parse().unwrap(), Claim::ReadThrough(date(1))));
        assert!(!deleted.is_deleted(None));
        assert!(deleted.is_deleted(Some(&"v1".parse().unwrap())));
        assert!(!deleted.is_deleted(Some(&"v2".parse().unwrap())));
    }

    #[test]
    fn deletion_of_a_name_is_one_of_every_version() {
        let deleted = known(None, Some(5), None);
        assert!(deleted.is_deleted(None) && deleted.is_deleted(Some(&"v2".parse().unwrap())));
    }
}
