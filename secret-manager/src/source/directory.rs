//! A directory as source: deliveries that somebody carries in, and for tests.
//!
//! Each file `*.json` is one delivery, in the form of `docs/secrets.md` section 6. Files that are
//! being written have another name and are renamed when they are whole.

use std::collections::BTreeMap;
use std::fs::DirEntry;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer};
use wire::api::SecretBase64;
use wire::secrets::{ContentType, Date, SECRET_VALUE_MAX_BYTES, SecretName, SecretVersion, Tags};
use zeroize::Zeroizing;

use super::{Delivery, Removal, Source, Wanted};
use crate::error::SourceError;
use crate::pending::Pending;
use crate::secret::{Draft, Value};

/// Longest delivery, in bytes.
pub const DELIVERY_MAX_BYTES: usize = 4 * 1024 * 1024;

/// Most deliveries in one directory.
pub const DELIVERIES_MAX: usize = 1_000;

/// What the first field of a delivery says.
const FORMAT: &str = "sealhost.delivery/1";

/// A directory of deliveries.
///
/// Directory and files belong to root or the daemon's user and nobody else can write to them;
/// others are not read.
#[derive(Clone, Debug)]
pub struct DirectorySource {
    label: String,
    path: PathBuf,
}

/// Why a directory or a file in it is not taken.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryFault {
    /// It cannot be read.
    #[error("{}: {error}", .path.display())]
    Io {
        /// The directory or file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// Others can write to it, or it is another's.
    #[error(transparent)]
    Untrusted(#[from] daemon::trust::TrustError),
    /// It is too long.
    #[error("{}: a delivery has at most {DELIVERY_MAX_BYTES} bytes", .path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
    },
    /// There are too many.
    #[error("{}: a directory has at most {DELIVERIES_MAX} deliveries", .path.display())]
    TooMany {
        /// The directory.
        path: PathBuf,
    },
    /// It is no delivery. What stands there is not repeated.
    #[error("{}: no delivery, at line {line} column {column}", .path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The line, from 1; 0 where the fault is the whole.
        line: usize,
        /// The column.
        column: usize,
    },
}

impl DirectorySource {
    /// A source that reads this directory each time it is asked.
    #[must_use]
    pub fn new(label: &str, path: &Path) -> Self {
        Self { label: label.to_owned(), path: path.to_owned() }
    }

    /// Reads every delivery, oldest first. One file that is no delivery refuses them all: half of
    /// what was carried in might be worse than nothing.
    ///
    /// # Limits
    /// 1,000 files of 4 MiB.
    ///
    /// # Errors
    /// The first fault that is met.
    pub fn deliveries(&self) -> Result<Vec<Delivery>, DirectoryFault> {
        let directory = daemon::trust::check_trusted(&self.path)?;
        let io_error = |error| DirectoryFault::Io { path: directory.clone(), error };
        let mut deliveries = Vec::new();
        for entry in directory.read_dir().map_err(io_error)? {
            let entry = entry.map_err(io_error)?;
            if !is_delivery(&entry) {
                continue;
            }
            if deliveries.len() == DELIVERIES_MAX {
                return Err(DirectoryFault::TooMany { path: directory });
            }
            deliveries.push((read(&entry.path())?, entry.file_name()));
        }
        // By name where dates are equal, so that the order does not depend on the file system.
        deliveries.sort_by(|(one, one_name), (other, other_name)| {
            one.issued.cmp(&other.issued).then_with(|| one_name.cmp(other_name))
        });
        Ok(deliveries.into_iter().map(|(delivery, _)| delivery).collect())
    }

    /// What stands at the end of all deliveries.
    fn state(&self) -> Result<BTreeMap<(SecretName, SecretVersion), Draft>, DirectoryFault> {
        let mut state: BTreeMap<(SecretName, SecretVersion), Draft> = BTreeMap::new();
        for delivery in self.deliveries()? {
            for Removal { name, version } in &delivery.removals {
                state.retain(|(of, at), _| {
                    of != name || version.as_ref().is_some_and(|version| version != at)
                });
            }
            for draft in delivery.secrets {
                state.insert((draft.name.clone(), draft.stored_version()), draft);
            }
        }
        Ok(state)
    }
}

impl Source for DirectorySource {
    fn label(&self) -> &str {
        &self.label
    }

    fn fetch<'a>(
        &'a self,
        wanted: &'a [Wanted],
    ) -> Pending<'a, Result<Vec<Vec<Draft>>, SourceError>> {
        let source = self.clone();
        Box::pin(async move {
            let source_label = source.label.clone();
            let read = tokio::task::spawn_blocking(move || source.state()).await;
            let state = match read {
                Ok(Ok(state)) => state,
                Ok(Err(fault @ DirectoryFault::Malformed { .. })) => {
                    return Err(SourceError::Malformed { source_label, reason: fault.to_string() });
                }
                Ok(Err(fault)) => {
                    return Err(SourceError::Silent { source_label, reason: fault.to_string() });
                }
                Err(_panicked) => {
                    let reason = "reading it panicked".to_owned();
                    return Err(SourceError::Silent { source_label, reason });
                }
            };
            let answer = |wanted: &Wanted| {
                let of_name = state.values().filter(|draft| draft.name == wanted.name);
                let fits = |draft: &&Draft| {
                    let version = draft.stored_version();
                    wanted.version.as_ref().is_none_or(|asked| *asked == version)
                };
                of_name.filter(fits).cloned().collect()
            };
            Ok(wanted.iter().map(answer).collect())
        })
    }
}

/// Hidden files and those with another ending are not for us, or not yet.
fn is_delivery(entry: &DirEntry) -> bool {
    let name = entry.file_name();
    let name = name.to_string_lossy();
    !name.starts_with('.') && name.ends_with(".json")
}

fn read(path: &Path) -> Result<Delivery, DirectoryFault> {
    let file = daemon::trust::open_trusted(path)?;
    let mut text = Zeroizing::new(Vec::new());
    let limit = u64::try_from(DELIVERY_MAX_BYTES).unwrap_or(u64::MAX).saturating_add(1);
    let read = file.take(limit).read_to_end(&mut text);
    read.map_err(|error| DirectoryFault::Io { path: path.to_owned(), error })?;
    if text.len() > DELIVERY_MAX_BYTES {
        return Err(DirectoryFault::TooLong { path: path.to_owned() });
    }
    // serde's message could repeat a value, so only the place is kept.
    let malformed =
        |line, column| DirectoryFault::Malformed { path: path.to_owned(), line, column };
    let written: Written =
        serde_json::from_slice(&text).map_err(|error| malformed(error.line(), error.column()))?;
    let delivery = written.into_delivery().ok_or_else(|| malformed(0, 0))?;
    Ok(delivery)
}

/// A delivery as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    format: String,
    issued: Date,
    #[serde(default)]
    secrets: Vec<WrittenSecret>,
    #[serde(default)]
    delete: Vec<WrittenRemoval>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenSecret {
    name: SecretName,
    version: Option<SecretVersion>,
    value: Option<SecretBase64<SECRET_VALUE_MAX_BYTES>>,
    #[serde(default, deserialize_with = "wiped")]
    text: Option<Zeroizing<String>>,
    activation: Option<Date>,
    expiration: Option<Date>,
    content_type: Option<ContentType>,
    #[serde(default)]
    tags: Tags,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenRemoval {
    name: SecretName,
    version: Option<SecretVersion>,
}

fn wiped<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Zeroizing<String>>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.map(Zeroizing::new))
}

impl Written {
    /// `None` when it is of another format, or a secret is never active or has not one value.
    fn into_delivery(self) -> Option<Delivery> {
        if self.format != FORMAT {
            return None;
        }
        let secrets = self.secrets.into_iter().map(WrittenSecret::into_draft);
        let removals = self.delete.into_iter();
        let removals = removals.map(|WrittenRemoval { name, version }| Removal { name, version });
        Some(Delivery {
            issued: self.issued,
            secrets: secrets.collect::<Option<_>>()?,
            removals: removals.collect(),
        })
    }
}

impl WrittenSecret {
    fn into_draft(self) -> Option<Draft> {
        let bytes = match (self.value, self.text) {
            (Some(value), None) => value.into_bytes(),
            (None, Some(text)) => Zeroizing::new(text.as_bytes().to_vec()),
            (Some(_), Some(_)) | (None, None) => return None,
        };
        let draft = Draft {
            activation: self.activation.unwrap_or(Date::MIN),
            expiration: self.expiration.unwrap_or(Date::NEVER),
            content_type: self.content_type,
            tags: self.tags,
            ..Draft::new(self.name, self.version, Value::new(bytes).ok()?)
        };
        draft.is_sound().then_some(draft)
    }
}

#[cfg(test)]
mod tests;
