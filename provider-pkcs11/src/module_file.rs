//! Whether a module file may be loaded: it becomes code of this process, so nobody but root and
//! this process's own user may be able to change or replace it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use provider_core::{ProviderError, Result};

/// Links that are followed before it is called a loop.
const LINKS_MAX: usize = 40;
const WRITABLE_BY_OTHERS: u32 = 0o022;
const STICKY: u32 = 0o1000;

/// Checks a module's path and returns the file that it leads to.
///
/// The file, each directory above it and each link on the way must be owned by root or by this
/// process's effective user. The file and the directories must not be writable by group or others;
/// a directory of root's with the sticky bit (such as `/tmp`) is accepted.
///
/// # Errors
/// `InvalidParameter`, naming the offending path and what is wrong with it.
pub(crate) fn check(path: &Path) -> Result<PathBuf> {
    if !path.is_absolute() {
        return Err(ProviderError::invalid("module must be an absolute path"));
    }
    let mut path = path.to_owned();
    for _ in 0..LINKS_MAX {
        match first_link(&path)? {
            Some(resolved) => path = resolved,
            None if path.is_file() => return Ok(path),
            None => return Err(refused(&path, "is not a regular file")),
        }
    }
    Err(refused(&path, "leads through too many links"))
}

/// Walks down from the root. At the first link, returns the path with the link replaced by its
/// target; what stands above it was checked, and what it leads to is checked by the next walk.
fn first_link(path: &Path) -> Result<Option<PathBuf>> {
    let mut ancestors: Vec<_> = path.ancestors().collect();
    ancestors.reverse();
    for ancestor in ancestors {
        let metadata = fs::symlink_metadata(ancestor)
            .map_err(|error| refused(ancestor, &format!("cannot be looked at: {error}")))?;
        if !is_trusted_owner(metadata.uid(), rustix::process::geteuid().as_raw()) {
            return Err(refused(ancestor, "belongs to another user than root and this one"));
        }
        if metadata.file_type().is_symlink() {
            let target = fs::read_link(ancestor)
                .map_err(|error| refused(ancestor, &format!("cannot be read: {error}")))?;
            let below = path.strip_prefix(ancestor).unwrap_or_else(|_| Path::new(""));
            let directory = ancestor.parent().unwrap_or_else(|| Path::new("/"));
            let mut resolved = directory.join(target);
            if below != Path::new("") {
                resolved.push(below);
            }
            return Ok(Some(resolved));
        }
        let sticky = metadata.is_dir() && metadata.uid() == 0 && metadata.mode() & STICKY != 0;
        if metadata.mode() & WRITABLE_BY_OTHERS != 0 && !sticky {
            return Err(refused(ancestor, "can be written by others; chmod go-w"));
        }
    }
    Ok(None)
}

const fn is_trusted_owner(owner: u32, ours: u32) -> bool {
    owner == 0 || owner == ours
}

fn refused(path: &Path, why: &str) -> ProviderError {
    ProviderError::invalid(format!("module: {} {why}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    /// Makes `dir/module.so` with the modes, then checks the path that `name` makes of `dir`.
    fn check_modes(dir_mode: u32, file_mode: u32, name: &str, expected: Option<&str>) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("module.so");
        fs::write(&file, b"").unwrap();
        symlink("module.so", dir.path().join("link.so")).unwrap();
        symlink("loop.so", dir.path().join("loop.so")).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(file_mode)).unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(dir_mode)).unwrap();
        match (check(&dir.path().join(name)), expected) {
            (Ok(path), None) => assert_eq!(path, file),
            (Err(error), Some(part)) => assert!(error.detail.contains(part), "{error}"),
            (outcome, _) => panic!("{outcome:?}"),
        }
    }

    #[test]
    fn private_file_passes() {
        check_modes(0o755, 0o644, "module.so", None);
    }

    #[test]
    fn link_to_a_private_file_passes_as_the_file() {
        check_modes(0o755, 0o644, "link.so", None);
    }

    #[test]
    fn file_that_others_may_write_is_refused() {
        check_modes(0o755, 0o646, "module.so", Some("can be written by others"));
    }

    #[test]
    fn file_that_the_group_may_write_is_refused() {
        check_modes(0o755, 0o664, "link.so", Some("can be written by others"));
    }

    #[test]
    fn directory_that_others_may_write_is_refused() {
        check_modes(0o757, 0o644, "module.so", Some("can be written by others"));
    }

    #[test]
    fn loop_of_links_is_refused() {
        check_modes(0o755, 0o644, "loop.so", Some("too many links"));
    }

    #[test]
    fn missing_file_is_named() {
        check_modes(0o755, 0o644, "absent.so", Some("absent.so cannot be looked at"));
    }

    #[test]
    fn directory_is_refused() {
        check_modes(0o755, 0o644, "", Some("is not a regular file"));
    }

    #[test]
    fn relative_path_is_refused() {
        assert!(check(Path::new("module.so")).unwrap_err().detail.contains("absolute"));
    }

    #[test]
    fn owners_are_root_and_this_user_only() {
        assert!(is_trusted_owner(0, 1000));
        assert!(is_trusted_owner(1000, 1000));
        assert!(!is_trusted_owner(1001, 1000));
        assert!(!is_trusted_owner(1000, 0));
    }
}
