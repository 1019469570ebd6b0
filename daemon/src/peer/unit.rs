//! The unit of systemd that a process belongs to, by its control group.
//!
//! The process is held by a pidfd of the socket while its control group is read, so that no other
//! process can have its number meanwhile. Only the system manager's units count: of the path of a
//! control group the first component that is no slice, because only root makes slices and what is
//! in them, while below its own group a unit (a container, a user's own manager) may make any
//! name that it likes.

use std::fmt;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use nix::sys::socket::{getsockopt, sockopt::PeerPidfd};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Longest name of a unit, in bytes; systemd's `UNIT_NAME_MAX`, without its zero byte.
pub const UNIT_NAME_BYTES: usize = 255;

/// The kinds of units that have processes.
const KINDS: [&str; 5] = ["service", "scope", "socket", "mount", "swap"];

/// The full name of a unit of the system manager: `web.service`, `getty@tty1.service`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UnitName(Arc<str>);

impl UnitName {
    /// Takes a text for the full name of a unit of a kind that has processes.
    ///
    /// # Limits
    /// 255 bytes.
    ///
    /// # Spec
    /// systemd.unit(5): letters, digits and `:-_.\\@`, and the kind after the last dot.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (name, kind) = text.rsplit_once('.')?;
        let known = |c: char| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c);
        let fits = text.len() <= UNIT_NAME_BYTES && text.chars().all(known);
        let named = !name.is_empty() && !name.starts_with('@');
        (fits && named && KINDS.contains(&kind)).then(|| Self(text.into()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is the name of a template, such as `web@.service`, which no process has.
    #[must_use]
    pub fn is_template(&self) -> bool {
        self.0.rsplit_once('.').is_some_and(|(name, _)| name.ends_with('@'))
    }

    /// Whether this is that unit, or an instance of that template.
    #[must_use]
    pub fn is(&self, wanted: &Self) -> bool {
        let template = || {
            let (name, kind) = self.0.rsplit_once('.')?;
            let (prefix, _instance) = name.split_once('@')?;
            let (wanted, wanted_kind) = wanted.0.rsplit_once('.')?;
            Some(kind == wanted_kind && wanted.strip_suffix('@') == Some(prefix))
        };
        self == wanted || (wanted.is_template() && template() == Some(true))
    }

    /// The unit of a control group.
    ///
    /// # Spec
    /// cgroups(7), `/proc/PID/cgroup`: the line of the unified hierarchy is `0::` and the path.
    /// systemd escapes a name that the hierarchy has for itself by one underscore before it.
    fn of_cgroups(text: &str) -> Option<Self> {
        let path = text.lines().find_map(|line| line.strip_prefix("0::"))?;
        // The group of a process that is nearly gone, and one outside of what we may see.
        if path.ends_with(" (deleted)") || path.split('/').any(|part| part == "..") {
            return None;
        }
        let mut parts = path.strip_prefix('/')?.split('/');
        let unit = parts.find(|part| !part.ends_with(".slice"))?;
        Self::parse(unit.strip_prefix('_').unwrap_or(unit))
    }
}

impl fmt::Display for UnitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The unit of the process at the other end, where all of this can be known: whatever fails, there
/// is none.
pub(super) fn of(socket: BorrowedFd<'_>, pid: Option<u32>) -> Option<UnitName> {
    let pid = pid?;
    let process = getsockopt(&socket, PeerPidfd).ok()?;
    let unit = read(pid)?;
    lives(&process).then_some(unit)
}

fn read(pid: u32) -> Option<UnitName> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    UnitName::of_cgroups(&text)
}

/// Whether a process has not ended: then its number was its own until now.
fn lives(process: &OwnedFd) -> bool {
    let mut polled = [PollFd::new(process, PollFlags::IN)];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    matches!(poll(&mut polled, Some(&at_once)), Ok(0))
}

/// Why no caller has a unit here, and what to do about it; for daemons whose rules name one.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Unknowable {
    /// The kernel gives no pidfd of a peer.
    #[error("needs Linux 6.5 or newer; name users or groups in these rules")]
    Kernel,
    /// The control groups of other processes are hidden from this one.
    #[error(
        "needs /proc of other processes; set ProtectProc=default in the daemon's unit, and let it \
         see the control groups of version 2"
    )]
    Hidden,
}

/// Tells whether the unit of a caller can be known here.
///
/// # Errors
/// [`Unknowable`]: callers have no units, so that rules that name some allow nothing.
pub fn knowable() -> Result<(), Unknowable> {
    let pair = UnixStream::pair().map_err(|_error| Unknowable::Kernel)?;
    getsockopt(&pair.0, PeerPidfd).map_err(|_error| Unknowable::Kernel)?;
    // Process 1 belongs to nobody but root, as other users' processes do not belong to us.
    let first = std::fs::read_to_string("/proc/1/cgroup");
    let visible = first.is_ok_and(|text| text.lines().any(|line| line.starts_with("0::/")));
    if visible { Ok(()) } else { Err(Unknowable::Hidden) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: &str, unit: Option<&str>) {
        let found = UnitName::of_cgroups(&format!("1:name=systemd:/x\n0::{path}\n"));
        assert_eq!(found.as_ref().map(UnitName::as_str), unit, "{path}");
    }

    #[track_caller]
    fn check_is(found: &str, wanted: &str, is: bool) {
        let name = |text| UnitName::parse(text).unwrap();
        assert_eq!(name(found).is(&name(wanted)), is, "{found} as {wanted}");
    }

    #[test]
    fn service_is_the_first_component_that_is_no_slice() {
        check("/system.slice/app.service", Some("app.service"));
        check("/system.slice/system-app.slice/app@one.service", Some("app@one.service"));
        check("/init.scope", Some("init.scope"));
        check("/app.service", Some("app.service"));
    }

    #[test]
    fn groups_below_a_unit_belong_to_it() {
        check("/system.slice/app.service/worker", Some("app.service"));
        check("/system.slice/app.service/other.service", Some("app.service"));
        check("/system.slice/app.service/x.slice/other.service", Some("app.service"));
    }

    #[test]
    fn units_of_a_users_manager_belong_to_that_manager() {
        let manager = "/user.slice/user-1000.slice/user@1000.service";
        check(&format!("{manager}/app.slice/app.service"), Some("user@1000.service"));
        check("/user.slice/user-0.slice/session-1.scope", Some("session-1.scope"));
    }

    #[test]
    fn units_of_a_container_belong_to_the_container() {
        check("/machine.slice/box.scope/system.slice/app.service", Some("box.scope"));
        check(
            "/machine.slice/systemd-nspawn@box.service/payload/system.slice/app.service",
            Some("systemd-nspawn@box.service"),
        );
    }

    #[test]
    fn groups_of_other_makers_have_no_unit() {
        check("/docker/0123/app.service", None);
        check("/", None);
        check("", None);
        check("/system.slice", None);
        check("/../../system.slice/app.service", None);
        check("/system.slice/app.service/..", None);
        check("/system.slice/app.service (deleted)", None);
        check("/system.slice/app", None);
        check("/system.slice/.service", None);
        check("/system.slice/a b.service", None);
    }

    #[test]
    fn escaped_name_is_read() {
        check("/system.slice/_cpu.service", Some("cpu.service"));
        check("/system.slice/__app.service", Some("_app.service"));
    }

    #[test]
    fn older_hierarchies_have_no_unit() {
        assert_eq!(UnitName::of_cgroups("1:name=systemd:/system.slice/app.service\n"), None);
    }

    #[test]
    fn name_of_the_limit_is_taken_and_one_byte_more_is_not() {
        let of = |bytes: usize| format!("{}.service", "n".repeat(bytes - ".service".len()));
        assert!(UnitName::parse(&of(255)).is_some());
        assert!(UnitName::parse(&of(256)).is_none());
    }

    #[test]
    fn unit_is_itself_and_an_instance_is_of_its_template() {
        check_is("app.service", "app.service", true);
        check_is("app.service", "apps.service", false);
        check_is("app.service", "app.scope", false);
        check_is("app@one.service", "app@one.service", true);
        check_is("app@one.service", "app@two.service", false);
        check_is("app@one.service", "app@.service", true);
        check_is("app@one@two.service", "app@.service", true);
        check_is("app.service", "app@.service", false);
        check_is("apps@one.service", "app@.service", false);
        check_is("app@one.scope", "app@.service", false);
    }

    #[test]
    fn process_that_has_ended_has_no_unit() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = rustix::process::Pid::from_child(&child);
        let process = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty());
        let process = process.unwrap();
        assert!(child.wait().unwrap().success());
        assert!(!lives(&process));
        let own = rustix::process::getpid();
        let own = rustix::process::pidfd_open(own, rustix::process::PidfdFlags::empty());
        assert!(lives(&own.unwrap()));
    }
}
