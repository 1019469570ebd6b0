//! Writes a file of edge-secrets.

use std::collections::BTreeMap;
use std::io;

use serde::Serialize;
use wire::secrets::Date;
use zeroize::Zeroizing;

use crate::secret::Secret;

/// Why secrets cannot be written as a file of edge-secrets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExportFault {
    /// A value is not text; edge-secrets has no others.
    #[error("the value of {name} version {version} is not text")]
    NotText {
        /// The name.
        name: String,
        /// The version.
        version: String,
    },
    /// The text could not be written.
    #[error("the file could not be written: {0}")]
    Json(String),
}

/// Writes secrets, in the order of names and versions, as edge-secrets 1 reads them. Content types,
/// tags and authors have no place there.
///
/// # Errors
/// `NotText`: the first value that is not UTF-8.
///
/// # Secrets
/// The text holds the values in the clear; it is wiped when dropped.
pub fn export(secrets: &[Secret]) -> Result<Zeroizing<Vec<u8>>, ExportFault> {
    let mut file: BTreeMap<&str, BTreeMap<&str, Entry<'_>>> = BTreeMap::new();
    for Secret { metadata, value } in secrets {
        let (name, version) = (metadata.name.as_str(), metadata.version.as_str());
        let not_text = || ExportFault::NotText { name: name.into(), version: version.into() };
        let value = str::from_utf8(value.as_bytes()).map_err(|_error| not_text())?;
        let entry = Entry {
            name,
            version,
            value,
            activation: written(metadata.activation),
            expiration: written(metadata.expiration),
        };
        file.entry(name).or_default().insert(version, entry);
    }
    // A buffer that grows would leave copies behind; this one begins at its final size.
    let mut length = Counted(0);
    serde_json::to_writer(&mut length, &file).map_err(|it| ExportFault::Json(it.to_string()))?;
    let mut text = Zeroizing::new(Vec::with_capacity(length.0));
    serde_json::to_writer(&mut *text, &file).map_err(|it| ExportFault::Json(it.to_string()))?;
    Ok(text)
}

#[derive(Serialize)]
struct Entry<'a> {
    #[serde(rename = "Name")]
    name: &'a str,
    #[serde(rename = "Version")]
    version: &'a str,
    #[serde(rename = "Value")]
    value: &'a str,
    #[serde(rename = "ActivationDate")]
    activation: String,
    #[serde(rename = "ExpirationDate")]
    expiration: String,
}

/// .NET writes tenths of microseconds, without the zeros at their end; the first and last dates
/// stand for none there, and have no zone.
fn written(date: Date) -> String {
    let text = date.to_string();
    let (seconds, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let digits = fraction.get(..NET_DIGITS).unwrap_or_default().trim_end_matches('0');
    let point = if digits.is_empty() { "" } else { "." };
    let zone = if date == Date::MIN || date == Date::NEVER { "" } else { "Z" };
    format!("{seconds}{point}{digits}{zone}")
}

/// Digits of the second's fraction that .NET knows.
const NET_DIGITS: usize = 7;

/// Counts what is written to it.
struct Counted(usize);

impl io::Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.saturating_add(bytes.len());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
