//! A built daemon as a process: started, ready, with a log of its own.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How long a start, or whatever a test waits for, may take before the test has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A daemon that was started and is not known to be ready.
#[derive(Debug)]
pub(crate) struct Starting {
    pub(crate) child: Child,
    notify: UnixDatagram,
    log: PathBuf,
}

impl Starting {
    /// Starts a program of the workspace on `config.toml` of a directory, where its `log` is too.
    pub(crate) fn new(
        program: &str,
        dir: &Path,
        arguments: &[&str],
        environment: &[(&'static str, PathBuf)],
    ) -> Self {
        let notify_path = dir.join("notify.sock");
        let _absent_at_first = fs::remove_file(&notify_path);
        let notify = UnixDatagram::bind(&notify_path).unwrap();
        notify.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let log = dir.join("log");
        let stderr = fs::File::options().create(true).append(true).open(&log).unwrap();
        let child = Command::new(built(program))
            .arg("--config")
            .arg(dir.join("config.toml"))
            .args(["--log", "debug"])
            .args(arguments)
            .env("NOTIFY_SOCKET", &notify_path)
            .envs(environment.iter().map(|(name, path)| (name, path)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(stderr)
            .process_group(0)
            .spawn()
            .unwrap();
        Self { child, notify, log }
    }

    /// Waits until it says that it is ready; the exit status when it ends before.
    pub(crate) fn until_ready(self) -> Result<Child, ExitStatus> {
        let Self { mut child, notify, log } = self;
        let patience = Instant::now() + PATIENCE;
        let mut message = [0; 4096];
        loop {
            if let Ok(length) = notify.recv(&mut message) {
                let said = String::from_utf8_lossy(&message[..length]).into_owned();
                if said.lines().any(|line| line == "READY=1") {
                    return Ok(child);
                }
            }
            if let Some(status) = child.try_wait().unwrap() {
                return Err(status);
            }
            assert!(Instant::now() < patience, "not ready in time:\n{}", read(&log));
        }
    }
}

/// Asks again and again, with a bound, until something holds; `log` is shown when it does not.
#[track_caller]
pub(crate) fn wait_until(what: &str, log: &Path, mut holds: impl FnMut() -> bool) {
    let patience = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < patience, "{what} did not happen:\n{}", read(log));
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Ends a daemon with its test, and shows the end of its log where the test failed.
pub(crate) fn end(child: Option<Child>, log: &Path) {
    if let Some(mut child) = child {
        let _gone_already = child.kill();
        let _gone_already = child.wait();
    }
    if std::thread::panicking() {
        let log = read(log);
        let tail: Vec<_> = log.lines().rev().take(40).collect();
        let tail: Vec<_> = tail.into_iter().rev().collect();
        let _nobody_listens = writeln_stderr(&tail.join("\n"));
    }
}

/// What a daemon logged so far, over all its runs.
pub(crate) fn read(log: &Path) -> String {
    fs::read_to_string(log).unwrap_or_default()
}

fn writeln_stderr(text: &str) -> std::io::Result<()> {
    use std::io::Write;
    writeln!(std::io::stderr(), "--- end of the daemon's log\n{text}\n---")
}

/// The children of a process that a test started, whichever thread of it made them.
#[must_use]
pub fn children(pid: u32) -> Vec<u32> {
    let children = fs::read_dir(format!("/proc/{pid}/task")).unwrap().flat_map(|task| {
        fs::read_to_string(task.unwrap().path().join("children"))
            .unwrap_or_default()
            .split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    });
    children.map(|child| child.parse().unwrap()).collect()
}

/// Sends a signal by name to a process that a test started.
pub fn signal(pid: u32, name: &str) {
    let signal = match name {
        "TERM" => rustix::process::Signal::TERM,
        "INT" => rustix::process::Signal::INT,
        "KILL" => rustix::process::Signal::KILL,
        "ABRT" => rustix::process::Signal::ABORT,
        "HUP" => rustix::process::Signal::HUP,
        "STOP" => rustix::process::Signal::STOP,
        "CONT" => rustix::process::Signal::CONT,
        other => panic!("no signal {other}"),
    };
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

/// A file that `cargo build --workspace` makes.
#[must_use]
pub fn built(name: &str) -> PathBuf {
    let program = std::env::current_exe().unwrap();
    // A test is one directory below the binaries, a bench beside them.
    let mut directories = program.ancestors().skip(1).take(2).map(|directory| directory.join(name));
    let found = directories.find(|path| path.exists());
    found.unwrap_or_else(|| panic!("{name} is missing; run: cargo build --workspace"))
}
