//! Private, empty NSS databases: PKCS#11 tokens of a second kind in software (NSS softokn).
//!
//! A process sees the databases of the parameter string that it initialized the module with.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::Guard;
use crate::{Error, Result};

const TOOL: &str = "certutil";
/// The tokens. NSS gives every database one and the same serial number.
const LABELS: [&str; 2] = ["first", "second"];
/// The lowest slot number that NSS leaves to its user.
const FIRST_SLOT: u32 = 4;

/// Two empty databases without a password: the tokens `first` and `second`.
#[derive(Debug)]
pub struct Nss {
    module: PathBuf,
    directory: PathBuf,
    _guard: Guard,
}

impl Nss {
    /// Makes the databases in a new directory; they vanish with this value or this process.
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
        for label in LABELS {
            make_database(&directory.join(label))?;
        }
        Ok(Self { module, directory, _guard: guard })
    }

    /// The path of the module.
    #[must_use]
    pub fn module_path(&self) -> &Path {
        &self.module
    }

    /// The parameter string that the module takes when it is initialized: both databases, each a
    /// token with a slot of its own.
    #[must_use]
    pub fn init_args(&self) -> String {
        let tokens: Vec<_> = (FIRST_SLOT..)
            .zip(LABELS)
            .map(|(slot, label)| {
                let database = self.directory.join(label);
                format!(
                    "0x{slot:x}=[configDir='sql:{}' tokenDescription='{label}' \
                     slotDescription='{label}']",
                    database.display()
                )
            })
            .collect();
        format!("configdir='' flags=noCertDB,noModDB tokens=<{}>", tokens.join(" "))
    }
}

fn make_database(directory: &Path) -> Result<()> {
    fs::create_dir(directory).map_err(Error::io("make a database directory"))?;
    let output = Command::new(TOOL)
        .args(["-N", "--empty-password", "-d"])
        .arg(format!("sql:{}", directory.display()))
        .output()
        .map_err(|source| {
            if source.kind() == io::ErrorKind::NotFound {
                Error::Missing { program: TOOL, package: "libnss3-tools" }
            } else {
                Error::Io { what: format!("run {TOOL}"), source }
            }
        })?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(Error::Start { program: TOOL, said })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn databases_vanish_with_their_value() {
        let nss = Nss::start().unwrap();
        let directory = nss.directory.clone();
        assert!(directory.join("first/key4.db").exists());
        drop(nss);
        assert!(!directory.exists());
    }
}
