//! Whether a plugin file may be loaded: who owns it, who may write it, what its digest is. It is
//! checked in the process that loads it.

use std::fs;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest;

/// Why a plugin was not loaded. Each message ends with what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PluginFileError {
    /// There is no such file, or it cannot be read.
    #[error("plugin {path} cannot be read: {reason}; check [plugins] dir and the name in `plugin`")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// Somebody else could change it.
    #[error("plugin {path} is not to be trusted: {reason}")]
    Untrusted {
        /// The file.
        path: PathBuf,
        /// Which component, why, and the command that mends it.
        reason: String,
    },
    /// Its digest is not the pinned one.
    #[error("plugin {path} has SHA-256 {found}, not the pinned one; correct `sha256` or the file")]
    Digest {
        /// The file.
        path: PathBuf,
        /// The digest it has.
        found: String,
    },
    /// It is no library, or not one that this system can load.
    #[error("plugin {path} cannot be loaded: {reason}; install a plugin built for this system")]
    Unloadable {
        /// The file.
        path: PathBuf,
        /// What the loader says.
        reason: String,
    },
    /// It is a library, and no plugin that this host can use.
    #[error(
        "plugin {path} is refused: {reason}; install a plugin built for this version of sealhost"
    )]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What is wrong with its table.
        reason: String,
    },
}

/// Checks a plugin file before it is loaded.
pub(super) fn check_file(path: &Path, sha256: Option<[u8; 32]>) -> Result<(), PluginFileError> {
    let unreadable = |error: std::io::Error| PluginFileError::Unreadable {
        path: path.to_owned(),
        reason: error.to_string(),
    };
    fs::metadata(path).map_err(unreadable)?;
    daemon::trust::check_trusted(path).map_err(|error| PluginFileError::Untrusted {
        path: path.to_owned(),
        reason: error.to_string(),
    })?;
    let Some(pinned) = sha256 else { return Ok(()) };
    let found = digest::digest(&digest::SHA256, &fs::read(path).map_err(unreadable)?);
    if found.as_ref() == pinned {
        return Ok(());
    }
    let found = found.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    Err(PluginFileError::Digest { path: path.to_owned(), found })
}
