//! Which files a daemon may rely on: owned by root or by the daemon's user, and not otherwise
//! writable, they and every directory above them.
//!
//! Only names, owners and modes are looked at here; what the files hold is their readers' matter.
//! A write permission given by a POSIX access list shows in the group bits and is refused too.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Mode, OFlags};

mod private;
mod quote;

pub(crate) use private::sync_parent;
pub use private::{DirLock, LockError, create_secret, lock_dir, private_dir};
pub(crate) use quote::quoted;

/// Most symbolic links followed in one path, as in the kernel (path_resolution(7)).
pub const SYMLINKS: usize = 40;

const WRITABLE_BY_OTHERS: u32 = 0o022;
const OPEN_TO_OTHERS: u32 = 0o077;
const STICKY: u32 = 0o1000;

/// Why a path is not relied upon; each message ends in what to do.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// A component belongs to somebody else.
    #[error(
        "{} is owned by uid {owner}, not by root or uid {wanted}; run: chown -h {wanted} {}",
        quoted(.path), quoted(.path)
    )]
    Owner {
        /// The component.
        path: PathBuf,
        /// Who owns it.
        owner: u32,
        /// Who may own it besides root.
        wanted: u32,
    },
    /// A component can be written by its group or by others.
    #[error(
        "{} can be written by group or others (mode {mode:04o}); run: chmod go-w {}",
        quoted(.path), quoted(.path)
    )]
    Writable {
        /// The component.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A secret file can be read by its group or by others.
    #[error(
        "{} holds a secret and is open to group or others (mode {mode:04o}); run: chmod 0600 {}",
        quoted(.path), quoted(.path)
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A component is of another kind than wanted.
    #[error("{} is not {wanted}; give the path of {wanted}", quoted(.path))]
    Kind {
        /// The component.
        path: PathBuf,
        /// `a directory` or `a regular file`.
        wanted: &'static str,
    },
    /// More than [`SYMLINKS`] symbolic links in one path.
    #[error(
        "{} goes through more than {SYMLINKS} symbolic links; give the path that it ends at",
        quoted(.path)
    )]
    Symlinks {
        /// The path as it was given.
        path: PathBuf,
    },
    /// The operating system refused a look at, or the making of, a component.
    #[error("{} cannot be {verb}; check that it exists and that this user may do so", quoted(.path))]
    Io {
        /// The component.
        path: PathBuf,
        /// What was tried, as a participle: `examined`, `opened`.
        verb: &'static str,
        /// The answer of the operating system.
        source: io::Error,
    },
}

/// Checks that `path`, and every directory and symbolic link on the way to it, is owned by root
/// or the daemon's effective user and not writable by anybody else.
///
/// Returns the path without symbolic links, `.` and `..`. Nobody but root and this user can then
/// change what it names. A directory above that is owned by root and sticky, such as `/tmp`, is
/// accepted; `path` itself gets no such leave.
///
/// # Limits
/// 40 symbolic links; one more is [`TrustError::Symlinks`].
///
/// # Errors
/// The first component at fault, from the root on, and what to do about it.
pub fn check_trusted(path: &Path) -> Result<PathBuf, TrustError> {
    check_owned(path, effective_uid())
}

/// Checks the directories above `path` as [`check_trusted`] does; `path` itself may be absent.
///
/// Returns the trusted directory, free of symbolic links, joined with the last part of `path`.
///
/// # Errors
/// As [`check_trusted`]; [`TrustError::Kind`] also when `path` has no last part, as `/` or `..`.
pub fn check_parent(path: &Path) -> Result<PathBuf, TrustError> {
    let whole = std::path::absolute(path).map_err(io_error(path, "examined"))?;
    let (Some(parent), Some(name)) = (whole.parent(), whole.file_name()) else {
        return Err(TrustError::Kind { path: whole, wanted: "a name inside a directory" });
    };
    let uid = effective_uid();
    let parent = resolve(parent, uid)?;
    accept_as_parent(&parent, &lstat(&parent)?, uid)?;
    Ok(parent.join(name))
}

/// Opens a regular file for reading after [`check_trusted`], and checks the opened file again.
///
/// # Errors
/// As [`check_trusted`]; [`TrustError::Kind`] when it is not a regular file.
pub fn open_trusted(path: &Path) -> Result<File, TrustError> {
    let path = check_trusted(path)?;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let opened = rustix::fs::open(&path, flags, Mode::empty())
        .map_err(|error| io_error(&path, "opened")(error.into()))?;
    let file = File::from(opened);
    let meta = file.metadata().map_err(io_error(&path, "examined"))?;
    if !meta.is_file() {
        return Err(TrustError::Kind { path, wanted: "a regular file" });
    }
    accept(&path, &meta, effective_uid())?;
    Ok(file)
}

/// Opens a file that holds a secret: [`open_trusted`], and only its owner may read it.
///
/// # Errors
/// As [`open_trusted`]; [`TrustError::Exposed`] when group or others have any permission.
///
/// # Secrets
/// What the returned file holds; whoever reads it zeroizes it.
pub fn open_secret(path: &Path) -> Result<File, TrustError> {
    let file = open_trusted(path)?;
    let meta = file.metadata().map_err(io_error(path, "examined"))?;
    if meta.mode() & OPEN_TO_OTHERS != 0 {
        return Err(TrustError::Exposed { path: path.into(), mode: permissions(&meta) });
    }
    Ok(file)
}

fn check_owned(path: &Path, uid: u32) -> Result<PathBuf, TrustError> {
    let path = resolve(path, uid)?;
    accept(&path, &lstat(&path)?, uid)?;
    Ok(path)
}

/// Walks from the root, one component at a time, and checks each directory before it is passed.
fn resolve(path: &Path, uid: u32) -> Result<PathBuf, TrustError> {
    let given = std::path::absolute(path).map_err(io_error(path, "examined"))?;
    let mut left = components(&given);
    let mut reached = PathBuf::from("/");
    let mut links = 0_usize;
    while let Some(part) = left.pop_front() {
        if part == ".." {
            reached.pop();
            continue;
        }
        accept_as_parent(&reached, &lstat(&reached)?, uid)?;
        let next = reached.join(&part);
        let meta = lstat(&next)?;
        if !meta.is_symlink() {
            reached = next;
            continue;
        }
        links += 1;
        if links > SYMLINKS {
            return Err(TrustError::Symlinks { path: given });
        }
        // A link has no mode of its own; whoever owns it decides where it leads.
        owned(&next, &meta, uid)?;
        let target = std::fs::read_link(&next).map_err(io_error(&next, "examined"))?;
        if target.is_absolute() {
            reached = PathBuf::from("/");
        }
        for part in components(&target).into_iter().rev() {
            left.push_front(part);
        }
    }
    Ok(reached)
}

fn components(path: &Path) -> VecDeque<OsString> {
    path.components()
        .filter_map(|part| match part {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some(OsString::from("..")),
            Component::Prefix(_) | Component::RootDir | Component::CurDir => None,
        })
        .collect()
}

fn accept_as_parent(path: &Path, meta: &Metadata, uid: u32) -> Result<(), TrustError> {
    if !meta.is_dir() {
        return Err(TrustError::Kind { path: path.into(), wanted: "a directory" });
    }
    // In a sticky directory only a file's owner can rename or remove it.
    if meta.uid() == 0 && meta.mode() & STICKY != 0 {
        return Ok(());
    }
    accept(path, meta, uid)
}

fn accept(path: &Path, meta: &Metadata, uid: u32) -> Result<(), TrustError> {
    owned(path, meta, uid)?;
    if meta.mode() & WRITABLE_BY_OTHERS != 0 {
        return Err(TrustError::Writable { path: path.into(), mode: permissions(meta) });
    }
    Ok(())
}

fn owned(path: &Path, meta: &Metadata, uid: u32) -> Result<(), TrustError> {
    if meta.uid() == 0 || meta.uid() == uid {
        return Ok(());
    }
    Err(TrustError::Owner { path: path.into(), owner: meta.uid(), wanted: uid })
}

fn permissions(meta: &Metadata) -> u32 {
    meta.mode() & 0o7777
}

fn lstat(path: &Path) -> Result<Metadata, TrustError> {
    std::fs::symlink_metadata(path).map_err(io_error(path, "examined"))
}

fn effective_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

fn io_error(path: &Path, verb: &'static str) -> impl FnOnce(io::Error) -> TrustError {
    move |source| TrustError::Io { path: path.into(), verb, source }
}

#[cfg(test)]
mod tests;
