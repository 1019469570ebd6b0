//! The audit, held against what clients were answered.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use wire::audit::{Kind, Verifier};

use crate::sealhost::Sealhost;

/// The audit of a stopped host is whole, no newer than the registry, and each change in it has an
/// outcome and was not completed later, unless it is of a key or counter in `unanswered`.
///
/// # Panics
/// When it is not so.
pub fn check_audit(host: &Sealhost, unanswered: &BTreeSet<String>, generation: u64) {
    let text = fs::read(host.audit_path()).unwrap();
    let mut verifier = Verifier::from_start();
    let mut key_of = BTreeMap::new();
    for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let entry = verifier.feed(line).unwrap();
        match entry.kind {
            Kind::Intent => {
                key_of.insert(entry.seq, entry.key.unwrap());
            }
            Kind::Recovered => {
                let key = entry.key.unwrap();
                assert!(unanswered.contains(key.as_str()), "{key} was recovered, but answered");
            }
            Kind::Start
            | Kind::Stop
            | Kind::Reload
            | Kind::Request
            | Kind::Outcome
            | Kind::Refused
            | Kind::Checkpoint
            | Kind::Removed => {}
        }
    }
    let summary = verifier.finish();
    assert!(summary.last_generation <= generation);
    for intent in summary.open_intents {
        let key = &key_of[&intent.sequence];
        assert!(unanswered.contains(key.as_str()), "the intent about {key} has no outcome");
    }
}
