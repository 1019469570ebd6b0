//! Who says the password: a file, or whoever makes tokens.

use std::fmt;
use std::io::Read;
use std::path::PathBuf;

use zeroize::{Zeroize, Zeroizing};

use crate::pending::Pending;

/// Longest password, in bytes: what a text of MQTT can hold is more.
pub const PASSWORD_MAX_BYTES: u64 = 16 * 1024;

/// Gives the password for each new connection, so that a token with an end is made anew.
pub trait Credentials: fmt::Debug + Send + Sync {
    /// The password now; none where the broker asks for none.
    ///
    /// # Errors
    /// There is one, and it cannot be had now. No connection is made then.
    ///
    /// # Secrets
    /// The result, wiped when dropped.
    fn password(&self) -> Pending<'_, Result<Option<Zeroizing<String>>, CredentialsError>>;
}

/// Why there is no password. The message ends with what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no password for the broker: {0}")]
pub struct CredentialsError(pub String);

/// No password.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoPassword;

impl Credentials for NoPassword {
    fn password(&self) -> Pending<'_, Result<Option<Zeroizing<String>>, CredentialsError>> {
        Box::pin(async { Ok(None) })
    }
}

/// A file of mode 0600 that holds the password, read anew for each connection. One line break at
/// its end is not part of the password.
///
/// # Limits
/// 16,384 bytes, of UTF-8.
#[derive(Clone, Debug)]
pub struct PasswordFile(pub PathBuf);

impl PasswordFile {
    fn read(&self) -> Result<Zeroizing<String>, CredentialsError> {
        let fail = |reason: String| {
            CredentialsError(format!("{reason}; put it into {}, mode 0600", self.0.display()))
        };
        let file = daemon::trust::open_secret(&self.0).map_err(|error| fail(error.to_string()))?;
        // With room for all of it, so that no copy is left behind by growth.
        let room = usize::try_from(PASSWORD_MAX_BYTES).unwrap_or_default().saturating_add(1);
        let mut bytes = Zeroizing::new(Vec::with_capacity(room.saturating_add(1)));
        file.take(PASSWORD_MAX_BYTES.saturating_add(1))
            .read_to_end(&mut bytes)
            .map_err(|error| fail(error.to_string()))?;
        if bytes.len() >= room {
            return Err(fail(format!("it exceeds limit of {PASSWORD_MAX_BYTES} bytes")));
        }
        if bytes.last() == Some(&b'\n') {
            bytes.pop();
        }
        let password = String::from_utf8(std::mem::take(&mut *bytes)).map_err(|error| {
            error.into_bytes().zeroize();
            fail("it is not UTF-8".to_owned())
        })?;
        Ok(Zeroizing::new(password))
    }
}

impl Credentials for PasswordFile {
    fn password(&self) -> Pending<'_, Result<Option<Zeroizing<String>>, CredentialsError>> {
        Box::pin(async { self.read().map(Some) })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[track_caller]
    fn check(content: &[u8], mode: u32, password: Result<&str, &str>) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("password");
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        match (PasswordFile(path).read(), password) {
            (Ok(found), Ok(password)) => assert_eq!(found.as_str(), password),
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
            (found, _) => panic!("{:?}", found.map(|it| it.len())),
        }
    }

    #[test]
    fn password_is_the_file_without_its_last_line_break() {
        check(b"pass word\n", 0o600, Ok("pass word"));
        check(b"pass\n\n", 0o400, Ok("pass\n"));
        check(b"pass", 0o600, Ok("pass"));
    }

    #[test]
    fn file_that_others_can_read_is_refused() {
        check(b"pass", 0o644, Err("open to group or others"));
    }

    #[test]
    fn file_that_is_not_utf8_is_refused_without_its_content() {
        check(b"marker\xff", 0o600, Err("it is not UTF-8"));
    }

    #[test]
    fn password_at_limit_is_read_and_one_past_it_refused() {
        let limit = usize::try_from(PASSWORD_MAX_BYTES).unwrap();
        let longest = "p".repeat(limit);
        check(longest.as_bytes(), 0o600, Ok(&longest));
        check(&vec![b'p'; limit + 1], 0o600, Err("exceeds limit of 16384 bytes"));
    }
}
