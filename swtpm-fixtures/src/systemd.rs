//! A real systemd, booted in a container over this machine's own `/usr`, for what only process 1
//! can show: credentials, units, hardening, notification.
//!
//! Everything but `/usr` is empty and in memory (`systemd-nspawn --volatile=yes`), so nothing of
//! the machine's configuration is seen or changed. A boot takes less than a second. Needs root.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::process::Guard;
use crate::{Error, Result};

const PROGRAM: &str = "/usr/bin/systemd-nspawn";
const PACKAGE: &str = "systemd-container";
/// Runs its arguments, and writes how they ended. They die with it, and so does all that they
/// started: a container's first process outlives the program that made the container, but not
/// the process namespace around both.
const RUN: &str = "status=$1; shift; setpriv --pdeathsig KILL unshare --pid --fork --kill-child \
                   --mount-proc \"$@\"; echo $? >\"$status\"";
const STATUS: &str = "status";
const INIT: &str = "/usr/lib/systemd/systemd";

/// A container that is not booted yet.
#[derive(Debug)]
pub struct Systemd {
    guard: Guard,
    /// Read-only, at the place where they are outside.
    seen: Vec<PathBuf>,
    units: Vec<String>,
}

/// How a boot ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// Whether the unit that was asked for succeeded.
    pub success: bool,
    /// What systemd wrote to its console.
    pub console: String,
}

impl Systemd {
    /// Prepares a container.
    ///
    /// # Errors
    /// `Missing`: systemd or its container tool is not installed. `Io`: no directory.
    pub fn new() -> Result<Self> {
        for (program, path, package) in
            [("systemd-nspawn", PROGRAM, PACKAGE), ("systemd", INIT, "systemd")]
        {
            if !Path::new(path).exists() {
                return Err(Error::Missing { program, package });
            }
        }
        let guard = Guard::over_new_directory("sealhost-systemd-")?;
        for directory in [guard.directory().join("units"), guard.directory().join("shared")] {
            fs::create_dir(directory).map_err(Error::io("make a directory"))?;
        }
        Ok(Self { guard, seen: Vec::new(), units: Vec::new() })
    }

    /// A directory that inside and outside see and write at the same path.
    #[must_use]
    pub fn shared(&self) -> PathBuf {
        self.guard.directory().join("shared")
    }

    /// Lets the container see a path, read-only, where it is outside; `/usr` it has anyway.
    pub fn see(&mut self, path: &Path) {
        self.seen.push(path.to_owned());
    }

    /// Writes a unit file, or a drop-in such as `x.service.d/y.conf`.
    ///
    /// # Errors
    /// `Io`: it cannot be written.
    pub fn unit(&mut self, name: &str, text: &str) -> Result<()> {
        let path = self.guard.directory().join("units").join(name);
        let parent = path.parent().unwrap_or(&path);
        fs::create_dir_all(parent)
            .and_then(|()| fs::write(&path, text))
            .map_err(Error::io(format!("write the unit {name}")))?;
        let top = name.split('/').next().unwrap_or(name).to_owned();
        if !self.units.contains(&top) {
            self.units.push(top);
        }
        Ok(())
    }

    /// Boots, starts one unit with what it requires, and ends when that unit has ended.
    ///
    /// # Errors
    /// `State`: it did not end in `time`; it is killed then. `Io`: it could not be started.
    pub fn run(&mut self, unit: &str, time: Duration) -> Result<Ended> {
        self.unit(
            &format!("{unit}.d/end.conf"),
            "[Unit]\nSuccessAction=exit\nSuccessActionExitStatus=0\n\
             FailureAction=exit\nFailureActionExitStatus=1\n",
        )?;
        let pid = self.guard.start(&self.command(unit))?;
        let ended = wait(pid, time).map_err(Error::io("wait for the container"))?;
        let console = self.guard.log();
        if !ended {
            self.guard.stop()?;
            return Err(Error::Start { program: "systemd-nspawn", said: console });
        }
        let status = self.guard.directory().join(STATUS);
        let status = fs::read_to_string(status).map_err(Error::io("read the exit status"))?;
        let success = status.trim() == "0";
        Ok(Ended { success, console })
    }

    fn command(&self, unit: &str) -> Vec<String> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let status = self.guard.directory().join(STATUS).display().to_string();
        let mut words: Vec<String> = [
            "/bin/sh",
            "-c",
            RUN,
            "run",
            &status,
            PROGRAM,
            "--directory=/",
            "--volatile=yes",
            "--register=no",
            "--keep-unit",
            "--console=pipe",
            "--link-journal=no",
        ]
        .map(str::to_owned)
        .into();
        words.push(format!("--machine=sealhost-{}-{number}", std::process::id()));
        words.push(format!("--bind={}", self.shared().display()));
        words.extend(self.seen.iter().map(|path| format!("--bind-ro={}", path.display())));
        let units = self.guard.directory().join("units");
        words.extend(self.units.iter().map(|name| {
            format!("--bind-ro={}:/etc/systemd/system/{name}", units.join(name).display())
        }));
        words.push("--boot".into());
        words.push(format!("systemd.unit={unit}"));
        // Nobody is there to answer its questions.
        words.push("systemd.firstboot=no".into());
        words
    }
}

/// Waits for the end of a process; says whether it came in time.
fn wait(pid: u32, time: Duration) -> io::Result<bool> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidInput)?;
    let process = pidfd_open(pid, PidfdFlags::empty())?;
    let time = Timespec::try_from(time).map_err(io::Error::other)?;
    let mut polled = [PollFd::new(&process, PollFlags::IN)];
    Ok(poll(&mut polled, Some(&time))? == 1)
}
