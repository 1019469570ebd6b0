//! What the section `[audit]` says.

use std::path::PathBuf;

/// How long a file gets by default, in bytes.
pub const ROTATE_BYTES: u64 = 64 * 1024 * 1024;

/// The shortest that can be configured, in bytes.
pub const ROTATE_BYTES_MIN: u64 = 16 * 1024;

/// Where an audit is, and when it goes on in a new file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The path of the newest file.
    pub path: PathBuf,
    /// The length in bytes from which on a file is rotated; 0 for never.
    pub rotate_bytes: u64,
    /// How many older files stay; all when none.
    pub keep: Option<usize>,
}

impl Settings {
    /// The defaults, for an audit at this path.
    #[must_use]
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), rotate_bytes: ROTATE_BYTES, keep: None }
    }

    /// Whether a file of this length is rotated.
    pub(super) const fn is_full(&self, bytes: u64) -> bool {
        self.rotate_bytes > 0 && bytes >= self.rotate_bytes
    }
}
