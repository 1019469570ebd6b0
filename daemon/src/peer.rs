//! Who is at the other end of a Unix socket, in the kernel's words.
//!
//! A [`Peer`] is what the kernel says about the end of a connection; a [`Principal`] is a peer
//! that [`authenticate`] took for a caller. Only that function makes one, so that a stage which
//! asks for a principal cannot be reached without it. What a principal may do is not known here.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;

mod peer_groups;
mod unit;

pub use unit::{UNIT_NAME_BYTES, UnitName, Unknowable, knowable};

/// The uid that no process has: the kernel's "no such user", `(uid_t) -1`.
const NO_UID: u32 = u32::MAX;
const NO_GID: u32 = u32::MAX;

/// The unauthenticated other end of a connection.
///
/// Taken by the kernel at the time of connect(2): a process that changes its user later, or hands
/// the connection to another, is still who it was then. Its unit is that of the moment when this
/// is asked, if the process has not ended by then.
#[derive(Debug)]
pub struct Peer {
    uid: u32,
    gid: u32,
    groups: Vec<u32>,
    pid: Option<u32>,
    unit: Option<UnitName>,
}

/// Why nobody can be held to be at the other end.
#[derive(Debug, thiserror::Error)]
pub enum AuthnError {
    /// The kernel names no user for this socket.
    #[error("the other end of the connection has no user")]
    Nobody,
    /// The kernel does not tell.
    #[error("the other end of the connection cannot be examined")]
    Io(#[from] io::Error),
}

impl Peer {
    /// Asks the kernel who connected this stream socket.
    ///
    /// # Errors
    /// The answer of the operating system when the socket is not a connected Unix socket.
    ///
    /// # Spec
    /// unix(7): `SO_PEERCRED`; `SO_PEERGROUPS` for the supplementary groups, `SO_PEERPIDFD` (Linux
    /// 6.5) for the process whose unit is asked for.
    pub fn of(socket: impl AsFd) -> io::Result<Self> {
        let socket = socket.as_fd();
        let credentials =
            nix::sys::socket::getsockopt(&socket, nix::sys::socket::sockopt::PeerCredentials)?;
        // A process outside our pid namespace shows as 0.
        let pid = u32::try_from(credentials.pid()).ok().filter(|pid| *pid != 0);
        Ok(Self {
            uid: credentials.uid(),
            gid: credentials.gid(),
            groups: peer_groups::of(socket)?,
            pid,
            unit: unit::of(socket, pid),
        })
    }
}

/// An authenticated caller: a user, its groups, and the process that connected.
///
/// Clones are cheap. Two principals are equal when the kernel said the same about both.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Principal {
    uid: u32,
    gid: u32,
    groups: Arc<[u32]>,
    pid: Option<u32>,
    unit: Option<UnitName>,
}

/// Takes a peer for a caller, on the kernel's word.
///
/// # Errors
/// [`AuthnError::Nobody`]: the kernel gave no user or no group, as for a socket that was never
/// connected.
pub fn authenticate(peer: Peer) -> Result<Principal, AuthnError> {
    if peer.uid == NO_UID || peer.gid == NO_GID {
        return Err(AuthnError::Nobody);
    }
    let Peer { uid, gid, mut groups, pid, unit } = peer;
    groups.sort_unstable();
    groups.dedup();
    Ok(Principal { uid, gid, groups: groups.into(), pid, unit })
}

impl Principal {
    /// Returns the effective user id at the time of the connection.
    #[must_use]
    pub fn uid(&self) -> u32 {
        self.uid
    }

    /// Returns the effective (primary) group id at the time of the connection.
    #[must_use]
    pub fn gid(&self) -> u32 {
        self.gid
    }

    /// Returns the supplementary groups, in ascending order, each once.
    #[must_use]
    pub fn groups(&self) -> &[u32] {
        &self.groups
    }

    /// Returns the process id, where this daemon's pid namespace has one.
    ///
    /// For the record only: the process may have ended and its number may be another's by now.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.pid
    }

    /// Returns the unit of the system manager that the process belonged to when the connection was
    /// accepted, where that can be known.
    #[must_use]
    pub fn unit(&self) -> Option<&UnitName> {
        self.unit.as_ref()
    }

    /// Tells whether `gid` is the primary or a supplementary group.
    #[must_use]
    pub fn is_in_group(&self, gid: u32) -> bool {
        self.gid == gid || self.groups.binary_search(&gid).is_ok()
    }
}

#[cfg(test)]
mod tests;
