//! The daemon's Unix stream socket: taken from systemd, or bound here so that nobody can reach it
//! before its owner, group and mode are set.
//!
//! Who connects is `peer`'s matter, and what is said on the connection the front-end's.

use std::fs::Metadata;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::unistd::Group;
use rustix::fs::{Gid, Mode};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use tokio::net::UnixListener;

use crate::trust::{TrustError, check_parent, quoted};

mod activated;

pub use activated::Activated;

/// Longest path of a socket, in bytes: unix(7), `sun_path` less its final zero.
pub const SOCKET_PATH_BYTES: usize = 107;

/// Connections that may wait to be accepted; the kernel takes the lesser of this and
/// `net.core.somaxconn`.
const BACKLOG: i32 = 1024;
const PERMISSIONS: u32 = 0o777;

/// Where a daemon listens and who may connect.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Endpoint {
    /// The path of the socket.
    pub path: PathBuf,
    /// Its permission bits; write permission is what lets a user connect.
    pub mode: u32,
    /// The group that it is given to, by name; none leaves the daemon's own.
    pub group: Option<String>,
}

/// Why the daemon does not listen; each message ends in what to do.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The directory of the socket is not trustworthy.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The path is longer than a socket address.
    #[error("socket path {} of {bytes} bytes exceeds limit of {SOCKET_PATH_BYTES}; choose a shorter one", quoted(.path))]
    PathTooLong {
        /// The path.
        path: PathBuf,
        /// Its length.
        bytes: usize,
    },
    /// The mode has other bits than permissions.
    #[error("socket mode {mode:#o} is not a permission; use at most 0777, usually 0660")]
    Mode {
        /// The mode.
        mode: u32,
    },
    /// The group does not exist on this machine.
    #[error("there is no group {group:?}; create it (groupadd --system {group}) or name another")]
    NoSuchGroup {
        /// The name of the group.
        group: String,
    },
    /// Something that is no socket has the name; it is left alone.
    #[error("{} is there and is not a socket; remove it if nobody needs it, or name another path", quoted(.path))]
    NotASocket {
        /// The path.
        path: PathBuf,
    },
    /// A process answers on the socket.
    #[error("another process answers on {}; stop it, or name another path", quoted(.path))]
    InUse {
        /// The path.
        path: PathBuf,
    },
    /// What systemd passed is not a listening Unix stream socket.
    #[error(
        "the socket passed by the service manager does not fit: {detail}; use ListenStream= with a path"
    )]
    Activation {
        /// What was found.
        detail: String,
    },
    /// The operating system refused a step.
    #[error("the socket {} cannot be {verb}; check the directory's owner and mode", quoted(.path))]
    Io {
        /// The path.
        path: PathBuf,
        /// What was tried, as a participle: `bound`, `given its mode`.
        verb: &'static str,
        /// The answer of the operating system.
        source: io::Error,
    },
}

/// The file of a bound socket: removed when this is dropped.
///
/// A file that somebody else has put in its place meanwhile stays.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

/// Takes the socket of this name that the service manager passed, or listens at `endpoint`.
///
/// What was passed stays when the daemon ends; what was bound goes with its [`SocketFile`].
///
/// # Limits
/// As [`bind`].
///
/// # Errors
/// See [`ListenError`].
pub fn open(
    activated: &mut Activated,
    name: &str,
    endpoint: &Endpoint,
) -> Result<(UnixListener, Option<SocketFile>), ListenError> {
    match activated.take(name)? {
        Some(listener) => Ok((listener, None)),
        None => bind(endpoint).map(|(listener, file)| (listener, Some(file))),
    }
}

/// Listens at `endpoint`.
///
/// A socket file whose daemon is gone is replaced; anything else of that name is an error and is
/// left as it is. The socket is bound under a private name, given its group and mode, and only
/// then renamed, so that it is never reachable with other permissions. Two daemons must be kept
/// apart by the lock on their directory: this does not arbitrate between them.
///
/// Called inside a tokio runtime. After failure nothing is left behind.
///
/// # Limits
/// 107 bytes of path, 1,024 connections waiting to be accepted.
///
/// # Errors
/// See [`ListenError`].
pub fn bind(endpoint: &Endpoint) -> Result<(UnixListener, SocketFile), ListenError> {
    if endpoint.mode & !PERMISSIONS != 0 {
        return Err(ListenError::Mode { mode: endpoint.mode });
    }
    let group = endpoint.group.as_deref().map(|name| group_id(name, &endpoint.path)).transpose()?;
    let path = check_parent(&endpoint.path)?;
    let draft = path.with_file_name(draft_name());
    fits(&path)?;
    fits(&draft)?;
    clear_stale(&path)?;
    clear_stale(&draft)?;

    let socket = bound(&draft)?;
    let file = SocketFile::at(&draft)?;
    let failed = |verb| move |error: Errno| io_error(&endpoint.path, verb)(error.into());
    if let Some(group) = group {
        rustix::fs::chown(&draft, None, Some(group)).map_err(failed("given its group"))?;
    }
    rustix::fs::chmod(&draft, Mode::from_raw_mode(endpoint.mode))
        .map_err(failed("given its mode"))?;
    rustix::net::listen(&socket, BACKLOG).map_err(failed("listened on"))?;
    rustix::fs::rename(&draft, &path).map_err(failed("given its name"))?;
    let file = file.renamed(path);
    let listener = UnixListener::from_std(socket.into())
        .map_err(io_error(&endpoint.path, "handed to the runtime"))?;
    Ok((listener, file))
}

/// A name that only this process uses and that is short, for the path has a limit.
fn draft_name() -> String {
    format!(".{:x}", std::process::id())
}

fn fits(path: &Path) -> Result<(), ListenError> {
    let bytes = path.as_os_str().len();
    if bytes > SOCKET_PATH_BYTES {
        return Err(ListenError::PathTooLong { path: path.into(), bytes });
    }
    Ok(())
}

fn group_id(name: &str, path: &Path) -> Result<Gid, ListenError> {
    let found =
        Group::from_name(name).map_err(|error| io_error(path, "given its group")(error.into()))?;
    match found {
        Some(group) => Ok(Gid::from_raw(group.gid.as_raw())),
        None => Err(ListenError::NoSuchGroup { group: name.into() }),
    }
}

/// Removes a socket file on which nobody answers.
fn clear_stale(path: &Path) -> Result<(), ListenError> {
    let meta = match std::fs::symlink_metadata(path) {
        Ok(meta) => meta,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(io_error(path, "examined")(error)),
    };
    if !meta.file_type().is_socket() {
        return Err(ListenError::NotASocket { path: path.into() });
    }
    let failed = |verb| move |error: Errno| io_error(path, verb)(error.into());
    let probe = stream_socket().map_err(failed("tried"))?;
    let address = SocketAddrUnix::new(path).map_err(failed("tried"))?;
    match rustix::net::connect(&probe, &address) {
        Err(Errno::CONNREFUSED) => {}
        // A full queue is a sign of life, and so is a socket of another type.
        Ok(()) | Err(Errno::AGAIN | Errno::PROTOTYPE) => {
            return Err(ListenError::InUse { path: path.into() });
        }
        Err(error) => return Err(failed("tried")(error)),
    }
    std::fs::remove_file(path).map_err(io_error(path, "removed"))
}

fn bound(path: &Path) -> Result<OwnedFd, ListenError> {
    let failed = |error: Errno| io_error(path, "bound")(error.into());
    let socket = stream_socket().map_err(failed)?;
    let address = SocketAddrUnix::new(path).map_err(failed)?;
    rustix::net::bind(&socket, &address).map_err(failed)?;
    Ok(socket)
}

fn stream_socket() -> Result<OwnedFd, Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
}

fn io_error(path: &Path, verb: &'static str) -> impl FnOnce(io::Error) -> ListenError {
    move |source| ListenError::Io { path: path.into(), verb, source }
}

impl SocketFile {
    fn at(path: &Path) -> Result<Self, ListenError> {
        let meta = std::fs::symlink_metadata(path).map_err(io_error(path, "examined"))?;
        Ok(Self { path: path.into(), device: meta.dev(), inode: meta.ino() })
    }

    fn renamed(mut self, path: PathBuf) -> Self {
        self.path = path;
        self
    }

    /// Returns where the socket is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn is(&self, meta: &Metadata) -> bool {
        meta.dev() == self.device && meta.ino() == self.inode
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let ours = std::fs::symlink_metadata(&self.path).is_ok_and(|meta| self.is(&meta));
        if ours && let Err(error) = std::fs::remove_file(&self.path) {
            tracing::warn!(path = %quoted(&self.path), %error, "the socket file stays behind");
        }
    }
}

#[cfg(test)]
mod tests;
