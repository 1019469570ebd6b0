//! Sockets that systemd opened before it started the daemon.

use std::os::fd::RawFd;
use std::{fmt, fs, io};

use listenfd::ListenFd;
use rustix::net::sockopt::socket_acceptconn;
use tokio::net::UnixListener;

use super::ListenError;

/// The sockets that the service manager passed, none when there is no service manager.
pub struct Activated {
    sockets: ListenFd,
    names: Vec<String>,
}

impl Activated {
    /// Takes the passed sockets over from the environment, and closes every other descriptor that
    /// this process was started with, so that neither it nor its children can be reached by one.
    ///
    /// Called first in `main`, before any thread exists or anything is opened: it removes
    /// `LISTEN_PID` and `LISTEN_FDS` so that no child believes the sockets to be its own, and
    /// closes them on exec. The standard streams stay.
    ///
    /// # Errors
    /// [`ListenError::Activation`]: the variables contradict each other or the descriptors, or
    /// these cannot be listed.
    ///
    /// # Spec
    /// sd_listen_fds(3).
    pub fn from_env() -> Result<Self, ListenError> {
        let unfit = |detail: String| ListenError::Activation { detail };
        let names: Vec<String> = sd_notify::listen_fds_with_names()
            .map_err(|error| unfit(error.to_string()))?
            .map(|(_, name)| name)
            .collect();
        // Taken even when empty, for it is what clears the environment.
        let passed = ListenFd::from_env();
        let sockets = if names.is_empty() { ListenFd::empty() } else { passed };
        let passed_end = FIRST_PASSED.saturating_add(i32::try_from(names.len()).unwrap_or(0));
        close_others(passed_end)
            .map_err(|error| unfit(format!("inherited descriptors cannot be listed: {error}")))?;
        Ok(Self { sockets, names })
    }

    /// Takes the socket called `name` (`FileDescriptorName=` in the socket unit), or the only one.
    ///
    /// Returns none when the service manager passed no socket at all. Its file belongs to the
    /// service manager and is not removed by the daemon. Called inside a tokio runtime.
    ///
    /// # Errors
    /// [`ListenError::Activation`]: several sockets and none of that name, or the socket is not a
    /// Unix stream socket that listens.
    pub fn take(&mut self, name: &str) -> Result<Option<UnixListener>, ListenError> {
        let unfit = |detail: String| ListenError::Activation { detail };
        let index = match self.names.as_slice() {
            [] => return Ok(None),
            [_] => 0,
            names => names.iter().position(|known| known == name).ok_or_else(|| {
                unfit(format!("none of {} sockets has FileDescriptorName={name}", names.len()))
            })?,
        };
        let taken =
            self.sockets.take_unix_listener(index).map_err(|error| unfit(error.to_string()))?;
        let Some(listener) = taken else {
            return Err(unfit(format!("{name} was taken before")));
        };
        if !socket_acceptconn(&listener).unwrap_or(false) {
            return Err(unfit(format!("{name} does not listen")));
        }
        listener.set_nonblocking(true).map_err(|error| unfit(error.to_string()))?;
        UnixListener::from_std(listener).map(Some).map_err(|error| unfit(error.to_string()))
    }
}

/// The first descriptor after the standard streams; passed sockets begin here.
const FIRST_PASSED: RawFd = 3;

/// Closes every descriptor from this one on.
fn close_others(first: RawFd) -> io::Result<()> {
    let mut inherited = Vec::new();
    for entry in fs::read_dir("/proc/self/fd")? {
        let number = entry?.file_name().to_str().and_then(|name| name.parse().ok());
        inherited.extend(number.filter(|number: &RawFd| *number >= first));
    }
    for descriptor in inherited {
        // One of them was the listing's own, and is closed already.
        let _ = nix::unistd::close(descriptor);
    }
    Ok(())
}

impl fmt::Debug for Activated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Activated").field("names", &self.names).finish_non_exhaustive()
    }
}
