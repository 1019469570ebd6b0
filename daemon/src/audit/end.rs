//! The check of an audit's end when it is opened: enough to notice an edit or a disk that lost
//! something where it matters most, and short enough for every start.

use std::fs::File;
use std::path::Path;

use wire::audit::{Chain, Verifier, read_line};

use super::error::{AuditError, io_error, tail_error};
use super::file::LineFile;
use crate::trust::check_trusted;

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
    let mut verifier = Verifier::continued();
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

/// The end of an older file, which has whole lines only, and its generation.
///
/// # Errors
/// `Trust`, `Io`; `Tail`: its last line is no record.
pub(super) fn of_older(path: &Path) -> Result<(Chain, Option<u64>), AuditError> {
    let file = File::open(check_trusted(path)?).map_err(io_error(path, "read"))?;
    let length = file.metadata().map_err(io_error(path, "examined"))?.len();
    let tail = LineFile::new(file, length).tail().map_err(io_error(path, "read"))?;
    let line = tail.last_line.flatten().filter(|_| tail.torn_bytes == 0);
    let line = line.ok_or_else(|| tail_error(path, "is not complete"))?;
    let (chain, entry) =
        Chain::after(&line).map_err(|reason| tail_error(path, &reason.to_string()))?;
    Ok((chain, Some(entry.generation)))
}

/// The sequence of the first line of a file that has one.
///
/// # Errors
/// `Broken`: it is no record; `Io`.
pub(super) fn first_sequence(path: &Path, file: &LineFile) -> Result<u64, AuditError> {
    let line = file.first_line().map_err(io_error(path, "read"))?;
    let broken = |reason| AuditError::Broken { path: path.to_owned(), good: None, reason };
    Ok(read_line(&line).map_err(broken)?.seq)
}
