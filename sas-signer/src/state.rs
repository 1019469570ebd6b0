//! Which slot of each key signs, on disk. No secret; but who could change it could have the signer
//! go back to a key that was given up.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::slots::Slots;

const FILE: &str = "slots.json";

/// Longest file that is read, in bytes: some 20,000 keys.
const FILE_MAX_BYTES: usize = 4 * 1024 * 1024;

/// What the file says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Saved {
    /// How often a key was changed.
    pub(crate) generation: u64,
    /// The slots.
    pub(crate) slots: Slots,
}

/// The file is not to be used; the message ends in what to do.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// It cannot be read or written.
    #[error("{} cannot be {verb}; check the directory's owner and free space", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried, as a participle.
        verb: &'static str,
        /// The answer of the operating system.
        source: io::Error,
    },
    /// It is not what the signer writes.
    #[error("{} is damaged; restore it and the audit from one backup", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// It is older than the audit, or gone.
    #[error(
        "{} is of generation {saved}, the audit has seen {audit}: an older file was put in its \
         place; restore it and the audit from one backup",
        .path.display()
    )]
    Older {
        /// The file.
        path: PathBuf,
        /// Its generation.
        saved: u64,
        /// The audit's.
        audit: u64,
    },
}

/// The file in a directory that is the daemon's alone.
#[derive(Debug)]
pub(crate) struct StateFile {
    directory: PathBuf,
    path: PathBuf,
}

impl StateFile {
    pub(crate) fn new(directory: &Path) -> Self {
        Self { directory: directory.to_owned(), path: directory.join(FILE) }
    }

    /// Reads the file; an absent one is that of a signer that never changed a key. `audit` is the
    /// last generation of the audit.
    pub(crate) fn read(&self, audit: Option<u64>) -> Result<Saved, StateError> {
        let saved: Saved = match fs::read(&self.path) {
            Ok(bytes) if bytes.len() > FILE_MAX_BYTES => return Err(self.damaged()),
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|_error| self.damaged())?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Saved::default(),
            Err(source) => return Err(self.io("read")(source)),
        };
        match audit {
            Some(audit) if audit > saved.generation => {
                let (path, saved) = (self.path.clone(), saved.generation);
                Err(StateError::Older { path, saved, audit })
            }
            Some(_) | None => Ok(saved),
        }
    }

    /// Replaces the file, whole or not at all; it is on the disk when this returns.
    pub(crate) fn write(&self, saved: &Saved) -> Result<(), StateError> {
        let bytes = serde_json::to_vec(saved).map_err(|error| self.io("written")(error.into()))?;
        self.replace(&bytes).map_err(self.io("written"))
    }

    fn replace(&self, bytes: &[u8]) -> io::Result<()> {
        let mut file = tempfile::Builder::new().prefix(".slots-").tempfile_in(&self.directory)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(&self.path).map_err(|error| error.error)?;
        File::open(&self.directory)?.sync_all()
    }

    fn damaged(&self) -> StateError {
        StateError::Damaged { path: self.path.clone() }
    }

    fn io(&self, verb: &'static str) -> impl Fn(io::Error) -> StateError {
        let path = self.path.clone();
        move |source| StateError::Io { path: path.clone(), verb, source }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use wire::sas::Slot;

    use super::*;

    fn directory() -> (tempfile::TempDir, StateFile) {
        let directory = tempfile::tempdir().unwrap();
        let file = StateFile::new(directory.path());
        (directory, file)
    }

    #[test]
    fn slots_are_read_as_they_were_written() {
        let (_directory, file) = directory();
        assert_eq!(file.read(None).unwrap(), Saved::default());
        let slots = Slots::default().with(&"a/b".parse().unwrap(), Slot::Secondary);
        let saved = Saved { generation: 3, slots };
        file.write(&saved).unwrap();
        assert_eq!(file.read(Some(3)).unwrap(), saved);
        let mode = fs::metadata(&file.path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn file_that_is_older_than_the_audit_or_gone_is_refused() {
        let (_directory, file) = directory();
        file.write(&Saved { generation: 3, ..Saved::default() }).unwrap();
        assert!(matches!(file.read(Some(4)), Err(StateError::Older { saved: 3, audit: 4, .. })));
        fs::remove_file(&file.path).unwrap();
        assert!(matches!(file.read(Some(1)), Err(StateError::Older { saved: 0, audit: 1, .. })));
        assert!(file.read(Some(0)).is_ok());
    }

    #[test]
    fn file_that_is_damaged_is_refused() {
        let (_directory, file) = directory();
        for text in ["", "{", "{\"generation\":1}", "{\"generation\":1,\"slots\":{},\"x\":1}"] {
            fs::write(&file.path, text).unwrap();
            assert!(matches!(file.read(None), Err(StateError::Damaged { .. })), "{text}");
        }
    }

    #[test]
    fn write_that_fails_leaves_the_file_as_it_was() {
        let (directory, file) = directory();
        file.write(&Saved { generation: 1, ..Saved::default() }).unwrap();
        let elsewhere =
            StateFile { directory: directory.path().join("x"), path: file.path.clone() };
        assert!(elsewhere.write(&Saved { generation: 2, ..Saved::default() }).is_err());
        assert_eq!(file.read(None).unwrap().generation, 1);
    }
}
