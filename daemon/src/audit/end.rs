//! The check of an audit's end when it is opened: enough to notice an edit or a disk that lost
//! something where it matters most, and short enough for every start.

use std::path::Path;

use wire::audit::Verifier;

use super::error::{AuditError, io_error};
use super::file::{FIRST_LINE, LineFile};

/// Most lines that are checked, and most bytes; the fewer of the two.
pub(super) const CHECKED_LINES: usize = 1000;
pub(super) const CHECKED_BYTES: usize = 1024 * 1024;

/// Checks the last lines of a file, up to the line break before `end`, and how they are chained.
///
/// # Errors
/// `Broken`, naming the last line that is good; `Io`.
pub(super) fn check(path: &Path, file: &LineFile, end: u64) -> Result<(), AuditError> {
    let bytes = usize::try_from(end).unwrap_or(usize::MAX).min(CHECKED_BYTES);
    let start = end.saturating_sub(u64::try_from(bytes).unwrap_or(u64::MAX));
    let block = file.read(start, bytes).map_err(io_error(path, "read"))?;
    let mut lines: Vec<&[u8]> = block.split_inclusive(|byte| *byte == b'\n').collect();
    // Where the block does not begin with the file, it begins somewhere in a line.
    let mut skipped = usize::from(start > 0);
    skipped = skipped.max(lines.len().saturating_sub(CHECKED_LINES));
    let checked = lines.split_off(skipped.min(lines.len()));
    let whole = skipped == 0 && block.starts_with(FIRST_LINE);
    let mut verifier = if whole { Verifier::from_start() } else { Verifier::continued() };
    let mut good = None;
    for line in checked {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        match verifier.feed(line) {
            Ok(entry) => good = Some(entry.seq),
            Err(fault) => {
                let (path, reason) = (path.to_owned(), fault.reason);
                return Err(AuditError::Broken { path, good, reason });
            }
        }
    }
    Ok(())
}
