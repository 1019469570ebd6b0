//! The configuration of an aziot Key Service, as far as keys and rights stand in it: one file, and
//! a directory of patches. Tables are merged, lists joined, other values replaced; keys that are
//! not known are passed over, as the service does.
//!
//! PINs stand in such a file. No message repeats what it says, and nothing of them is kept.
#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::fmt;
use std::path::PathBuf;

use percent_encoding::percent_decode_str;
use serde::Serialize;
use toml::{Table, Value};

/// What the configuration says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Keyd {
    /// Its directory, which has `keys/` in it.
    pub(super) home: Option<PathBuf>,
    /// Whether it keeps keys on a PKCS#11 token.
    pub(super) has_token: bool,
    /// Keys by name, with where each is.
    pub(super) preloaded: Vec<(String, Location)>,
    pub(super) principals: Vec<Principal>,
}

/// Where a preloaded key is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Location {
    File(PathBuf),
    Token,
    /// What is written there is neither.
    Unknown,
}

/// Who may use which keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Principal {
    pub(super) uid: u32,
    /// Patterns: `*` is any characters, `?` one.
    pub(super) keys: Vec<String>,
}

/// What is wrong with a configuration.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A file, by its number, is no TOML from some line on.
    Syntax { file: usize, line: usize },
    /// A value has another type than it should.
    Type { key: &'static str, expected: &'static str },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax { file: _, line } => write!(f, "line {line} is no TOML"),
            Self::Type { key, expected } => write!(f, "{key} is not {expected}"),
        }
    }
}

/// Reads the main file and its patches, in their order.
pub(crate) fn parse(files: &[&[u8]]) -> Result<Keyd, Fault> {
    let mut whole = Table::new();
    for (file, bytes) in files.iter().enumerate() {
        merge(&mut whole, table(file, bytes)?);
    }
    let home = match section(&whole, "aziot_keys")?.and_then(|keys| keys.get("homedir_path")) {
        None => None,
        Some(Value::String(path)) => Some(PathBuf::from(path)),
        Some(_) => return Err(wrong("aziot_keys.homedir_path", "a text")),
    };
    let has_token =
        section(&whole, "aziot_keys")?.is_some_and(|keys| keys.contains_key("pkcs11_lib_path"));
    let mut preloaded = Vec::new();
    for (id, uri) in section(&whole, "preloaded_keys")?.into_iter().flatten() {
        let uri = uri.as_str().ok_or_else(|| wrong("preloaded_keys", "a table of texts"))?;
        preloaded.push((id.clone(), location(uri)));
    }
    Ok(Keyd { home, has_token, preloaded, principals: principals(&whole)? })
}

fn table(file: usize, bytes: &[u8]) -> Result<Table, Fault> {
    let line_at = |place: usize| {
        let before = bytes.get(..place).unwrap_or(bytes);
        before.iter().filter(|byte| **byte == b'\n').count().saturating_add(1)
    };
    let text = std::str::from_utf8(bytes)
        .map_err(|error| Fault::Syntax { file, line: line_at(error.valid_up_to()) })?;
    text.parse().map_err(|error: toml::de::Error| {
        let place = error.span().map_or(bytes.len(), |span| span.start);
        Fault::Syntax { file, line: line_at(place) }
    })
}

fn merge(into: &mut Table, patch: Table) {
    for (key, value) in patch {
        match (into.get_mut(&key), value) {
            (Some(Value::Table(into)), Value::Table(patch)) => merge(into, patch),
            (Some(Value::Array(into)), Value::Array(patch)) => into.extend(patch),
            (Some(_) | None, value) => {
                into.insert(key, value);
            }
        }
    }
}

fn section<'a>(whole: &'a Table, key: &'static str) -> Result<Option<&'a Table>, Fault> {
    let table = |value: &'a Value| value.as_table().ok_or_else(|| wrong(key, "a table"));
    whole.get(key).map(table).transpose()
}

fn location(uri: &str) -> Location {
    match uri.split_once(':') {
        Some(("file", rest)) => {
            let path = rest.strip_prefix("//localhost/").or_else(|| rest.strip_prefix("///"));
            let path = path.and_then(|path| percent_decode_str(path).decode_utf8().ok());
            path.map_or(Location::Unknown, |path| Location::File(format!("/{path}").into()))
        }
        Some(("pkcs11", _)) => Location::Token,
        Some(_) | None => Location::Unknown,
    }
}

/// Entries of one user add up.
fn principals(whole: &Table) -> Result<Vec<Principal>, Fault> {
    let Some(entries) = whole.get("principal") else { return Ok(Vec::new()) };
    let entries = entries.as_array().ok_or_else(|| wrong("principal", "a list of tables"))?;
    let mut principals: Vec<Principal> = Vec::new();
    for entry in entries {
        let entry = entry.as_table().ok_or_else(|| wrong("principal", "a list of tables"))?;
        let uid = entry.get("uid").and_then(Value::as_integer);
        let uid = uid.and_then(|uid| u32::try_from(uid).ok());
        let uid = uid.ok_or_else(|| wrong("principal.uid", "the number of a user"))?;
        let texts = || wrong("principal.keys", "a list of texts");
        let keys = entry.get("keys").and_then(Value::as_array).ok_or_else(texts)?;
        let keys: Option<Vec<_>> = keys.iter().map(|key| key.as_str().map(str::to_owned)).collect();
        let keys = keys.ok_or_else(texts)?;
        match principals.iter_mut().find(|principal| principal.uid == uid) {
            Some(principal) => principal.keys.extend(keys),
            None => principals.push(Principal { uid, keys }),
        }
    }
    Ok(principals)
}

fn wrong(key: &'static str, expected: &'static str) -> Fault {
    Fault::Type { key, expected }
}

impl Keyd {
    /// The ids that stand in it: of preloaded keys, and patterns that fit one id only.
    pub(super) fn ids(&self) -> impl Iterator<Item = &str> {
        let preloaded = self.preloaded.iter().map(|(id, _)| id.as_str());
        let patterns = self.principals.iter().flat_map(|principal| &principal.keys);
        let plain = patterns.map(String::as_str).filter(|pattern| !pattern.contains(['*', '?']));
        preloaded.chain(plain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(files: &[&str], expected: &Result<Keyd, Fault>) {
        let files: Vec<_> = files.iter().map(|file| file.as_bytes()).collect();
        assert_eq!(&parse(&files), expected);
    }

    fn principal(uid: u32, keys: &[&str]) -> Principal {
        Principal { uid, keys: keys.iter().map(|key| (*key).to_owned()).collect() }
    }

    #[test]
    fn nothing_says_nothing() {
        check(&[""], &Ok(Keyd::default()));
        check(&[], &Ok(Keyd::default()));
    }

    #[test]
    fn patches_are_merged_in_their_order() {
        let main = "[aziot_keys]\nhomedir_path = \"/a\"\n[[principal]]\nuid = 1\nkeys = [\"a\"]";
        let first = "[aziot_keys]\nhomedir_path = \"/b\"\npkcs11_lib_path = \"/l\"";
        let second =
            "[[principal]]\nuid = 2\nkeys = [\"b*\"]\n[[principal]]\nuid = 1\nkeys = [\"c\"]";
        check(
            &[main, first, second],
            &Ok(Keyd {
                home: Some("/b".into()),
                has_token: true,
                preloaded: Vec::new(),
                principals: vec![principal(1, &["a", "c"]), principal(2, &["b*"])],
            }),
        );
    }

    #[test]
    fn preloaded_keys_are_in_files_or_on_a_token() {
        let text = "[preloaded_keys]\na = \"file:///x%20y\"\nb = \"pkcs11:token=t?pin-value=1\"\n\
                    c = \"https://h\"\nd = \"file://host/x\"";
        let keyd = parse(&[text.as_bytes()]).unwrap();
        let locations: Vec<_> = keyd.preloaded.into_iter().map(|(_, location)| location).collect();
        let file = Location::File("/x y".into());
        assert_eq!(locations, [file, Location::Token, Location::Unknown, Location::Unknown]);
    }

    #[test]
    fn ids_are_those_of_preloaded_keys_and_of_patterns_without_wildcards() {
        let text = "[preloaded_keys]\nid = \"file:///k\"\n\
                    [[principal]]\nuid = 1\nkeys = [\"a\", \"b*\", \"c?\", \"d/e\"]";
        let keyd = parse(&[text.as_bytes()]).unwrap();
        assert_eq!(keyd.ids().collect::<Vec<_>>(), ["id", "a", "d/e"]);
    }

    #[test]
    fn fault_is_told_without_what_stands_there() {
        check(&["", "\n\npin = \"marker"], &Err(Fault::Syntax { file: 1, line: 3 }));
        check(&["principal = 1"], &Err(wrong("principal", "a list of tables")));
        let of = |uid: &str| format!("[[principal]]\nuid = {uid}\nkeys = []");
        for uid in ["-1", "4294967296", "\"a\""] {
            check(&[&of(uid)], &Err(wrong("principal.uid", "the number of a user")));
        }
        check(&["[[principal]]\nuid = 1"], &Err(wrong("principal.keys", "a list of texts")));
        let fault = parse(&[b"a = \"marker\" marker"]).unwrap_err();
        assert!(!format!("{fault} {fault:?}").contains("marker"));
        assert!(matches!(parse(&[b"a = \"\xff\""]), Err(Fault::Syntax { file: 0, line: 1 })));
    }
}
