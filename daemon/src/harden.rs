//! What a daemon does to its own process before it touches a secret.
//!
//! Only what one process can do to itself without privileges; the rest is the service unit's.

use std::fmt;

use rustix::fs::Mode;
use rustix::process::{DumpableBehavior, Resource, Rlimit};

const UMASK: u32 = 0o077;

/// What hardening reached, as read back from the kernel afterwards.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Hardening {
    /// New files are closed to group and others (umask 0077).
    pub umask: bool,
    /// The largest core file is 0 bytes, for this process and its children.
    pub no_core_file: bool,
    /// Nobody but root may look into this process or make it dump.
    pub not_dumpable: bool,
    /// The effective user is not root.
    pub unprivileged: bool,
}

/// Hardens this process and tells what was reached.
///
/// Called once, early in `main`; the umask holds for every thread. A step that fails does not
/// stop the others: the caller logs [`Hardening::warnings`] and decides whether to go on. The
/// dumpable flag does not outlast exec(2), so that each child calls this for itself.
///
/// # Spec
/// umask(2); setrlimit(2), `RLIMIT_CORE`; prctl(2), `PR_SET_DUMPABLE`.
#[must_use]
pub fn harden() -> Hardening {
    let mask = Mode::from_raw_mode(UMASK);
    rustix::process::umask(mask);
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    if let Err(error) = rustix::process::setrlimit(Resource::Core, none) {
        tracing::debug!(%error, "RLIMIT_CORE was not set");
    }
    if let Err(error) = rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        tracing::debug!(%error, "PR_SET_DUMPABLE was not set");
    }
    Hardening {
        // There is no way to read the umask but to set it again.
        umask: rustix::process::umask(mask) == mask,
        no_core_file: rustix::process::getrlimit(Resource::Core).maximum == Some(0),
        not_dumpable: rustix::process::dumpable_behavior()
            .is_ok_and(|found| found == DumpableBehavior::NotDumpable),
        unprivileged: !rustix::process::geteuid().is_root(),
    }
}

impl Hardening {
    /// Returns a sentence for each thing that was not reached: what is wrong; what to do.
    #[must_use]
    pub fn warnings(&self) -> Vec<&'static str> {
        let steps = [
            (self.umask, "the umask is not 0077; set UMask=0077 in the service unit"),
            (self.no_core_file, "core files are possible; set LimitCORE=0 in the service unit"),
            (
                self.not_dumpable,
                "other processes of this user can read this one's memory; give the daemon a user of its own",
            ),
            (
                self.unprivileged,
                "the daemon runs as root, which it does not need; set User= or DynamicUser= in the service unit",
            ),
        ];
        steps.into_iter().filter_map(|(reached, warning)| (!reached).then_some(warning)).collect()
    }
}

impl fmt::Display for Hardening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = |reached: bool| if reached { "yes" } else { "no" };
        write!(
            f,
            "umask 0077: {}, no core files: {}, not dumpable: {}, unprivileged: {}",
            word(self.umask),
            word(self.no_core_file),
            word(self.not_dumpable),
            word(self.unprivileged)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Hardening =
        Hardening { umask: true, no_core_file: true, not_dumpable: true, unprivileged: true };

    #[track_caller]
    fn check(found: Hardening, warning: &str) {
        let warnings = found.warnings();
        assert!(matches!(warnings.as_slice(), [one] if one.contains(warning)), "{warnings:?}");
    }

    #[test]
    fn everything_reached_warns_of_nothing() {
        assert!(ALL.warnings().is_empty());
    }

    #[test]
    fn each_thing_not_reached_warns_of_itself() {
        check(Hardening { umask: false, ..ALL }, "UMask=0077");
        check(Hardening { no_core_file: false, ..ALL }, "LimitCORE=0");
        check(Hardening { not_dumpable: false, ..ALL }, "user of its own");
        check(Hardening { unprivileged: false, ..ALL }, "runs as root");
    }
}
