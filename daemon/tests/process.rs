//! A real daemon (`examples/whoami.rs`) under a service manager played by this test: its
//! notifications, its socket passed in, its signals, its limits.
#![expect(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "every item of this file is a test's"
)]

use std::fs;
use std::io::{ErrorKind, Read};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use rustix::process::{Pid, Signal};
use tempfile::TempDir;

/// Long enough for a loaded machine; only a failing test waits for it.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running daemon, killed when the test ends before it does.
struct Daemon {
    child: Child,
    messages: UnixDatagram,
    dir: TempDir,
}

impl Daemon {
    fn start() -> Self {
        Self::start_by(|daemon, socket| {
            let mut command = Command::new(daemon);
            command.arg(socket);
            command
        })
    }

    /// Starts it with `listener` as descriptor 3 and the variables of sd_listen_fds(3).
    fn start_activated(listener: impl Into<OwnedFd>, variables: &str) -> Self {
        let listener = listener.into();
        Self::start_by(|daemon, socket| {
            let script = format!("exec 3<&0 0</dev/null; export {variables}; exec \"$0\" \"$1\"");
            let mut command = Command::new("sh");
            command.args(["-c", &script]).arg(daemon).arg(socket).stdin(listener);
            command
        })
    }

    fn start_by(command: impl FnOnce(PathBuf, PathBuf) -> Command) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let notify = dir.path().join("notify");
        let messages = UnixDatagram::bind(&notify).unwrap();
        messages.set_read_timeout(Some(PATIENCE)).unwrap();
        let child = command(whoami(), dir.path().join("s"))
            .env("NOTIFY_SOCKET", &notify)
            .env("WATCHDOG_USEC", "20000")
            .spawn()
            .unwrap();
        Self { child, messages, dir }
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("s")
    }

    /// Reads notifications until one that contains `part`, and returns it.
    fn told(&self, part: &str) -> String {
        let mut buffer = [0; 4096];
        loop {
            let length = match self.messages.recv(&mut buffer) {
                // A receive with a time limit is not restarted after a signal (signal(7)).
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                received => received.expect("the daemon says nothing"),
            };
            let message = String::from_utf8(buffer[..length].to_vec()).unwrap();
            if message.contains(part) {
                return message;
            }
        }
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    fn proc_file(&self, name: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{name}", self.child.id())).unwrap()
    }

    fn wait(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ended_before = self.child.kill();
        self.child.wait().unwrap();
    }
}

/// The example stands beside the directory of the test binaries.
fn whoami() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.parent().unwrap().parent().unwrap().join("examples/whoami")
}

fn ask(socket: &PathBuf) -> String {
    let mut answer = String::new();
    UnixStream::connect(socket).unwrap().read_to_string(&mut answer).unwrap();
    answer
}

fn me() -> String {
    let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
    format!("uid {uid} gid {gid}\n")
}

/// Sends `signal` to a serving daemon: it says that it stops, exits 0 and leaves no socket.
fn check_end(signal: Signal) {
    let mut daemon = Daemon::start();
    daemon.told("READY=1");
    assert_eq!(ask(&daemon.socket()), me());
    daemon.signal(signal);
    daemon.told("STOPPING=1");
    assert!(daemon.wait().success());
    assert!(!daemon.socket().exists());
}

#[test]
fn sigterm_stops_the_daemon_and_removes_its_socket() {
    check_end(Signal::TERM);
}

#[test]
fn sigint_stops_the_daemon_and_removes_its_socket() {
    check_end(Signal::INT);
}

#[test]
fn sighup_reloads_and_the_daemon_serves_on() {
    let daemon = Daemon::start();
    daemon.told("READY=1");
    daemon.signal(Signal::HUP);
    assert!(daemon.told("RELOADING=1").contains("MONOTONIC_USEC="));
    daemon.told("STATUS=reloaded");
    assert_eq!(ask(&daemon.socket()), me());
}

#[test]
fn watchdog_is_fed() {
    let daemon = Daemon::start();
    for _ in 0..3 {
        daemon.told("WATCHDOG=1");
    }
}

#[test]
fn hardening_holds_in_the_process() {
    let daemon = Daemon::start();
    let status = daemon.told("STATUS=");
    assert!(status.contains("umask 0077: yes, no core files: yes, not dumpable: yes"), "{status}");
    assert!(daemon.proc_file("status").contains("Umask:\t0077"));
    let limits = daemon.proc_file("limits");
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().collect::<Vec<_>>()[4..6], ["0", "0"]);
}

#[test]
fn passed_socket_is_served_and_its_file_stays() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("passed");
    let listener = UnixListener::bind(&path).unwrap();
    let mut daemon = Daemon::start_activated(listener, "LISTEN_PID=$$ LISTEN_FDS=1");
    daemon.told("READY=1");
    assert_eq!(ask(&path), me());
    assert!(!daemon.socket().exists());
    daemon.signal(Signal::TERM);
    assert!(daemon.wait().success());
    assert!(path.exists());
}

#[test]
fn socket_passed_to_another_process_is_not_taken() {
    let dir = tempfile::tempdir().unwrap();
    let listener = UnixListener::bind(dir.path().join("passed")).unwrap();
    let daemon = Daemon::start_activated(listener, "LISTEN_PID=1 LISTEN_FDS=1");
    daemon.told("READY=1");
    assert_eq!(ask(&daemon.socket()), me());
}

#[test]
fn passed_socket_that_does_not_listen_ends_the_daemon() {
    let (connected, _other) = UnixStream::pair().unwrap();
    let mut daemon = Daemon::start_activated(connected, "LISTEN_PID=$$ LISTEN_FDS=1");
    assert!(!daemon.wait().success());
}

#[test]
fn passed_file_ends_the_daemon() {
    let file = tempfile::tempfile().unwrap();
    let mut daemon = Daemon::start_activated(file, "LISTEN_PID=$$ LISTEN_FDS=1");
    assert!(!daemon.wait().success());
}
