//! What the source does not have, for a while.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use wire::secrets::{SecretName, SecretVersion};

/// Most names of which it is remembered that the source does not have them; past it those that
/// have been remembered for longest are forgotten.
pub const NEGATIVE_NAMES_MAX: usize = 10_000;

/// Names and versions that the source was asked for in vain.
#[derive(Debug)]
pub(super) struct Negatives {
    ttl: Duration,
    names: Mutex<Names>,
}

/// Versions, and until when each is remembered, on the clock that never goes back.
type Names = BTreeMap<SecretName, Vec<(Option<SecretVersion>, Duration)>>;

impl Negatives {
    pub(super) fn new(ttl: Duration) -> Self {
        Self { ttl, names: Mutex::default() }
    }

    /// Whether the source need not be asked again yet.
    pub(super) fn holds(
        &self,
        name: &SecretName,
        version: Option<&SecretVersion>,
        passed: Duration,
    ) -> bool {
        let names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        let of_name = names.get(name).into_iter().flatten();
        let mut still = of_name.filter(|(_, until)| passed < *until);
        still.any(|(missing, _)| missing.as_ref() == version)
    }

    pub(super) fn remember(
        &self,
        name: &SecretName,
        version: Option<&SecretVersion>,
        passed: Duration,
    ) {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        if names.len() >= NEGATIVE_NAMES_MAX && !names.contains_key(name) {
            make_room(&mut names, passed);
        }
        let of_name = names.entry(name.clone()).or_default();
        // A name has few versions worth asking for; whoever tries many must not fill the memory.
        of_name.retain(|(missing, until)| passed < *until && missing.as_ref() != version);
        of_name.truncate(VERSIONS_MAX - 1);
        of_name.push((version.cloned(), passed.saturating_add(self.ttl)));
    }

    pub(super) fn forget(&self, name: &SecretName) {
        self.names.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    pub(super) fn forget_all(&self) {
        self.names.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// Most versions of one name that are remembered.
const VERSIONS_MAX: usize = 16;

/// Forgets what no longer holds, or else the name whose time is up first.
fn make_room(names: &mut Names, passed: Duration) {
    let end = |versions: &Vec<(Option<SecretVersion>, Duration)>| {
        versions.iter().map(|(_, until)| *until).max().unwrap_or_default()
    };
    names.retain(|_, versions| passed < end(versions));
    if names.len() >= NEGATIVE_NAMES_MAX {
        let first = names.iter().min_by_key(|(_, versions)| end(versions));
        if let Some(first) = first.map(|(name, _)| name.clone()) {
            names.remove(&first);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(60);

    fn name(number: usize) -> SecretName {
        format!("n{number}").parse().unwrap()
    }

    #[test]
    fn what_is_missing_is_remembered_until_its_time_is_up() {
        let negatives = Negatives::new(TTL);
        negatives.remember(&name(1), None, Duration::ZERO);
        assert!(negatives.holds(&name(1), None, TTL - Duration::from_nanos(1)));
        assert!(!negatives.holds(&name(1), None, TTL));
        assert!(!negatives.holds(&name(2), None, Duration::ZERO));
    }

    #[test]
    fn missing_version_says_nothing_of_the_others() {
        let negatives = Negatives::new(TTL);
        let version: SecretVersion = "v1".parse().unwrap();
        negatives.remember(&name(1), Some(&version), Duration::ZERO);
        assert!(negatives.holds(&name(1), Some(&version), Duration::ZERO));
        assert!(!negatives.holds(&name(1), None, Duration::ZERO));
    }

    #[test]
    fn names_at_limit_are_all_remembered_and_one_more_pushes_out_the_oldest() {
        let negatives = Negatives::new(TTL);
        let at = |number| Duration::from_nanos(u64::try_from(number).unwrap());
        for number in 0..NEGATIVE_NAMES_MAX {
            negatives.remember(&name(number), None, at(number));
        }
        assert!(negatives.holds(&name(0), None, Duration::ZERO));
        negatives.remember(&name(NEGATIVE_NAMES_MAX), None, at(NEGATIVE_NAMES_MAX));
        assert!(!negatives.holds(&name(0), None, Duration::ZERO));
        assert!(negatives.holds(&name(1), None, Duration::ZERO));
        assert!(negatives.holds(&name(NEGATIVE_NAMES_MAX), None, Duration::ZERO));
    }

    #[test]
    fn versions_of_a_name_are_bounded() {
        let negatives = Negatives::new(TTL);
        let version = |number: usize| SecretVersion::parse(&format!("v{number}")).unwrap();
        for number in 0..=VERSIONS_MAX {
            negatives.remember(&name(1), Some(&version(number)), Duration::ZERO);
        }
        let held =
            |number: &usize| negatives.holds(&name(1), Some(&version(*number)), Duration::ZERO);
        assert_eq!((0..=VERSIONS_MAX).filter(held).count(), VERSIONS_MAX);
    }
}
