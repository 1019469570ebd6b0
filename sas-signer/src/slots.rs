//! The two keys that Azure has for each policy and device, and which of them signs.
//!
//! They are two keys of the host, not two versions of one. Both are good in the cloud at once, and
//! a rollover goes back and forth between them: sign with the secondary, let the cloud make a new
//! primary, import it, and the other way round next time. Versions of one key only go forward, an
//! import would switch at once, and a primary that leaked could not be destroyed without the
//! secondary. Within a slot a new version replaces the old one: the cloud has forgotten that key,
//! so only the active version signs and verifies.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wire::sas::{SasKeyName, Slot};

/// Which slot of each key signs. The primary, unless the key was rotated.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Slots(BTreeMap<SasKeyName, Slot>);

impl Slots {
    /// The slot that signs.
    #[must_use]
    pub fn active(&self, name: &SasKeyName) -> Slot {
        self.0.get(name).copied().unwrap_or_default()
    }

    /// The same, but for one key.
    #[must_use]
    pub fn with(&self, name: &SasKeyName, active: Slot) -> Self {
        let mut slots = self.0.clone();
        match active {
            Slot::Primary => slots.remove(name),
            Slot::Secondary => slots.insert(name.clone(), active),
        };
        Self(slots)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s10_key_signs_by_its_primary_until_it_is_rotated_and_again_after() {
        let [a, b] = ["a", "b"].map(|name| SasKeyName::parse(name).unwrap());
        let slots = Slots::default();
        assert_eq!(slots.active(&a), Slot::Primary);
        let slots = slots.with(&a, Slot::Secondary);
        assert_eq!((slots.active(&a), slots.active(&b)), (Slot::Secondary, Slot::Primary));
        assert_eq!(slots.with(&a, Slot::Primary), Slots::default());
    }

    #[test]
    fn slots_are_written_and_read_alike() {
        let slots = Slots::default().with(&SasKeyName::parse("a/b").unwrap(), Slot::Secondary);
        let text = serde_json::to_string(&slots).unwrap();
        assert_eq!(text, r#"{"a/b":"secondary"}"#);
        assert_eq!(serde_json::from_str::<Slots>(&text).unwrap(), slots);
        assert!(serde_json::from_str::<Slots>(r#"{".a":"secondary"}"#).is_err());
    }
}
