//! The supplementary groups of a socket's other end: one system call that no wrapper crate offers.
#![expect(unsafe_code, reason = "getsockopt(2) with SO_PEERGROUPS has no safe wrapper")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::libc;

const GID_BYTES: usize = size_of::<libc::gid_t>();
/// Enough for nearly every process, so that one call is the rule.
const FIRST_TRY: usize = 64;
/// The kernel's `NGROUPS_MAX`: no process has more groups.
const GROUPS: usize = 65_536;

/// Asks the kernel for the supplementary groups that the other end had when it connected.
///
/// # Errors
/// The answer of the operating system; `ERANGE` when there are more than 65,536 groups, which
/// Linux does not allow.
pub(super) fn of(socket: BorrowedFd<'_>) -> io::Result<Vec<u32>> {
    match read(socket, FIRST_TRY) {
        Err(error) if error.raw_os_error() == Some(libc::ERANGE) => read(socket, GROUPS),
        answer => answer,
    }
}

fn read(socket: BorrowedFd<'_>, room: usize) -> io::Result<Vec<u32>> {
    let mut groups: Vec<libc::gid_t> = vec![0; room];
    let mut bytes = libc::socklen_t::try_from(room * GID_BYTES).map_err(io::Error::other)?;
    // SAFETY: getsockopt(2) asks for
    // 1. an open descriptor: `socket` is borrowed, so its owner keeps it open during the call;
    // 2. `optval` valid for writes of `*optlen` bytes: `groups` has `room` initialized elements of
    //    `GID_BYTES` each, `bytes` is their product, and any bytes written are valid `gid_t`s;
    // 3. `optlen` valid for reads and writes: `bytes` is a local of that type.
    // Neither pointer is kept after the call, and neither aliases the other.
    let status = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERGROUPS,
            groups.as_mut_ptr().cast(),
            &raw mut bytes,
        )
    };
    if status != 0 {
        return Err(io::Error::last_os_error());
    }
    let written = usize::try_from(bytes).map_err(io::Error::other)? / GID_BYTES;
    groups.truncate(written);
    Ok(groups)
}
