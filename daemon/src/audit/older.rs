//! The older files of a rotated audit: their names, and how a file becomes one of them.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD};
use wire::audit::{older_first, older_name};

use crate::trust::sync_parent;

/// An older file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OlderFile {
    /// The sequence of its first line, as its name says.
    pub first: u64,
    /// Where it is.
    pub path: PathBuf,
}

/// Finds the older files of the audit at `path`, by rising sequence. Files of other names that
/// begin alike are no such files.
///
/// # Errors
/// The operating system's: the directory cannot be read.
pub fn older_files(path: &Path) -> io::Result<Vec<OlderFile>> {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else { return Ok(Vec::new()) };
    // The parent of a bare name is an empty path.
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if let Some(first) = older_first(entry.file_name().as_bytes(), name.as_bytes()) {
            found.push(OlderFile { first, path: path.with_file_name(entry.file_name()) });
        }
    }
    found.sort();
    Ok(found)
}

fn older_path(path: &Path, first: u64) -> PathBuf {
    PathBuf::from(OsString::from_vec(older_name(path.as_os_str().as_bytes(), first)))
}

/// Where the file that is written is, by its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// At its path.
    Here,
    /// Elsewhere: another program moved it.
    Moved,
    /// Nowhere: another program removed it.
    Removed,
}

pub(super) fn place(path: &Path, file: &File) -> io::Result<Place> {
    let ours = file.metadata()?;
    if ours.nlink() == 0 {
        return Ok(Place::Removed);
    }
    match fs::symlink_metadata(path) {
        Ok(there) if (there.dev(), there.ino()) == (ours.dev(), ours.ino()) => Ok(Place::Here),
        Ok(_) => Ok(Place::Moved),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Place::Moved),
        Err(error) => Err(error),
    }
}

/// Gives a file at its path the name of an older one.
pub(super) fn set_aside(path: &Path, first: u64) -> io::Result<()> {
    let older = older_path(path, first);
    // Nobody else may make files here, so that nothing comes between.
    if fs::symlink_metadata(&older).is_ok() {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "an older file has this name"));
    }
    fs::rename(path, older)
}

/// Takes [`set_aside`] back.
pub(super) fn put_back(path: &Path, first: u64) -> io::Result<()> {
    fs::rename(older_path(path, first), path)
}

/// Gives a file that another program moved away the name of an older one too.
pub(super) fn name_moved(path: &Path, file: &File, first: u64) -> io::Result<()> {
    let older = older_path(path, first);
    let from = format!("/proc/self/fd/{}", file.as_raw_fd());
    match rustix::fs::linkat(CWD, from, CWD, &older, AtFlags::SYMLINK_FOLLOW) {
        Ok(()) => sync_parent(&older),
        // From a try that came no further.
        Err(rustix::io::Errno::EXIST) if place(&older, file)? == Place::Here => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn older_files_are_found_by_rising_sequence() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        for name in ["a.000000000020", "a.000000000003", "a", "a.1", "b.000000000001"] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        let firsts = older_files(&path).unwrap().into_iter().map(|it| it.first);
        assert_eq!(firsts.collect::<Vec<_>>(), [3, 20]);
    }
}
