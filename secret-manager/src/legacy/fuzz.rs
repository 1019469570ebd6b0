//! The body of the fuzz target of this room (`docs/fuzzing.md`).

use std::collections::BTreeSet;

use wire::secrets::{Author, Date};

use super::{export, import};
use crate::secret::{Secret, Stamp, Standing};

/// A file of edge-secrets: what is taken is sound, and taken again as we write it.
pub fn legacy_import(data: &[u8]) {
    let drafts = match import(data) {
        Ok(drafts) => drafts,
        Err(faults) => {
            assert!(!faults.is_empty());
            return assert!(faults.iter().all(|fault| fault.to_string().len() <= 1024));
        }
    };
    // .NET writes tenths of microseconds, and nothing below.
    let in_ticks = |date: Date| date.unix().1.is_multiple_of(100);
    let mut seen = BTreeSet::new();
    let mut whole = true;
    for draft in &drafts {
        assert!(draft.is_sound());
        whole &= in_ticks(draft.activation) && in_ticks(draft.expiration);
        assert!(seen.insert((draft.name.clone(), draft.stored_version())), "a secret twice");
    }
    let stamp = Stamp {
        standing: Standing::Offered,
        at: Date::MIN,
        by: &Author::user(0),
        as_of: Date::MIN,
    };
    let secrets: Vec<_> = drafts.into_iter().map(|it| it.into_secret(None, &stamp)).collect();
    let again = export(&secrets).ok().and_then(|text| import(&text).ok());
    let again: BTreeSet<_> = again
        .into_iter()
        .flatten()
        .map(|draft| (draft.name.clone(), draft.stored_version(), draft.value.as_bytes().to_vec()))
        .collect();
    let before = secrets.iter().map(|Secret { metadata, value }| {
        (metadata.name.clone(), metadata.version.clone(), value.as_bytes().to_vec())
    });
    assert!(!whole || again == before.collect());
}
