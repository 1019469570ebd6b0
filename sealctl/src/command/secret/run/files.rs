//! Files in memory for as long as a program runs.

use std::fs::{self, Permissions};
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use rustix::fs::statfs;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tempfile::TempDir;
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use crate::exit::{Exit, Failure};

/// Numbers of file systems that never reach a disk but by swapping, and not at all (statfs(2)).
const TMPFS: i64 = 0x0102_1994;
const RAMFS: i64 = 0x8584_58f6;

/// A directory of secrets, made with the first and removed with this value.
#[derive(Default)]
pub(super) struct Files(Option<TempDir>);

impl Files {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Writes one file, mode 0400.
    pub(super) fn add(&mut self, name: &str, value: &[u8]) -> Result<PathBuf, Failure> {
        let directory = match self.0.take() {
            Some(directory) => directory,
            None => new_directory()?,
        };
        let path = directory.path().join(name);
        self.0 = Some(directory);
        let write = || -> io::Result<()> {
            let mut file =
                fs::OpenOptions::new().write(true).create_new(true).mode(0o400).open(&path)?;
            file.write_all(value)
        };
        write().map_err(|error| {
            Failure::usage(
                format!("cannot write {}: {error}", path.display()),
                "give each NAME once, and see that the directory has room",
            )
        })?;
        Ok(path)
    }

    /// Runs the program to its end, hands it the signals that would end us, removes the files, and
    /// ends as it did.
    pub(super) fn run(self, command: &mut Command) -> io::Result<Exit> {
        let runtime = Builder::new_current_thread().enable_io().build()?;
        let status = runtime.block_on(run_to_end(command))?;
        drop(self);
        let code =
            status.code().or_else(|| status.signal().map(|signal| signal.saturating_add(128)));
        Ok(Exit::Program(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)))
    }
}

async fn run_to_end(command: &mut Command) -> io::Result<ExitStatus> {
    // Caught before there is a program, so that none is lost in between.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let mut quit = signal(SignalKind::quit())?;
    let mut child = command.spawn()?;
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let process = pidfd_open(pid.ok_or(io::ErrorKind::InvalidData)?, PidfdFlags::empty())?;
    let (done, mut ended) = oneshot::channel();
    std::thread::Builder::new().name("wait".into()).spawn(move || done.send(child.wait()))?;
    loop {
        let signal = tokio::select! {
            status = &mut ended => {
                return status.unwrap_or_else(|_closed| Err(io::ErrorKind::Other.into()));
            }
            _ = terminate.recv() => Signal::TERM,
            _ = interrupt.recv() => Signal::INT,
            _ = hangup.recv() => Signal::HUP,
            _ = quit.recv() => Signal::QUIT,
        };
        // One that has ended just now needs none.
        let _ = pidfd_send_signal(process.as_fd(), signal);
    }
}

/// A directory for this user alone, in a file system in memory.
fn new_directory() -> Result<TempDir, Failure> {
    let own = PathBuf::from(format!("/run/user/{}", rustix::process::geteuid().as_raw()));
    let places = [Path::new("/run"), &own, Path::new("/dev/shm")];
    let made = places.into_iter().filter(|place| is_in_memory(place)).find_map(|place| {
        tempfile::Builder::new()
            .prefix("sealctl-")
            .permissions(Permissions::from_mode(0o700))
            .tempdir_in(place)
            .ok()
    });
    made.ok_or_else(|| {
        Failure::usage(
            "no directory in memory: neither /run, /run/user nor /dev/shm is one that this user may write to",
            "give the secrets with --fd, which needs none",
        )
    })
}

fn is_in_memory(place: &Path) -> bool {
    statfs(place).is_ok_and(|found| [TMPFS, RAMFS].contains(&found.f_type))
}
