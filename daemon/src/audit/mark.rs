//! The check at start that the audit still has the line that is remembered elsewhere, and what
//! comes after it. It reads no more of the files than that needs.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::Path;

use wire::audit::{Kind, Mark, Reason, Verifier, line_hash, read_line};
use wire::limits::AUDIT_LINE_MAX_BYTES;

use super::error::{AuditError, io_error};
use super::older::OlderFile;

/// How far is gone back at once.
const STRIDE_BYTES: u64 = 1024 * 1024;

/// Looks for the line that is remembered, in the files from the newest back, and checks form and
/// chain from there to the end. Returns the last checkpoint after it, as its line.
///
/// # Errors
/// `CutOff`, `Rewritten`, `BeginsLater`; `Broken`, `Io`.
pub(super) fn check(
    path: &Path,
    newest: &OlderFile,
    older: &[OlderFile],
    mark: Mark,
) -> Result<Option<Vec<u8>>, AuditError> {
    let files: Vec<&OlderFile> = older.iter().chain([newest]).collect();
    let holder = files.iter().rposition(|file| file.first <= mark.sequence);
    let Some(holder) = holder else {
        let first = files.first().map_or(0, |file| file.first);
        return Err(AuditError::BeginsLater { path: path.into(), first, mark: mark.sequence });
    };
    let mut reading =
        Reading { mark, verifier: Verifier::continued(), last: None, found: false, after: None };
    for (at, file) in files.iter().enumerate().skip(holder) {
        let opened = File::open(&file.path).map_err(io_error(&file.path, "read"))?;
        let start = if at == holder { start_before(&opened, mark.sequence) } else { Ok(0) };
        let start = start.map_err(io_error(&file.path, "read"))?;
        reading.read(&file.path, opened, start)?;
    }
    match (reading.found, reading.last) {
        (true, _) => Ok(reading.after),
        (false, last) => {
            let last = last.unwrap_or(0);
            Err(AuditError::CutOff { path: path.into(), last, mark: mark.sequence })
        }
    }
}

struct Reading {
    mark: Mark,
    verifier: Verifier,
    last: Option<u64>,
    found: bool,
    after: Option<Vec<u8>>,
}

impl Reading {
    fn read(&mut self, path: &Path, mut file: File, start: u64) -> Result<(), AuditError> {
        file.seek(SeekFrom::Start(start)).map_err(io_error(path, "read"))?;
        let mut lines = BufReader::new(file);
        let mut line = Vec::new();
        loop {
            line.clear();
            let limit = u64::try_from(AUDIT_LINE_MAX_BYTES + 1).unwrap_or(u64::MAX);
            let read = (&mut lines).take(limit).read_until(b'\n', &mut line);
            if read.map_err(io_error(path, "read"))? == 0 {
                return Ok(());
            }
            let broken = |reason| AuditError::Broken { path: path.into(), good: self.last, reason };
            let Some(text) = line.strip_suffix(b"\n") else {
                return Err(broken(Reason::NotARecord));
            };
            let entry = self.verifier.feed(text).map_err(|fault| broken(fault.reason))?;
            self.last = Some(entry.seq);
            if entry.seq == self.mark.sequence {
                if line_hash(text) != self.mark.hash {
                    let mark = self.mark.sequence;
                    return Err(AuditError::Rewritten { path: path.into(), mark });
                }
                self.found = true;
            } else if self.found && entry.kind == Kind::Checkpoint {
                self.after = Some(text.to_vec());
            }
        }
    }
}

/// Where a line begins that is not after this sequence, near the end of the file.
fn start_before(file: &File, sequence: u64) -> io::Result<u64> {
    let mut at = file.metadata()?.len();
    let mut block = vec![0; 2 * (AUDIT_LINE_MAX_BYTES + 1)];
    loop {
        at = at.saturating_sub(STRIDE_BYTES);
        if at == 0 {
            return Ok(0);
        }
        let read = file.read_at(&mut block, at)?;
        let mut lines = block.get(..read).unwrap_or_default().splitn(3, |byte| *byte == b'\n');
        let (Some(rest), Some(line)) = (lines.next(), lines.next()) else { continue };
        // One that cannot be read is found on the way forward, from further back.
        if read_line(line).is_ok_and(|entry| entry.seq <= sequence) {
            let skipped = u64::try_from(rest.len() + 1).unwrap_or(u64::MAX);
            return Ok(at.saturating_add(skipped));
        }
    }
}
