//! What a daemon keeps for itself: its directory, the lock on it, and files with secrets.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use super::{
    OPEN_TO_OTHERS, TrustError, check_parent, check_trusted, effective_uid, io_error, quoted,
    resolve,
};

const LOCK_FILE: &str = "lock";
const LOCK_POLL: Duration = Duration::from_millis(10);

/// Makes `path` a directory that only the daemon's user can enter, mode 0700.
///
/// Creates it when it is absent, and takes the permissions of group and others away when they
/// have some. Directories above it are checked and never made. Returns the path without symbolic
/// links.
///
/// # Errors
/// As [`check_trusted`]; [`TrustError::Owner`] also when root owns it and the daemon is not root.
pub fn private_dir(path: &Path) -> Result<PathBuf, TrustError> {
    let path = check_parent(path)?;
    match rustix::fs::mkdir(&path, Mode::RWXU) {
        Ok(()) => sync_parent(&path).map_err(io_error(&path, "created"))?,
        Err(Errno::EXIST) => {}
        Err(error) => return Err(io_error(&path, "created")(error.into())),
    }
    let path = resolve(&path, effective_uid())?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = match rustix::fs::open(&path, flags, Mode::empty()) {
        Ok(opened) => File::from(opened),
        Err(Errno::NOTDIR | Errno::LOOP) => {
            return Err(TrustError::Kind { path, wanted: "a directory" });
        }
        Err(error) => return Err(io_error(&path, "opened")(error.into())),
    };
    let meta = opened.metadata().map_err(io_error(&path, "examined"))?;
    let wanted = effective_uid();
    if meta.uid() != wanted {
        return Err(TrustError::Owner { path, owner: meta.uid(), wanted });
    }
    if meta.mode() & OPEN_TO_OTHERS != 0 {
        rustix::fs::fchmod(&opened, Mode::RWXU)
            .map_err(|error| io_error(&path, "made private")(error.into()))?;
    }
    check_trusted(&path)
}

/// Why a directory could not be locked.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process holds the lock.
    #[error(
        "{} is in use by another daemon{}; stop that one, or give this one a directory of its own",
        quoted(.dir), .holder.as_ref().map(|pid| format!(", process {pid}")).unwrap_or_default()
    )]
    Held {
        /// The directory.
        dir: PathBuf,
        /// The process id of the holder, where it could be read.
        holder: Option<u32>,
    },
    /// The lock file could not be opened, locked or written.
    #[error("the lock in {} cannot be taken; check the directory's owner and free space", quoted(.dir))]
    Io {
        /// The directory.
        dir: PathBuf,
        /// The answer of the operating system.
        source: io::Error,
    },
}

/// The right to use a directory alone, until it is dropped or the process ends.
#[derive(Debug)]
pub struct DirLock {
    file: File,
}

impl DirLock {
    /// Lets every process that is started from now on hold the lock too, so that the directory is
    /// in use until the last of them has ended.
    ///
    /// # Errors
    /// The system's.
    pub fn share_with_children(&self) -> io::Result<()> {
        Ok(rustix::io::fcntl_setfd(&self.file, rustix::io::FdFlags::empty())?)
    }
}

/// Takes the exclusive lock on a directory of the daemon.
///
/// The lock is flock(2) on the file `lock` inside, which stays there. Child processes started by
/// exec do not inherit it, unless it is shared with them, and the kernel gives it back when the
/// process dies.
///
/// A holder is waited for, up to `patience`: it may have died and its children be finishing.
///
/// # Errors
/// [`LockError::Held`]: another process has it. [`LockError::Io`]: the file cannot be used.
pub fn lock_dir(dir: &Path, patience: Duration) -> Result<DirLock, LockError> {
    let until = Instant::now() + patience;
    loop {
        match try_lock_dir(dir) {
            Err(LockError::Held { .. }) if Instant::now() < until => std::thread::sleep(LOCK_POLL),
            outcome => return outcome,
        }
    }
}

fn try_lock_dir(dir: &Path) -> Result<DirLock, LockError> {
    let failed = |source: io::Error| LockError::Io { dir: dir.into(), source };
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let opened = rustix::fs::open(dir.join(LOCK_FILE), flags, Mode::RUSR | Mode::WUSR)
        .map_err(|error| failed(error.into()))?;
    let mut file = File::from(opened);
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => {
            let mut text = String::new();
            let holder = (&mut file)
                .take(16)
                .read_to_string(&mut text)
                .ok()
                .and_then(|_| text.trim().parse().ok());
            return Err(LockError::Held { dir: dir.into(), holder });
        }
        Err(error) => return Err(failed(error.into())),
    }
    file.set_len(0).map_err(failed)?;
    file.write_all(format!("{}\n", std::process::id()).as_bytes()).map_err(failed)?;
    Ok(DirLock { file })
}

/// Creates the file `path` with `content`, readable by its owner only, once and for all.
///
/// After success the file, mode 0600, survives a power cut; after failure or a crash there is no
/// file of that name. It is written under another name (`.NAME.new`, left over only by a crash
/// and replaced by the next try) and renamed, so that nobody ever sees a part of it. The caller
/// holds the lock on the directory.
///
/// # Errors
/// As [`check_parent`]; [`TrustError::Io`] with kind `AlreadyExists` when the name is taken.
///
/// # Secrets
/// `content`, zeroized by the caller.
pub fn create_secret(path: &Path, content: &[u8]) -> Result<(), TrustError> {
    let path = check_parent(path)?;
    let draft = path.with_file_name(draft_name(path.file_name().unwrap_or_default()));
    match std::fs::remove_file(&draft) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(io_error(&draft, "removed")(error)),
    }
    let written = write_draft(&draft, content).and_then(|()| publish(&draft, &path));
    written.map_err(io_error(&path, "created"))
}

fn draft_name(name: &OsStr) -> OsString {
    let mut draft = OsString::from(".");
    draft.push(name);
    draft.push(".new");
    draft
}

fn write_draft(draft: &Path, content: &[u8]) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let mut file = File::from(rustix::fs::open(draft, flags, Mode::RUSR | Mode::WUSR)?);
    file.write_all(content).and_then(|()| file.sync_all()).inspect_err(|_| discard(draft))
}

fn publish(draft: &Path, path: &Path) -> io::Result<()> {
    let here = rustix::fs::CWD;
    rustix::fs::renameat_with(here, draft, here, path, RenameFlags::NOREPLACE)
        .inspect_err(|_| discard(draft))?;
    sync_parent(path).inspect_err(|_| discard(path))
}

fn discard(path: &Path) {
    if let Err(error) = std::fs::remove_file(path) {
        tracing::warn!(path = %quoted(path), %error, "an unfinished file could not be removed");
    }
}

/// Makes the creation, renaming or removal of `path` survive a power cut.
pub(crate) fn sync_parent(path: &Path) -> io::Result<()> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => Path::new("."),
    };
    File::open(parent)?.sync_all()
}
