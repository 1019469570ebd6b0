//! Where results go: a file, whole or not at all, or standard output.

use std::convert::Infallible;
use std::fs::File;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::Args;
use tempfile::NamedTempFile;

use crate::exit::Failure;
use crate::screen;

/// Where a result goes.
#[derive(Args, Clone, Debug)]
pub(crate) struct Sink {
    /// File to write, mode 0600; `-` for standard output
    #[arg(long, short, value_name = "FILE")]
    out: Option<Target>,
    /// Replace the file when it is there already
    #[arg(long, requires = "out")]
    force: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Target {
    Stdout,
    File(PathBuf),
}

impl FromStr for Target {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(if text == "-" { Self::Stdout } else { Self::File(text.into()) })
    }
}

/// Whether a result may be shown on a terminal without being asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Show {
    Yes,
    /// It is secret, or not text.
    WhenAsked,
}

impl Sink {
    /// Refuses what [`Sink::write`] would refuse, before anything is asked of the host.
    pub(crate) fn check(&self, show: Show) -> Result<(), Failure> {
        match &self.out {
            None if show == Show::WhenAsked && io::stdout().is_terminal() => Err(Failure::usage(
                "the result would be shown on the terminal",
                "give --out FILE, or --out - to show it",
            )),
            None | Some(Target::Stdout) => Ok(()),
            Some(Target::File(path)) => self.check_file(path),
        }
    }

    /// Writes the result.
    pub(crate) fn write(&self, bytes: &[u8]) -> Result<(), Failure> {
        match &self.out {
            None | Some(Target::Stdout) => screen::print(bytes),
            Some(Target::File(path)) => {
                self.check_file(path)?;
                self.write_file(path, bytes).map_err(|error| {
                    if error.kind() == io::ErrorKind::AlreadyExists {
                        return exists(path);
                    }
                    Failure::usage(
                        format!("cannot write {}: {error}", path.display()),
                        "check the directory and who may write to it",
                    )
                })
            }
        }
    }

    /// A device or a link is never replaced by a file.
    fn check_file(&self, path: &Path) -> Result<(), Failure> {
        match path.symlink_metadata() {
            Ok(found) if !found.is_file() => Err(Failure::usage(
                format!("{} is there and not a regular file", path.display()),
                "give another path, or write to standard output and redirect it",
            )),
            Ok(_) if !self.force => Err(exists(path)),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// Writes a file of mode 0600 beside the path, and puts it there once it is on disk.
    fn write_file(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let directory = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            Some(_) | None => Path::new("."),
        };
        let mut file = tempfile::Builder::new().prefix(".sealctl-").tempfile_in(directory)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        let put =
            if self.force { NamedTempFile::persist } else { NamedTempFile::persist_noclobber };
        put(file, path).map_err(|error| error.error)?;
        File::open(directory)?.sync_all()
    }
}

fn exists(path: &Path) -> Failure {
    Failure::usage(
        format!("{} is there already", path.display()),
        "give another path, or --force to replace it",
    )
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn sink(path: &Path, force: bool) -> Sink {
        Sink { out: Some(Target::File(path.to_owned())), force }
    }

    fn check(path: &Path, force: bool, reason: &str) {
        let Failure::Usage { what, .. } = sink(path, force).write(b"new").unwrap_err() else {
            panic!("another failure")
        };
        assert!(what.contains(reason), "{what}");
    }

    #[test]
    fn file_is_written_with_mode_0600_and_nothing_beside_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("f");
        sink(&path, false).write(b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn file_that_is_there_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("f");
        fs::write(&path, b"old").unwrap();
        check(&path, false, "is there already");
        assert_eq!(fs::read(&path).unwrap(), b"old");
    }

    #[test]
    fn file_that_is_there_is_replaced_by_force_with_mode_0600() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("f");
        fs::write(&path, b"old").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        sink(&path, true).write(b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
    }

    #[test]
    fn file_that_appears_after_the_check_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("f");
        fs::write(&path, b"old").unwrap();
        let error = sink(&path, false).write_file(&path, b"new").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn link_and_directory_are_not_replaced_even_by_force() {
        let directory = tempfile::tempdir().unwrap();
        let link = directory.path().join("link");
        std::os::unix::fs::symlink(directory.path().join("f"), &link).unwrap();
        check(&link, true, "not a regular file");
        check(directory.path(), true, "not a regular file");
        check(Path::new("/dev/null"), true, "not a regular file");
    }

    #[test]
    fn directory_that_is_not_there_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        check(&directory.path().join("none/f"), false, "cannot write");
    }
}
