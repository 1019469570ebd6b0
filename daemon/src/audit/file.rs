//! The audit file as bytes: whole lines at its end, or nothing.

use std::fs::{File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use wire::audit::line_start;
use wire::limits::AUDIT_LINE_MAX_BYTES;

use super::error::{AuditError, io_error};
use crate::trust::{check_parent, check_trusted, sync_parent};

/// How much is read at once on the way back from the end.
const BLOCK_BYTES: usize = 64 * 1024;

/// A file that only grows by whole lines.
///
/// The length is that of the whole lines: when a write fails half-way, the rest is cut off at
/// once, or, where even that fails, before the next write.
pub(super) struct LineFile {
    file: Arc<File>,
    length: u64,
    has_rest: bool,
}

/// The end of an audit file as it was found.
pub(super) struct Tail {
    /// The last whole line without its line break: none in a file without lines, and no text
    /// where it is longer than a line may be.
    pub(super) last_line: Option<Option<Vec<u8>>>,
    /// The bytes after it, left by a crash.
    pub(super) torn_bytes: u64,
}

/// Opens or creates the file and takes its lock; returns its path without symbolic links.
pub(super) fn open(path: &Path) -> Result<(LineFile, PathBuf), AuditError> {
    let path = check_parent(path)?;
    let (file, new) = open_or_create(&path).map_err(io_error(&path, "opened"))?;
    let meta = file.metadata().map_err(io_error(&path, "examined"))?;
    if !meta.is_file() {
        return Err(AuditError::NotAFile { path });
    }
    if !new {
        check_trusted(&path)?;
    }
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => return Err(AuditError::InUse { path }),
        Err(error) => return Err(io_error(&path, "locked")(error.into())),
    }
    // Only now: until the lock was ours, another writer may have added lines.
    let length = file.metadata().map_err(io_error(&path, "examined"))?.len();
    Ok((LineFile::new(file, length), path))
}

/// Opens or creates a file without content, as the next one of the audit at this path.
pub(super) fn open_empty(path: &Path) -> Result<LineFile, AuditError> {
    let (lines, _same) = open(path)?;
    if lines.length() > 0 {
        let other = io::Error::new(io::ErrorKind::AlreadyExists, "another file has its name");
        return Err(io_error(path, "begun anew")(other));
    }
    Ok(lines)
}

/// Returns the file and whether it is new.
fn open_or_create(path: &Path) -> io::Result<(File, bool)> {
    let flags = OFlags::RDWR | OFlags::APPEND | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NOCTTY;
    let owner_only = Mode::RUSR | Mode::WUSR;
    match rustix::fs::open(path, flags | OFlags::CREATE | OFlags::EXCL, owner_only) {
        Ok(new) => {
            let file = File::from(new);
            file.set_permissions(Permissions::from_mode(0o600))?;
            file.sync_all()?;
            sync_parent(path)?;
            Ok((file, true))
        }
        Err(Errno::EXIST) => {
            // A FIFO of that name must not keep the daemon waiting for its other end.
            let old = rustix::fs::open(path, flags | OFlags::NONBLOCK, Mode::empty())?;
            Ok((File::from(old), false))
        }
        Err(error) => Err(error.into()),
    }
}

impl LineFile {
    pub(super) fn new(file: File, length: u64) -> Self {
        Self { file: Arc::new(file), length, has_rest: false }
    }

    /// Returns how many bytes it has.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Returns the file for syncing, which needs no other part of this.
    pub(super) fn handle(&self) -> Arc<File> {
        Arc::clone(&self.file)
    }

    /// Finds the last whole line, from the end backwards.
    pub(super) fn tail(&self) -> io::Result<Tail> {
        let mut end = self.length;
        loop {
            let Some(line_break) = self.last_break(end)? else {
                return Ok(Tail { last_line: None, torn_bytes: self.length });
            };
            let start = self.last_break(line_break)?.map_or(0, |before| before + 1);
            let bytes = usize::try_from(line_break - start).unwrap_or(usize::MAX);
            if bytes <= AUDIT_LINE_MAX_BYTES {
                let line = self.read(start, bytes)?;
                if !line.contains(&0) {
                    let torn_bytes = self.length - line_break - 1;
                    return Ok(Tail { last_line: Some(Some(line)), torn_bytes });
                }
            } else if !self.read(start, BLOCK_BYTES.min(bytes))?.contains(&0) {
                return Ok(Tail { last_line: Some(None), torn_bytes: 0 });
            }
            // No record has a zero byte: a power cut left the size without the content.
            end = start;
        }
    }

    /// Tells whether a file without a whole line is one that a crash left when it was new, and the
    /// line of this sequence was to be its first.
    ///
    /// Anything else of that name must not be cut off: the path may be a mistake.
    pub(super) fn is_unfinished_first(&self, sequence: u64) -> io::Result<bool> {
        let first_line = line_start(sequence);
        let bytes = usize::try_from(self.length).unwrap_or(usize::MAX);
        if bytes > AUDIT_LINE_MAX_BYTES {
            return Ok(false);
        }
        let found = self.read(0, bytes)?;
        let compared = found.len().min(first_line.len());
        Ok(found.iter().all(|byte| *byte == 0)
            || found.get(..compared) == first_line.get(..compared))
    }

    /// Reads the first line, without its line break, of a file that has one.
    pub(super) fn first_line(&self) -> io::Result<Vec<u8>> {
        let whole = usize::try_from(self.length).unwrap_or(usize::MAX);
        let mut line = self.read(0, whole.min(AUDIT_LINE_MAX_BYTES + 1))?;
        let length = line.iter().position(|byte| *byte == b'\n').unwrap_or(line.len());
        line.truncate(length);
        Ok(line)
    }

    /// Finds the last line break before `end`.
    fn last_break(&self, mut end: u64) -> io::Result<Option<u64>> {
        while end > 0 {
            let bytes = BLOCK_BYTES.min(usize::try_from(end).unwrap_or(BLOCK_BYTES));
            let start = end.saturating_sub(u64::try_from(bytes).map_err(io::Error::other)?);
            let block = self.read(start, bytes)?;
            if let Some(at) = block.iter().rposition(|byte| *byte == b'\n') {
                return Ok(Some(start + u64::try_from(at).map_err(io::Error::other)?));
            }
            end = start;
        }
        Ok(None)
    }

    /// Reads so many bytes from there.
    pub(super) fn read(&self, start: u64, bytes: usize) -> io::Result<Vec<u8>> {
        let mut block = vec![0; bytes];
        self.file.read_exact_at(&mut block, start)?;
        Ok(block)
    }

    /// Cuts off so many bytes at the end, for good.
    pub(super) fn cut(&mut self, bytes: u64) -> io::Result<()> {
        if bytes > 0 {
            let length = self.length.saturating_sub(bytes);
            self.file.set_len(length)?;
            self.file.sync_all()?;
            self.length = length;
        }
        Ok(())
    }

    /// Adds one line, line break included, by one write(2); after failure the file is as before.
    pub(super) fn append(&mut self, line: &[u8]) -> io::Result<()> {
        self.cut_rest()?;
        let wanted = u64::try_from(line.len()).map_err(io::Error::other)?;
        let written = loop {
            match (&*self.file).write(line) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                outcome => break outcome,
            }
        };
        if written.as_ref().is_ok_and(|count| *count == line.len()) {
            self.length += wanted;
            return Ok(());
        }
        self.has_rest = true;
        if let Err(error) = self.cut_rest() {
            tracing::warn!(%error, "part of an audit line stays until the next try");
        }
        Err(written.err().unwrap_or_else(|| io::ErrorKind::StorageFull.into()))
    }

    fn cut_rest(&mut self) -> io::Result<()> {
        if self.has_rest {
            self.file.set_len(self.length)?;
            self.has_rest = false;
        }
        Ok(())
    }
}
