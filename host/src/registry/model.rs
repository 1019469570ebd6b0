//! The registry's contents in memory: keys with their versions, and the provider instances that
//! hold them.

use std::collections::BTreeMap;
use std::sync::Arc;

use provider_core::{Identity, KeyBlob, KeyId, StateBinding};
use wire::api::{Algorithm, Origin, Protection, Usage};
use wire::audit::Mark;
use wire::name::{KeyName, ProviderName};

use super::counter::Counter;

/// A key: what all its versions share, and the versions.
#[derive(Clone, Debug)]
pub struct Key {
    /// Its name.
    pub name: KeyName,
    /// What every version shares.
    pub terms: Terms,
    /// In ascending order of number, with no number twice.
    pub versions: Vec<Version>,
}

/// What was agreed on when a key was made; it never changes while a version of it lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// What the key is for.
    pub usage: Usage,
    /// How it computes.
    pub algorithm: Algorithm,
    /// The least protection that a version may have.
    pub floor: Protection,
    /// Whether seals go elsewhere while its provider is gone.
    pub fallback: bool,
    /// The machine state that its versions are bound to.
    pub state: Option<StateBinding>,
    /// The providers it may live in, in order of preference; `None` for the configured order.
    pub providers: Option<Vec<ProviderName>>,
}

/// One version of a key.
#[derive(Clone, Debug)]
pub struct Version {
    /// From 1, ascending, never used again.
    pub number: u32,
    /// Where it is in its life.
    pub stage: Stage,
    /// The instance that holds it.
    pub provider: ProviderName,
    /// Its name on the device.
    pub id: KeyId,
    /// What the provider finds it by; empty while creating and after destruction.
    pub blob: Arc<[u8]>,
    /// Where its bytes come from.
    pub origin: Origin,
    /// What stood behind the instance when it was made.
    pub protection: Protection,
    /// Whether it was made because another provider was gone.
    pub fallback: bool,
    /// When, RFC 3339.
    pub created_at: String,
    /// Who, as uid.
    pub created_by: u32,
    /// The digest of the record, computed whenever it is read or changed.
    pub(super) digest: [u8; 32],
    /// The record's MAC under its instance's record key.
    pub(super) mac: [u8; 32],
}

/// Where a version is in its life. `active` and `decrypt-only` are not stages: the active version
/// follows from the numbers, so that a rotation need not touch a record whose device is down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Announced; the device may or may not have it.
    Creating,
    /// Usable.
    Live,
    /// Condemned; the device may or may not have it.
    Destroying,
    /// Gone; only the record is left.
    Destroyed,
}

/// A provider instance that was opened at least once.
#[derive(Clone, Debug)]
pub struct Instance {
    /// Its name in the configuration.
    pub name: ProviderName,
    /// What its device is recognized by.
    pub identity: Identity,
    /// The key on it that authenticates our records.
    pub record_key: RecordKeyName,
}

/// The internal key of an instance.
#[derive(Clone, Debug)]
pub struct RecordKeyName {
    /// Its name on the device.
    pub id: KeyId,
    /// What the provider finds it by.
    pub blob: KeyBlob,
}

/// All of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Model {
    pub(super) keys: BTreeMap<KeyName, Arc<Key>>,
    pub(super) instances: BTreeMap<ProviderName, Instance>,
    pub(super) counters: BTreeMap<KeyName, Arc<Counter>>,
    /// The highest value of any counter that was kept here and is destroyed.
    pub(super) counter_floor: u64,
    /// The last checkpoint of the audit.
    pub(super) audit_mark: Option<Mark>,
    pub(super) generation: u64,
}

impl Key {
    /// The version that new seals, MACs and signatures use: the newest live one that is not a
    /// fallback.
    #[must_use]
    pub fn active(&self) -> Option<&Version> {
        self.versions.iter().rev().find(|version| version.is_live() && !version.fallback)
    }

    /// The version that seals go to while the active one's provider is gone: a live fallback
    /// version newer than the active one, because a rotation retires the older ones.
    #[must_use]
    pub fn fallback(&self) -> Option<&Version> {
        let active = self.active()?.number;
        let newest = self.versions.iter().rev().find(|version| version.is_live());
        newest.filter(|version| version.fallback && version.number > active)
    }

    /// A live version by its number.
    #[must_use]
    pub fn live(&self, number: u32) -> Option<&Version> {
        self.versions.iter().find(|version| version.number == number && version.is_live())
    }

    /// All live versions, newest first.
    pub fn live_versions(&self) -> impl Iterator<Item = &Version> {
        self.versions.iter().rev().filter(|version| version.is_live())
    }

    /// Whether any version can still be used, is being made or is being destroyed.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.versions.iter().any(|version| version.stage != Stage::Destroyed)
    }

    /// The number of its first version, by which a key is told from one of the same name that was
    /// destroyed before it.
    #[must_use]
    pub fn generation(&self) -> Option<u32> {
        self.versions.first().map(|version| version.number)
    }

    /// The number that the next version gets.
    #[must_use]
    pub fn next_number(&self) -> u32 {
        self.versions.last().map_or(1, |version| version.number.saturating_add(1))
    }
}

impl Version {
    /// A version to be announced, before its MAC is made.
    #[must_use]
    pub fn announced(
        number: u32,
        provider: ProviderName,
        id: KeyId,
        origin: Origin,
        protection: Protection,
    ) -> Self {
        Self {
            number,
            stage: Stage::Creating,
            provider,
            id,
            blob: Arc::from([]),
            origin,
            protection,
            fallback: false,
            created_at: String::new(),
            created_by: 0,
            digest: [0; 32],
            mac: [0; 32],
        }
    }

    /// Whether the other is this version with nothing changed that its MAC covers.
    pub(super) fn same_record(&self, other: &Self) -> bool {
        self.number == other.number && self.stage == other.stage && self.blob == other.blob
    }

    /// Whether it is being made or being destroyed, so that its device may or may not have it.
    #[must_use]
    pub fn is_unfinished(&self) -> bool {
        matches!(self.stage, Stage::Creating | Stage::Destroying)
    }

    /// Whether it can be used.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.stage == Stage::Live
    }
}

impl Stage {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Creating => "creating",
            Self::Live => "live",
            Self::Destroying => "destroying",
            Self::Destroyed => "destroyed",
        }
    }

    pub(super) fn from_text(text: &str) -> Option<Self> {
        [Self::Creating, Self::Live, Self::Destroying, Self::Destroyed]
            .into_iter()
            .find(|stage| stage.as_str() == text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Versions by their marks: `a` live, `f` live fallback, `x` destroyed, `c` creating.
    fn key(marks: &str) -> Key {
        let version = |(index, mark)| Version {
            number: u32::try_from(index).unwrap() + 1,
            stage: match mark {
                'x' => Stage::Destroyed,
                'c' => Stage::Creating,
                _ => Stage::Live,
            },
            provider: ProviderName::parse("soft").unwrap(),
            id: KeyId([0; 16]),
            blob: Arc::from([]),
            origin: Origin::Generated,
            protection: Protection::Software,
            fallback: mark == 'f',
            created_at: String::new(),
            created_by: 0,
            digest: [0; 32],
            mac: [0; 32],
        };
        Key {
            name: KeyName::parse("k").unwrap(),
            terms: Terms {
                usage: Usage::Seal,
                algorithm: Algorithm::HmacSha256,
                floor: Protection::Software,
                fallback: true,
                state: None,
                providers: None,
            },
            versions: marks.chars().enumerate().map(version).collect(),
        }
    }

    fn check(marks: &str, active: Option<u32>, fallback: Option<u32>) {
        let key = key(marks);
        assert_eq!(key.active().map(|version| version.number), active, "active of {marks}");
        assert_eq!(key.fallback().map(|version| version.number), fallback, "fallback of {marks}");
    }

    #[test]
    fn newest_live_version_is_active() {
        check("aa", Some(2), None);
        check("aac", Some(2), None);
        check("xxa", Some(3), None);
    }

    #[test]
    fn fallback_version_is_never_active() {
        check("af", Some(1), Some(2));
        check("f", None, None);
    }

    #[test]
    fn rotation_retires_the_fallback_version() {
        check("afa", Some(3), None);
        check("afaf", Some(3), Some(4));
    }

    #[test]
    fn destroyed_key_has_no_active_version_and_keeps_its_numbers() {
        check("xx", None, None);
        assert!(!key("xx").exists());
        assert_eq!(key("xx").next_number(), 3);
    }
}
