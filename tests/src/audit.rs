//! The audit of a daemon under test.

use std::fs;
use std::path::Path;

use serde_json::Value;

/// The lines of an audit.
#[must_use]
pub fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The lines of an audit, after `wire`'s verifier has accepted them all.
#[must_use]
pub fn verified(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    let mut verifier = wire::audit::Verifier::from_start();
    for line in text.lines() {
        verifier.feed(line.as_bytes()).unwrap_or_else(|fault| panic!("{fault}: {line}"));
    }
    lines(path)
}
