//! A private TPM 2.0 emulator (swtpm on libtpms).

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::ports::PortPair;
use crate::process::Guard;
use crate::{Error, Result};

/// How long an emulator may take to listen, generously: tests share few cores.
const START_LIMIT: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(2);
/// How often another pair of ports is tried.
const START_ATTEMPTS: u32 = 5;

/// A running, stopped or suspended emulator with its state.
#[derive(Debug)]
pub struct Swtpm {
    guard: Guard,
    ports: PortPair,
    state: PathBuf,
    pid: Option<u32>,
}

impl Swtpm {
    /// Starts a new TPM in a new state directory; both vanish with this value or this process.
    ///
    /// # Errors
    /// `Missing`: swtpm is not installed. `Start`: it did not come up.
    pub fn start() -> Result<Self> {
        Self::start_guarded(|| Guard::over_new_directory("sealhost-swtpm-"))
    }

    /// Starts the TPM whose state is in `directory`, a new one when it holds none. The emulator
    /// vanishes with this value or this process; the directory stays.
    ///
    /// # Errors
    /// As [`start`](Self::start); `Io` when the directory cannot be made.
    pub fn start_at(directory: &Path) -> Result<Self> {
        fs::create_dir_all(directory)
            .map_err(Error::io(format!("make {}", directory.display())))?;
        Self::start_guarded(|| Guard::over_kept_directory(directory))
    }

    fn start_guarded(guard: impl Fn() -> Result<Guard>) -> Result<Self> {
        check_installed()?;
        let mut last = None;
        for _ in 0..START_ATTEMPTS {
            let guard = guard()?;
            let state = guard.directory().to_owned();
            let mut swtpm = Self { guard, ports: PortPair::reserve()?, state, pid: None };
            match swtpm.start_again() {
                Ok(()) => return Ok(swtpm),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or(Error::State("no attempt was made")))
    }

    /// The address for a TPM library.
    #[must_use]
    pub fn tcti(&self) -> String {
        tcti_of(self.ports.first())
    }

    /// The command port; the control port is the next one.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.ports.first()
    }

    /// Where the TPM keeps its state.
    #[must_use]
    pub fn state_directory(&self) -> &Path {
        &self.state
    }

    /// The emulator's process id while it runs.
    #[must_use]
    pub const fn pid(&self) -> Option<u32> {
        self.pid
    }

    /// Cuts the TPM's power: kills the emulator without an orderly shutdown. Connections to its
    /// ports are refused from then on.
    ///
    /// # Errors
    /// `State`: the guard has ended.
    pub fn stop(&mut self) -> Result<()> {
        self.pid = None;
        self.guard.stop()
    }

    /// Starts the emulator on the same state and ports, stopping it first when it runs: a reset.
    ///
    /// # Errors
    /// `Start`: it did not come up.
    pub fn start_again(&mut self) -> Result<()> {
        self.stop()?;
        let pid = self.guard.start(&self.command())?;
        let deadline = Instant::now() + START_LIMIT;
        while !self.listens(pid) {
            if !Path::new(&format!("/proc/{pid}")).exists() || Instant::now() > deadline {
                return Err(Error::Start { program: "swtpm", said: self.guard.log() });
            }
            thread::sleep(POLL);
        }
        // It listens before it has made or read its state; a whole answer tells that it has.
        first_answer(self.ports.first())
            .map_err(Error::io("wait for the first answer of swtpm"))?;
        self.pid = Some(pid);
        Ok(())
    }

    /// Cycles the TPM's power by its control channel, in the running emulator: what is volatile is
    /// gone, nothing was saved in order, and nobody has started the TPM anew.
    ///
    /// # Errors
    /// `State`: the TPM is stopped, or refuses. `Io`: its control channel fails.
    pub fn power_cycle(&self) -> Result<()> {
        self.pid.ok_or(Error::State("the TPM is stopped"))?;
        let answer = initialize(self.ports.second());
        match answer.map_err(Error::io("cycle the power of swtpm"))? {
            [0, 0, 0, 0] => Ok(()),
            _ => Err(Error::State("swtpm refuses to be initialized")),
        }
    }

    /// Replaces the TPM by a new one (other seeds, no keys) on the same ports.
    ///
    /// # Errors
    /// As [`start_again`](Self::start_again); `Io` when the old state cannot be removed.
    pub fn fresh(&mut self) -> Result<()> {
        self.stop()?;
        let state = self.state.join("tpm2-00.permall");
        fs::remove_file(&state).map_err(Error::io(format!("remove {}", state.display())))?;
        self.start_again()
    }

    /// Lets the TPM fall silent: it accepts connections and answers nothing until
    /// [`resume`](Self::resume).
    ///
    /// # Errors
    /// `State`: the TPM is stopped.
    pub fn suspend(&mut self) -> Result<()> {
        let pid = self.pid.ok_or(Error::State("the TPM is stopped"))?;
        self.guard.suspend()?;
        while !is_suspended(pid) {
            thread::yield_now();
        }
        Ok(())
    }

    /// Ends a suspension.
    ///
    /// # Errors
    /// `State`: the TPM is stopped.
    pub fn resume(&mut self) -> Result<()> {
        self.pid.ok_or(Error::State("the TPM is stopped"))?;
        self.guard.resume()
    }

    fn command(&self) -> Vec<String> {
        let state = format!("dir={}", self.state.display());
        let server = format!("type=tcp,port={},bindaddr=127.0.0.1", self.ports.first());
        let control = format!("type=tcp,port={},bindaddr=127.0.0.1", self.ports.second());
        let words = [
            "swtpm",
            "socket",
            "--tpm2",
            "--tpmstate",
            &state,
            "--server",
            &server,
            "--ctrl",
            &control,
            "--flags",
            "not-need-init,startup-clear",
            "--seccomp",
            "action=none",
        ];
        words.map(str::to_owned).to_vec()
    }

    /// Whether the process itself listens on both ports: another one there is not our TPM.
    fn listens(&self, pid: u32) -> bool {
        let ours = sockets_of(pid);
        let listening = [self.ports.first(), self.ports.second()]
            .map(|port| listener_inode(port).is_some_and(|inode| ours.contains(&inode)));
        listening == [true, true]
    }
}

/// Waits for the response to a TPM2_GetTestResult (TPM 2.0 Part 3, 10.4), which changes nothing.
fn first_answer(port: u16) -> io::Result<()> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(START_LIMIT))?;
    stream.write_all(&[0x80, 0x01, 0, 0, 0, 10, 0, 0, 0x01, 0x7C])?;
    stream.read_exact(&mut [0; 10])
}

/// CMD_INIT without flags (swtpm_ioctls(3)): a code and flags; a result.
fn initialize(port: u16) -> io::Result<[u8; 4]> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(START_LIMIT))?;
    stream.write_all(&[0, 0, 0, 2, 0, 0, 0, 0])?;
    let mut result = [0; 4];
    stream.read_exact(&mut result)?;
    Ok(result)
}

/// The TCTI text of an emulator on this machine.
pub(crate) fn tcti_of(port: u16) -> String {
    format!("swtpm:host=127.0.0.1,port={port}")
}

fn check_installed() -> Result<()> {
    Command::new("swtpm")
        .args(["socket", "--help"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .map(drop)
        .map_err(|_not_found| Error::Missing { program: "swtpm", package: "swtpm" })
}

/// The inode of the socket that listens on a loopback port (proc(5), /proc/net/tcp).
fn listener_inode(port: u16) -> Option<String> {
    let address = format!("0100007F:{port:04X}");
    let table = fs::read_to_string("/proc/net/tcp").ok()?;
    table.lines().find_map(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let listens = fields.next() == Some(&address) && fields.nth(1) == Some("0A");
        if listens { fields.nth(5).map(str::to_owned) } else { None }
    })
}

fn sockets_of(pid: u32) -> BTreeSet<String> {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fd")) else { return BTreeSet::new() };
    let targets = entries.flatten().filter_map(|entry| fs::read_link(entry.path()).ok());
    targets
        .filter_map(|target| {
            let name = target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?;
            Some(name.to_owned())
        })
        .collect()
}

fn is_suspended(pid: u32) -> bool {
    // The state follows the command name in parentheses (proc(5), /proc/pid/stat).
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('T'))
}
