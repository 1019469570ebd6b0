//! A private, empty NSS database: a second PKCS#11 token in software (NSS softokn).
//!
//! One process can open one database: give each its own child process.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::Guard;
use crate::{Error, Result};

const TOOL: &str = "certutil";

/// An empty database without a password.
#[derive(Debug)]
pub struct Nss {
    module: PathBuf,
    directory: PathBuf,
    _guard: Guard,
}

impl Nss {
    /// Makes a database in a new directory; it vanishes with this value or this process.
    ///
    /// # Errors
    /// `Missing`: NSS or its tools are not installed. `Start`: the tool failed.
    pub fn start() -> Result<Self> {
        let arch = std::env::consts::ARCH;
        let module = PathBuf::from(format!("/usr/lib/{arch}-linux-gnu/libsoftokn3.so"));
        if !module.exists() {
            return Err(Error::Missing { program: "libsoftokn3.so", package: "libnss3" });
        }
        let guard = Guard::over_new_directory("sealhost-nss-")?;
        let directory = guard.directory().to_owned();
        let output = Command::new(TOOL)
            .args(["-N", "--empty-password", "-d"])
            .arg(format!("sql:{}", directory.display()))
            .output()
            .map_err(|source| match source.kind() {
                io::ErrorKind::NotFound => {
                    Error::Missing { program: TOOL, package: "libnss3-tools" }
                }
                _ => Error::Io { what: format!("run {TOOL}"), source },
            })?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(Error::Start { program: TOOL, said });
        }
        Ok(Self { module, directory, _guard: guard })
    }

    /// The path of the module.
    #[must_use]
    pub fn module_path(&self) -> &Path {
        &self.module
    }

    /// The parameter string that the module takes when it is initialized.
    #[must_use]
    pub fn init_args(&self) -> String {
        format!(
            "configdir='sql:{}' certPrefix='' keyPrefix='' secmod='secmod.db' flags=",
            self.directory.display()
        )
    }

    /// The label of the token that holds keys.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        "NSS Certificate DB"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn database_vanishes_with_its_value() {
        let nss = Nss::start().unwrap();
        let directory = nss.directory.clone();
        assert!(directory.join("key4.db").exists());
        drop(nss);
        assert!(!directory.exists());
    }
}
