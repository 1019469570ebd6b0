//! The key files of an aziot Key Service: which there are, whose they are, and what is in them.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{SHA256, digest};
use rustix::fs::{Mode, OFlags};
use zeroize::Zeroizing;

use super::config::{Keyd, Location};

/// Longest file that is read, in bytes: the PEM of an RSA pair of 16,384 bits.
const FILE_MAX_BYTES: u64 = 16 * 1024;

/// The key with which the service authenticates its handles. Nobody needs it any more.
pub(super) const HANDLE_KEY: &str = "handle-validation-key";

/// A key of the service, or what may be one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// `None`: it cannot be told whose file it is.
    pub(super) id: Option<String>,
    pub(super) place: Place,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    File(PathBuf),
    /// A PKCS#11 token.
    Token,
    /// What the configuration says is not understood.
    Unknown,
    /// No file has it.
    Nowhere,
}

/// Finds the preloaded keys and the files of a key directory, and names of both what can be named.
/// `asked` are ids that somebody named; one that has no file is found nowhere.
pub(super) fn find(keyd: &Keyd, directory: &Path, asked: &[&str]) -> io::Result<Vec<Found>> {
    let preloaded = keyd.preloaded.iter().map(|(id, location)| {
        let place = match location {
            Location::File(path) => Place::File(path.clone()),
            Location::Token => Place::Token,
            Location::Unknown => Place::Unknown,
        };
        Found { id: Some(id.clone()), place }
    });
    let mut found: Vec<_> = preloaded.collect();
    let known: Vec<_> = keyd.ids().chain(asked.iter().copied()).chain([HANDLE_KEY]).collect();
    for path in listed(directory)? {
        let id = path.file_name().and_then(|name| id_of(name.to_str()?, &known));
        // The service does not look at the file of a key that it has elsewhere.
        if id.as_deref().is_none_or(|id| keyd.preloaded.iter().all(|(other, _)| other != id)) {
            found.push(Found { id, place: Place::File(path) });
        }
    }
    for id in asked {
        if found.iter().all(|found| found.id.as_deref() != Some(*id)) {
            found.push(Found { id: Some((*id).to_owned()), place: Place::Nowhere });
        }
    }
    Ok(found)
}

/// What is in a directory, by name. One that is not there has nothing in it.
fn listed(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<PathBuf>>>()?;
    paths.sort();
    Ok(paths)
}

/// The id of the key of a file name, `LETTERS-SHA256.key`: the letters and digits of the id, then
/// the digest of all of it. One of the `known`, or made of letters and digits alone.
fn id_of(name: &str, known: &[&str]) -> Option<String> {
    let (letters, hash) = name.strip_suffix(".key")?.rsplit_once('-')?;
    let mut candidates = known.iter().copied().chain([letters]);
    candidates.find(|id| hex_digest(id) == hash).map(str::to_owned)
}

fn hex_digest(id: &str) -> String {
    let digest = digest(&SHA256, id.as_bytes());
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A file that was read, to be told from another one that takes its place.
#[derive(Debug)]
pub(super) struct Content {
    pub(super) bytes: Zeroizing<Vec<u8>>,
    inode: (u64, u64),
}

/// Reads a file. Links are not followed.
pub(super) fn read(path: &Path) -> io::Result<Content> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    let found = file.metadata()?;
    if !found.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    let mut bytes = Zeroizing::new(Vec::new());
    file.take(FILE_MAX_BYTES.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_MAX_BYTES {
        return Err(io::Error::other(format!("it exceeds limit of {FILE_MAX_BYTES} bytes")));
    }
    Ok(Content { bytes, inode: (found.dev(), found.ino()) })
}

/// Removes a file that was read, for good when this returns.
pub(super) fn remove(path: &Path, content: &Content) -> io::Result<()> {
    let found = path.symlink_metadata()?;
    if (found.dev(), found.ino()) != content.inode {
        return Err(io::Error::other("another file took its place"));
    }
    std::fs::remove_file(path)?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().as_bytes().is_empty());
    File::open(parent.unwrap_or_else(|| Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, known: &[&str], id: Option<&str>) {
        assert_eq!(id_of(name, known).as_deref(), id, "{name}");
    }

    fn name(letters: &str, id: &str) -> String {
        format!("{letters}-{}.key", hex_digest(id))
    }

    #[test]
    fn id_of_letters_and_digits_is_told_by_the_name() {
        check(&name("mysymmtestkey", "mysymmtestkey"), &[], Some("mysymmtestkey"));
    }

    #[test]
    fn other_id_is_told_when_it_is_known() {
        check(&name("mykey1", "my-key/1"), &["a", "my-key/1"], Some("my-key/1"));
        check(&name("mykey1", "my-key/1"), &["a"], None);
    }

    #[test]
    fn other_file_has_no_id() {
        for other in ["", "a.key", "-.key", "README", &name("a", "b")] {
            check(other, &["a"], None);
        }
    }

    #[test]
    fn file_at_the_limit_is_read_and_a_longer_one_or_a_link_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("f");
        std::fs::write(&path, vec![7; 16 * 1024]).unwrap();
        assert_eq!(read(&path).unwrap().bytes.len(), 16 * 1024);
        let link = directory.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(read(&link).is_err() && read(directory.path()).is_err());
        std::fs::write(&path, vec![7; 16 * 1024 + 1]).unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("exceeds limit"));
    }

    #[test]
    fn file_that_took_the_place_of_another_is_not_removed() {
        let directory = tempfile::tempdir().unwrap();
        let (path, other) = (directory.path().join("f"), directory.path().join("g"));
        std::fs::write(&path, "a").unwrap();
        std::fs::write(&other, "b").unwrap();
        let content = read(&path).unwrap();
        std::fs::rename(&other, &path).unwrap();
        assert!(remove(&path, &content).is_err() && path.exists());
        let content = read(&path).unwrap();
        remove(&path, &content).unwrap();
        assert!(!path.exists());
    }
}
