//! The audit of a daemon under test.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use wire::audit::{Verifier, older_first};

/// The files of an audit, the oldest first; the last one is that at its path.
#[must_use]
pub fn files(path: &Path) -> Vec<PathBuf> {
    let name = path.file_name().unwrap().as_encoded_bytes();
    let entries = fs::read_dir(path.parent().unwrap()).unwrap().map(|it| it.unwrap().path());
    let older = entries.filter_map(|entry| {
        let first = older_first(entry.file_name()?.as_encoded_bytes(), name)?;
        Some((first, entry))
    });
    let mut older: Vec<_> = older.collect();
    older.sort();
    older.into_iter().map(|(_, path)| path).chain([path.to_owned()]).collect()
}

/// The text of all its files.
#[must_use]
pub fn text(path: &Path) -> String {
    files(path).iter().map(|file| fs::read_to_string(file).unwrap()).collect()
}

/// The lines of an audit.
#[must_use]
pub fn lines(path: &Path) -> Vec<Value> {
    text(path).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The lines of an audit, after `wire`'s verifier has accepted them all.
#[must_use]
pub fn verified(path: &Path) -> Vec<Value> {
    let mut verifier = Verifier::from_start();
    for line in text(path).lines() {
        verifier.feed(line.as_bytes()).unwrap_or_else(|fault| panic!("{fault}: {line}"));
    }
    lines(path)
}

/// The last line that is about something else than the lines before it.
#[must_use]
pub fn last(lines: &[Value]) -> &Value {
    lines.iter().rfind(|line| line["kind"] != "checkpoint").unwrap()
}
