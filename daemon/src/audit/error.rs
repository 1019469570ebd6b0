//! Why the audit cannot be opened or written.

use std::io;
use std::path::{Path, PathBuf};

use wire::audit::Reason;
use wire::code::Fault;

use crate::trust::{TrustError, quoted};

/// Why something is not recorded; nothing is answered then.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The file or a directory above it is not trustworthy.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// Something that is no file has the name.
    #[error("the audit {} is not a regular file; remove it or name another path", quoted(.path))]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// Another process writes it.
    #[error("the audit {} is written by another process; stop that one, or name another path", quoted(.path))]
    InUse {
        /// The path.
        path: PathBuf,
    },
    /// The file does not end as an audit does.
    #[error("the last line of the audit {} {detail}; examine the file, then restore it or remove that line", quoted(.path))]
    Tail {
        /// The path.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// The file does not hold together near its end: it was changed, or the disk lost something.
    #[error("the audit {} is broken {}: {reason}; find out why, then restore registry and audit from one backup, docs/config.md \"Backup\"", quoted(.path), place(*.good))]
    Broken {
        /// The path.
        path: PathBuf,
        /// Sequence of the last good line; none where the first one that was checked is bad.
        good: Option<u64>,
        /// What is wrong with the line after it.
        reason: Reason,
    },
    /// The file ends before a line that is remembered elsewhere.
    #[error("the audit {} was cut off: it ends at sequence {last}, and there was a checkpoint at {mark}; find out why, then restore registry and audit from one backup, docs/config.md \"Backup\"", quoted(.path))]
    CutOff {
        /// The path.
        path: PathBuf,
        /// The sequence of the last line.
        last: u64,
        /// That of the checkpoint.
        mark: u64,
    },
    /// Another line stands in the place of one that is remembered elsewhere.
    #[error("the audit {} was written anew: sequence {mark} is not the checkpoint that was there; find out why, then restore registry and audit from one backup, docs/config.md \"Backup\"", quoted(.path))]
    Rewritten {
        /// The path.
        path: PathBuf,
        /// The sequence of the checkpoint.
        mark: u64,
    },
    /// The files that have a line that is remembered elsewhere are gone.
    #[error("older files of the audit {} are missing: it begins at sequence {first}, and there was a checkpoint at {mark}; put them back, or restore registry and audit from one backup, docs/config.md \"Backup\"", quoted(.path))]
    BeginsLater {
        /// The path.
        path: PathBuf,
        /// The sequence of the first line.
        first: u64,
        /// That of the checkpoint.
        mark: u64,
    },
    /// Another program removed the file that is being written.
    #[error("the audit {} was removed; see docs/audit.md section 5", quoted(.path))]
    Removed {
        /// The path.
        path: PathBuf,
    },
    /// The registry is older than the audit says.
    #[error("the registry has generation {found}, the audit {} has seen {last}; restore the newer registry", quoted(.path))]
    Generation {
        /// The path.
        path: PathBuf,
        /// The generation to start with.
        found: u64,
        /// The generation of the last line.
        last: u64,
    },
    /// The operating system refused a step; the file is as before, and the next try may succeed.
    #[error("the audit {} cannot be {verb}; check free space and the file's owner", quoted(.path))]
    Io {
        /// The path.
        path: PathBuf,
        /// What was tried, as a participle: `opened`, `written`.
        verb: &'static str,
        /// The answer of the operating system.
        source: io::Error,
    },
    /// A sync failed, now or before: nobody can say what is on the disk.
    #[error("the audit {} could not be synced to the disk ({reason}); repair the disk, then restart the daemon", quoted(.path))]
    Unsynced {
        /// The path.
        path: PathBuf,
        /// The answer of the operating system.
        reason: String,
    },
    /// The writer is closed: the daemon is stopping.
    #[error("the audit is closed, the daemon is stopping")]
    Closed,
    /// The record does not fit a line.
    #[error(transparent)]
    Record(#[from] Fault),
}

fn place(good: Option<u64>) -> String {
    good.map_or_else(
        || "at the first of its last lines".into(),
        |good| format!("after sequence {good}"),
    )
}

pub(super) fn tail_error(path: &Path, detail: &str) -> AuditError {
    AuditError::Tail { path: path.into(), detail: detail.into() }
}

pub(super) fn io_error(path: &Path, verb: &'static str) -> impl FnOnce(io::Error) -> AuditError {
    move |source| AuditError::Io { path: path.into(), verb, source }
}
