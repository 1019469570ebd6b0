//! The whole file: from its path to what a daemon makes of it.

use std::io::Read as _;
use std::path::Path;

use super::FILE_MAX_BYTES;
use super::fault::{ConfigError, ConfigFault};
use super::section::{Read, Section};

/// Opens, reads and checks a file; `whole` reads it from its top.
///
/// # Limits
/// A file of [`FILE_MAX_BYTES`]; one byte more is [`ConfigError::TooLarge`].
///
/// # Errors
/// [`ConfigError`]; every fault of the content at once.
pub fn load<T>(path: &Path, whole: impl FnOnce(Section<'_>) -> Read<T>) -> Result<T, ConfigError> {
    let unreadable = |source| ConfigError::Unreadable { file: path.into(), source };
    let file = crate::trust::open_trusted(path)?;
    let mut bytes = Vec::new();
    file.take(FILE_MAX_BYTES.saturating_add(1)).read_to_end(&mut bytes).map_err(unreadable)?;
    if u64::try_from(bytes.len()).map_or(true, |length| length > FILE_MAX_BYTES) {
        return Err(ConfigError::TooLarge { file: path.into() });
    }
    check(path, &bytes, whole)
}

/// Checks the content of a file; `path` is for messages only.
///
/// # Errors
/// As [`load`], but for those of opening it.
pub fn check<T>(
    path: &Path,
    bytes: &[u8],
    whole: impl FnOnce(Section<'_>) -> Read<T>,
) -> Result<T, ConfigError> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let valid = bytes.get(..error.valid_up_to()).unwrap_or_default();
        ConfigError::NotText { file: path.into(), line: line_number(valid) }
    })?;
    let table = toml::from_str(text).map_err(|error: toml::de::Error| {
        let start = error.span().map_or(0, |span| span.start);
        let before = text.get(..start).unwrap_or(text);
        let column = before.rsplit('\n').next().map_or(0, |line| line.chars().count());
        ConfigError::Syntax {
            file: path.into(),
            line: line_number(before.as_bytes()),
            column: column.saturating_add(1),
            // Without the line itself: it may hold what should not be in a log.
            message: error.message().to_owned(),
        }
    })?;
    let mut faults: Vec<ConfigFault> = Vec::new();
    match whole(Section::root(table, &mut faults)) {
        Ok(config) if faults.is_empty() => Ok(config),
        Ok(_) | Err(_) => Err(ConfigError::Faults { file: path.into(), faults }),
    }
}

/// The line that comes after `before`, from 1.
fn line_number(before: &[u8]) -> usize {
    before.iter().filter(|byte| **byte == b'\n').count().saturating_add(1)
}
