//! `[[store]]`, from the head to the base.

use std::time::Duration;

use daemon::config::{Noted, Read, Section, value};
use toml::Value;
use wire::name::KeyName;
use wire::secrets::SECRET_VALUE_MAX_BYTES;

use super::fault::Problem;
use super::{StoreConfig, StoreKind};
use crate::store::memory::MemoryBounds;

/// Versions in a memory store, and the most that can be configured.
const ENTRIES: usize = 1_024;
const ENTRIES_MAX: i64 = 100_000;
/// Bytes of values in a memory store, and the bounds of what can be configured.
const BYTES: usize = 16 * 1_024 * 1_024;
const BYTES_MAX: i64 = 1_024 * 1_024 * 1_024;
const FILE: &str = "secrets.db";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Memory,
    File,
}

pub(super) fn all(root: &mut Section<'_>) -> Read<Vec<StoreConfig>> {
    let tables = root.tables("store")?;
    if tables.is_empty() {
        return Err(root.fault("store", Problem::NoStore));
    }
    let last = tables.len();
    let mut noted: Option<Noted> = None;
    let mut stores: Vec<StoreConfig> = Vec::new();
    for (index, table) in tables.into_iter().enumerate() {
        let number = index.saturating_add(1);
        let mut section = root.inner(format!("[[store]] #{number} "), table);
        match one(&mut section, number == last, &stores) {
            Ok(store) => stores.push(store),
            Err(fault) => noted = Some(fault),
        }
        section.finish();
    }
    noted.map_or(Ok(stores), Err)
}

fn one(section: &mut Section<'_>, is_base: bool, before: &[StoreConfig]) -> Read<StoreConfig> {
    let kind = section.required("type", "type = \"file\"", kind)?;
    let default = match kind {
        Kind::Memory => "memory",
        Kind::File => "file",
    };
    let label = section.defaulted("label", default.to_owned(), label);
    let kind = match kind {
        Kind::Memory => memory(section),
        Kind::File => file(section).and_then(|file| match is_base {
            true => Ok(file),
            false => Err(section.fault("type", Problem::FileInFront)),
        }),
    };
    let (label, kind) = (label?, kind?);
    if let Some(taken) = before.iter().position(|store| store.label == label) {
        return Err(section.fault("label", Problem::Taken(taken.saturating_add(1))));
    }
    Ok(StoreConfig { label, kind })
}

fn memory(section: &mut Section<'_>) -> Read<StoreKind> {
    let least = i64::try_from(SECRET_VALUE_MAX_BYTES).unwrap_or(BYTES_MAX);
    let entries = section.defaulted("entries", ENTRIES, value::number(1, ENTRIES_MAX));
    let bytes = section.defaulted("bytes", BYTES, value::number(least, BYTES_MAX));
    let ttl: Read<Option<Duration>> = section.optional("ttl", value::duration);
    let key = section.optional("key", key);
    let bounds = MemoryBounds { entries: entries?, bytes: bytes?, ttl: ttl? };
    Ok(StoreKind::Memory { bounds, key: key? })
}

fn file(section: &mut Section<'_>) -> Read<StoreKind> {
    let file = section.defaulted("file", FILE.to_owned(), file_name);
    let counter = section.optional("counter", key);
    let key = section.required("key", "key = \"secret-manager/store\"", key);
    Ok(StoreKind::File { file: file?, key: key?, counter: counter? })
}

fn kind(value: &Value) -> Result<Kind, Problem> {
    match value::text(value)?.as_str() {
        "memory" => Ok(Kind::Memory),
        "file" => Ok(Kind::File),
        other => {
            let found = other.to_owned();
            Err(Problem::Word { found, wanted: "\"memory\" or \"file\"" })
        }
    }
}

fn key(value: &Value) -> Result<KeyName, Problem> {
    KeyName::parse(&value::text(value)?).map_err(Problem::Key)
}

/// The name of a store or source.
pub(super) fn label(value: &Value) -> Result<String, Problem> {
    let text = value::text(value)?;
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b);
    if (1..=32).contains(&text.len()) && text.bytes().all(fits) {
        return Ok(text);
    }
    Err(Problem::Label(text))
}

fn file_name(value: &Value) -> Result<String, Problem> {
    let text = value::text(value)?;
    if text.starts_with('.') || text.contains('/') {
        return Err(Problem::FileName(text));
    }
    Ok(text)
}
