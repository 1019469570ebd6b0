//! The settings and secrets that `open` receives, and the one strict way to read them.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use crate::error::{ProviderError, Result};
use crate::secret::SecretBytes;

/// Settings of one instance: flat text keys and values, as the operator wrote them.
///
/// A provider takes what it knows and calls [`finish`](Self::finish), which fails with every fault
/// at once, so that an operator mends a configuration in one round.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    entries: BTreeMap<String, String>,
    faults: Vec<String>,
}

impl Settings {
    /// Takes the entries; a later one of the same key replaces an earlier one.
    pub fn new<K: Into<String>, V: Into<String>>(
        entries: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        let entries = entries.into_iter().map(|(key, value)| (key.into(), value.into())).collect();
        Self { entries, faults: Vec::new() }
    }

    /// All entries that were not taken yet.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.entries.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// Takes a text setting.
    pub fn take(&mut self, key: &str) -> Option<String> {
        self.entries.remove(key)
    }

    /// Takes a setting that must be there; notes a fault and returns the empty text otherwise.
    pub fn take_required(&mut self, key: &str) -> String {
        self.take(key).unwrap_or_else(|| {
            self.fault(format!("{key} is missing"));
            String::new()
        })
    }

    /// Takes a setting of another type; notes a fault and returns `None` when it does not parse.
    /// `expected` completes the sentence "must be".
    pub fn take_parsed<T: FromStr>(&mut self, key: &str, expected: &str) -> Option<T> {
        let text = self.take(key)?;
        let parsed = text.parse().ok();
        if parsed.is_none() {
            self.fault(format!("{key} must be {expected}"));
        }
        parsed
    }

    /// Notes a fault that [`finish`](Self::finish) will report.
    pub fn fault(&mut self, fault: impl Into<String>) {
        self.faults.push(fault.into());
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// `InvalidParameter` with all faults: those noted, and every key that nobody took.
    pub fn finish(mut self) -> Result<()> {
        let unknown =
            self.entries.keys().map(|key| format!("{key} is not a setting of this provider"));
        self.faults.extend(unknown);
        if self.faults.is_empty() {
            return Ok(());
        }
        Err(ProviderError::invalid(self.faults.join("; ")))
    }
}

/// Secrets of one instance, by name (`pin`, `root`), resolved by the host.
#[derive(Default)]
pub struct Secrets(BTreeMap<String, SecretBytes>);

impl Secrets {
    /// Takes the entries.
    pub fn new<K: Into<String>>(entries: impl IntoIterator<Item = (K, SecretBytes)>) -> Self {
        Self(entries.into_iter().map(|(key, value)| (key.into(), value)).collect())
    }

    /// Takes one secret.
    pub fn take(&mut self, name: &str) -> Option<SecretBytes> {
        self.0.remove(name)
    }

    /// All entries, for handing them on.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &SecretBytes)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// Fails when a secret was given that nobody took.
    ///
    /// # Errors
    /// `InvalidParameter`, naming them.
    pub fn finish(self) -> Result<()> {
        match self.0.keys().next() {
            None => Ok(()),
            Some(name) => {
                Err(ProviderError::invalid(format!("{name} is not a secret of this provider")))
            }
        }
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.0.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finish_reports_every_fault_at_once() {
        let mut settings = Settings::new([("sesions", "4"), ("slots", "x")]);
        let _: Option<u32> = settings.take_parsed("slots", "a number from 1 to 64");
        let _ = settings.take_required("module");
        let error = settings.finish().unwrap_err();
        assert_eq!(
            error.detail,
            "slots must be a number from 1 to 64; module is missing; \
             sesions is not a setting of this provider"
        );
    }

    #[test]
    fn finish_without_faults_passes() {
        let mut settings = Settings::new([("tcti", "device:/dev/tpmrm0")]);
        assert_eq!(settings.take("tcti").as_deref(), Some("device:/dev/tpmrm0"));
        settings.finish().unwrap();
    }

    #[test]
    fn secret_that_nobody_took_is_named() {
        let secrets = Secrets::new([("pin", SecretBytes::copy_of(b"1234"))]);
        assert!(secrets.finish().unwrap_err().detail.starts_with("pin "));
    }
}
