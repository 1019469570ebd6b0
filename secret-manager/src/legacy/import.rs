//! Reads a file of edge-secrets.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use wire::secrets::{Date, SECRET_NAME_MAX_BYTES, SecretName, SecretVersion};
use zeroize::Zeroizing;

use crate::secret::{Draft, Value};

/// Longest file, in bytes.
pub const LEGACY_FILE_MAX_BYTES: usize = 64 * 1024 * 1024;

/// Why a file, or one entry of it, is not taken. A value is never repeated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImportFault {
    /// It is too long.
    #[error("file of {bytes} bytes exceeds limit of {LEGACY_FILE_MAX_BYTES}")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// It is not the JSON of edge-secrets.
    #[error("not a file of edge-secrets, at line {line} column {column}")]
    Malformed {
        /// The line, from 1.
        line: usize,
        /// The column.
        column: usize,
    },
    /// An entry cannot be a secret here.
    #[error("entry {name:?} version {version:?}: {reason}")]
    Entry {
        /// The name of the entry.
        name: String,
        /// Its version.
        version: String,
        /// What is wrong.
        reason: String,
    },
}

/// Reads a file. An entry without a version becomes version `default`, one without a value has an
/// empty one, and dates without an offset are in UTC.
///
/// # Limits
/// 64 MiB; the limits of secrets for each entry.
///
/// # Errors
/// Every fault: the one of the file, or those of all entries. Nothing is imported then.
///
/// # Secrets
/// The text is the caller's to wipe; values are wiped when dropped.
pub fn import(text: &[u8]) -> Result<Vec<Draft>, Vec<ImportFault>> {
    if text.len() > LEGACY_FILE_MAX_BYTES {
        return Err(vec![ImportFault::TooLong { bytes: text.len() }]);
    }
    // PowerShell and .NET write this mark at the beginning of UTF-8.
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let file: Pairs<Pairs<Entry>> = serde_json::from_slice(text).map_err(|error| {
        vec![ImportFault::Malformed { line: error.line(), column: error.column() }]
    })?;
    let (mut drafts, mut faults) = (Vec::new(), Vec::new());
    let mut seen = BTreeSet::new();
    for (name, versions) in file.0 {
        for (version, entry) in versions.0 {
            // An entry without a version is one of version `default`, which may stand there too.
            let draft = draft(&name, &version, entry).and_then(|draft| {
                let first = seen.insert((draft.name.clone(), draft.stored_version()));
                if first { Ok(draft) } else { Err("its version stands there already".into()) }
            });
            match draft {
                Ok(draft) => drafts.push(draft),
                Err(reason) => {
                    let (name, version) = (shown(&name), shown(&version));
                    faults.push(ImportFault::Entry { name, version, reason });
                }
            }
        }
    }
    if faults.is_empty() { Ok(drafts) } else { Err(faults) }
}

/// A name in a message: no more of it than a name can have.
fn shown(name: &str) -> String {
    name.chars().take(SECRET_NAME_MAX_BYTES).collect()
}

fn draft(name: &str, version: &str, entry: Entry) -> Result<Draft, String> {
    if entry.name.as_ref().is_some_and(|inner| inner != name) {
        return Err("its Name is another than the one it stands under".into());
    }
    let inner = entry.version.as_deref().unwrap_or(version);
    if inner != version {
        return Err("its Version is another than the one it stands under".into());
    }
    let version = match version {
        "" => None,
        version => Some(SecretVersion::parse(version).map_err(|error| error.to_string())?),
    };
    let name = SecretName::parse(name).map_err(|error| error.to_string())?;
    let bytes = entry.value.map(|value| value.as_bytes().to_vec()).unwrap_or_default();
    let value = Value::new(Zeroizing::new(bytes)).map_err(|fault| fault.detail)?;
    let date = |text: Option<String>, default| match text {
        None => Ok(default),
        Some(text) => Date::parse_legacy(&text).map_err(|error| error.to_string()),
    };
    let draft = Draft {
        activation: date(entry.activation, Date::MIN)?,
        expiration: date(entry.expiration, Date::NEVER)?,
        ..Draft::new(name, version, value)
    };
    if draft.is_sound() {
        Ok(draft)
    } else {
        Err("its ActivationDate is not before its ExpirationDate".into())
    }
}

/// One version of a secret; unknown fields are passed over, as .NET does.
#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "Name")]
    name: Option<String>,
    #[serde(rename = "Version")]
    version: Option<String>,
    #[serde(rename = "Value", default, deserialize_with = "wiped")]
    value: Option<Zeroizing<String>>,
    #[serde(rename = "ActivationDate")]
    activation: Option<String>,
    #[serde(rename = "ExpirationDate")]
    expiration: Option<String>,
}

fn wiped<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Zeroizing<String>>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.map(Zeroizing::new))
}

/// The entries of an object in their order; a key that stands twice is refused.
struct Pairs<T>(Vec<(String, T)>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Pairs<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(PairsVisitor(std::marker::PhantomData))
    }
}

struct PairsVisitor<T>(std::marker::PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for PairsVisitor<T> {
    type Value = Pairs<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs<T>, A::Error> {
        let mut pairs = Vec::new();
        let mut seen = BTreeSet::new();
        while let Some((key, value)) = map.next_entry::<String, T>()? {
            if !seen.insert(key.clone()) {
                return Err(serde::de::Error::custom("a key stands twice"));
            }
            pairs.push((key, value));
        }
        Ok(Pairs(pairs))
    }
}
