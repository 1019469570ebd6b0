//! Memory and descriptors.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::{Deserialize, Serialize};

use super::SandboxError;

/// The most that a process may have; `None` leaves a limit as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Memory of its own, bytes: heap, stacks of threads, written data of libraries. What it maps
    /// of files and only reads does not count.
    pub memory_bytes: Option<u64>,
    /// Open descriptors.
    pub files: Option<u64>,
}

impl Limits {
    /// Sets them, no higher than they are, and reads them back.
    ///
    /// # Errors
    /// [`SandboxError`]: the kernel refuses one.
    ///
    /// # Spec
    /// setrlimit(2), `RLIMIT_DATA`, `RLIMIT_NOFILE`, `RLIMIT_NPROC`.
    pub fn set(self) -> Result<Self, SandboxError> {
        if let Some(bytes) = self.memory_bytes {
            lower(Resource::Data, bytes)?;
        }
        if let Some(files) = self.files {
            lower(Resource::Nofile, files)?;
        }
        // It counts the threads of the whole user, the host's too, so that a number of our own
        // would be wrong; but it is not to be raised.
        if let Some(current) = getrlimit(Resource::Nproc).current {
            lower(Resource::Nproc, current)?;
        }
        Ok(Self {
            memory_bytes: getrlimit(Resource::Data).maximum,
            files: getrlimit(Resource::Nofile).maximum,
        })
    }
}

fn lower(resource: Resource, to: u64) -> Result<(), SandboxError> {
    let before = getrlimit(resource);
    let to = before.maximum.map_or(to, |maximum| maximum.min(to));
    setrlimit(resource, Rlimit { current: Some(to), maximum: Some(to) })
        .map_err(|error| SandboxError::new("a limit", error))
}
