//! Whether the plugin behind may be loaded: it becomes code of this process.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use provider_core::{ProviderError, Result};

const WRITABLE_BY_OTHERS: u32 = 0o022;
const STICKY: u32 = 0o1000;

/// Checks that the file, and each directory above it, belongs to root or this process's user and
/// that nobody else can write to it; a directory of root's with the sticky bit is accepted. Links
/// are not followed.
///
/// # Errors
/// `InvalidParameter`, naming the path and what is wrong with it.
pub(crate) fn check(path: &Path) -> Result<()> {
    if !path.is_absolute() {
        return Err(refused(path, "is not an absolute path"));
    }
    for part in path.ancestors() {
        let metadata = fs::symlink_metadata(part)
            .map_err(|error| refused(part, &format!("cannot be looked at: {error}")))?;
        if ![0, rustix::process::geteuid().as_raw()].contains(&metadata.uid()) {
            return Err(refused(part, "belongs to another user than root and this one"));
        }
        if metadata.is_symlink() {
            return Err(refused(part, "is a link; name the file itself"));
        }
        if part == path && !metadata.is_file() {
            return Err(refused(part, "is not a regular file"));
        }
        let sticky = metadata.is_dir() && metadata.uid() == 0 && metadata.mode() & STICKY != 0;
        if metadata.mode() & WRITABLE_BY_OTHERS != 0 && !sticky {
            return Err(refused(part, "can be written by others; chmod go-w"));
        }
    }
    Ok(())
}

fn refused(path: &Path, why: &str) -> ProviderError {
    ProviderError::invalid(format!("plugin: {} {why}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    /// Makes `dir/inner.so` with a mode, and a link to it, and checks one of the two.
    fn check_file(mode: u32, name: &str, expected: Option<&str>) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("inner.so");
        fs::write(&file, b"").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        symlink("inner.so", dir.path().join("link.so")).unwrap();
        match (check(&dir.path().join(name)), expected) {
            (Ok(()), None) => {}
            (Err(error), Some(part)) => assert!(error.detail.contains(part), "{error}"),
            (outcome, _) => panic!("{outcome:?}"),
        }
    }

    #[test]
    fn private_file_passes() {
        check_file(0o755, "inner.so", None);
    }

    #[test]
    fn file_that_others_may_write_is_refused() {
        check_file(0o757, "inner.so", Some("can be written by others"));
    }

    #[test]
    fn link_is_refused() {
        check_file(0o755, "link.so", Some("is a link"));
    }

    #[test]
    fn missing_file_is_named() {
        check_file(0o755, "absent.so", Some("absent.so cannot be looked at"));
    }

    #[test]
    fn directory_is_refused() {
        check_file(0o755, "", Some("is not a regular file"));
    }

    #[test]
    fn relative_path_is_refused() {
        assert!(check(Path::new("inner.so")).unwrap_err().detail.contains("absolute"));
    }
}
