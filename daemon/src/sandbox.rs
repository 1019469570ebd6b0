//! What a process gives up for good: files, sockets, system calls, memory, descriptors.
//!
//! A sandbox is stated as what is left, and entered once, by a process of one thread: threads and
//! programs that it starts later are in it too. It needs no privileges. What the kernel cannot do
//! is left out, and [`Reached`] says so; whether that will do is the caller's decision.

mod limits;
mod paths;
mod syscalls;

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use limits::Limits;
pub use paths::{BASE_READ, Paths};

/// What is left to a process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sandbox {
    /// The files that it may use; `None` leaves all of them.
    pub paths: Option<Paths>,
    /// The networks that it may reach.
    pub network: Network,
    /// The Unix sockets that it may reach.
    pub unix: Unix,
    /// Whether it may start programs, and signal processes that are not itself.
    pub programs: bool,
    /// Whether it keeps its capabilities and may change owner and mode of files by path.
    pub administers: bool,
    /// How much memory and how many descriptors.
    pub limits: Limits,
}

/// The networks that a process may reach.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Network {
    /// None: it can make no internet socket.
    #[default]
    None,
    /// TCP connections to these ports.
    Tcp(Vec<u16>),
    /// TCP connections to these ports, and datagrams, by which names are resolved.
    Named(Vec<u16>),
    /// Any.
    Any,
}

/// The Unix sockets that a process may reach.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unix {
    /// None: it can make no Unix socket but a pair of its own.
    #[default]
    None,
    /// Those at these paths. Before Landlock 9 that is any, and the level says so.
    At(Vec<PathBuf>),
    /// Any, abstract ones too.
    Any,
}

/// How strictly a sandbox is wanted, as an operator says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Demand {
    /// `"full"`: as far as the kernel can.
    #[default]
    Full,
    /// `"required"`: wholly, or the process does not go on.
    Required,
    /// `"off"`: not at all.
    Off,
}

/// How far a restriction is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Level {
    /// Not at all.
    None,
    /// In part: the kernel is too old for the rest.
    Partial,
    /// Wholly.
    Full,
}

/// What was reached, as read back from the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reached {
    /// Files outside the stated ones cannot be opened.
    pub filesystem: Level,
    /// Networks and sockets outside the stated ones cannot be reached.
    pub network: Level,
    /// System calls outside the usual ones of a service are refused.
    pub syscalls: Level,
    /// Most memory, bytes; `None` where it is not limited.
    pub memory_bytes: Option<u64>,
    /// Most open descriptors.
    pub files: Option<u64>,
}

/// The kernel refused what it is known to be able to do.
#[derive(Debug, thiserror::Error)]
#[error("the sandbox cannot be entered: {what}: {source}")]
pub struct SandboxError {
    what: &'static str,
    source: Box<dyn std::error::Error + Send + Sync>,
}

impl SandboxError {
    fn new(
        what: &'static str,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self { what, source: source.into() }
    }
}

impl Sandbox {
    /// Enters it; there is no way back.
    ///
    /// Called while this thread is the only one, else the others stay outside. After a failure the
    /// process may be in a part of it.
    ///
    /// # Errors
    /// [`SandboxError`]; a kernel that is too old, or that has Landlock switched off, is none.
    ///
    /// # Spec
    /// prctl(2), `PR_SET_NO_NEW_PRIVS`; setrlimit(2); capabilities(7); landlock(7); seccomp(2).
    pub fn enter(&self) -> Result<Reached, SandboxError> {
        rustix::thread::set_no_new_privs(true)
            .map_err(|error| SandboxError::new("no_new_privs", error))?;
        if !self.administers {
            drop_capabilities()?;
        }
        let limits = self.limits.set()?;
        let (filesystem, connections) = paths::restrict(self)?;
        // Last, because it leaves no calls for the others.
        let syscalls = syscalls::restrict(self)?;
        let network = match (&self.network, &self.unix) {
            (Network::Any, _) => Level::None,
            (Network::None, Unix::None) => syscalls,
            (Network::None | Network::Tcp(_) | Network::Named(_), _) => connections.min(syscalls),
        };
        Ok(Reached {
            filesystem,
            network,
            syscalls,
            memory_bytes: limits.memory_bytes,
            files: limits.files,
        })
    }

    /// What of it is not in force, for the operator; nothing where all of it is.
    #[must_use]
    pub fn missing(&self, reached: &Reached) -> Vec<&'static str> {
        let wants_network = self.network != Network::Any;
        let steps = [
            (self.paths.is_some(), reached.filesystem, "filesystem"),
            (wants_network, reached.network, "network"),
            (true, reached.syscalls, "syscalls"),
        ];
        let missing =
            steps.into_iter().filter(|(wanted, level, _)| *wanted && *level < Level::Full);
        missing.map(|(_, _, name)| name).collect()
    }
}

impl Reached {
    /// Of a process that is not confined.
    pub const NOTHING: Self = Self {
        filesystem: Level::None,
        network: Level::None,
        syscalls: Level::None,
        memory_bytes: None,
        files: None,
    };
}

impl Level {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Partial => "partial",
            Self::Full => "full",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl fmt::Display for Reached {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { filesystem, network, syscalls, .. } = self;
        write!(formatter, "filesystem {filesystem}, network {network}, syscalls {syscalls}")
    }
}

impl Paths {
    /// What a daemon uses: it reads what every program does, its configuration, by whose file it
    /// may find another one, and of `/proc` who its peers are; it writes in its state directory
    /// and where its audit and its sockets are.
    #[must_use]
    pub fn of_daemon(config: &Path, state_dir: &Path, audit: &Path, sockets: &[&Path]) -> Self {
        let mut paths = Self::base();
        let directory = |path: &Path| path.parent().unwrap_or(path).to_owned();
        paths.read.extend([directory(config), "/proc".into()]);
        paths.write.extend([state_dir.to_owned(), directory(audit)]);
        paths.write.extend(sockets.iter().map(|socket| directory(socket)));
        paths
    }

    /// What nearly every program reads: libraries, and the system's settings without secrets.
    #[must_use]
    pub fn base() -> Self {
        Self { read: BASE_READ.iter().map(PathBuf::from).collect(), ..Self::default() }
    }
}

/// Gives up what a process of root could do beyond its files.
fn drop_capabilities() -> Result<(), SandboxError> {
    use rustix::thread::{CapabilitySet, CapabilitySets};
    let none = CapabilitySet::empty();
    let sets = CapabilitySets { effective: none, permitted: none, inheritable: none };
    // Who has none may have been refused the call as well.
    if rustix::thread::capabilities(None).is_ok_and(|found| found == sets) {
        return Ok(());
    }
    rustix::thread::set_capabilities(None, sets)
        .map_err(|error| SandboxError::new("capabilities", error))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Reached = Reached {
        filesystem: Level::Full,
        network: Level::Full,
        syscalls: Level::Full,
        memory_bytes: None,
        files: None,
    };

    #[track_caller]
    fn check(reached: Reached, missing: &[&str]) {
        let sandbox = Sandbox { paths: Some(Paths::base()), ..Sandbox::default() };
        assert_eq!(sandbox.missing(&reached), missing);
    }

    #[test]
    fn what_is_not_reached_is_missing() {
        check(ALL, &[]);
        check(Reached { filesystem: Level::Partial, ..ALL }, &["filesystem"]);
        check(Reached { network: Level::None, ..ALL }, &["network"]);
        check(Reached { syscalls: Level::Partial, ..ALL }, &["syscalls"]);
        check(Reached::NOTHING, &["filesystem", "network", "syscalls"]);
    }

    #[test]
    fn what_is_not_wanted_is_not_missing() {
        let sandbox = Sandbox { network: Network::Any, ..Sandbox::default() };
        let reached = Reached { syscalls: Level::Full, ..Reached::NOTHING };
        assert_eq!(sandbox.missing(&reached), [""; 0]);
    }

    #[test]
    fn base_holds_no_secret_and_no_other_process() {
        for path in BASE_READ {
            let forbidden =
                ["/", "/etc", "/proc", "/dev", "/sys", "/tmp", "/home", "/root", "/var"];
            assert!(!forbidden.contains(path), "{path}");
        }
    }
}
