//! A private PKCS#11 token in software (SoftHSM v2).
//!
//! The module reads `SOFTHSM2_CONF` from the environment of the process that loads it, once, when
//! it is initialized. A process therefore sees one token store: give each its own child process
//! (the host's workers are such) with [`SoftHsm::conf_path`] in its environment. A child that has
//! to pull the token or count its objects attaches to the store of its parent.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::Guard;
use crate::{Error, Result};

const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";
const TOOL: &str = "softhsm2-util";
const PACKAGE: &str = "softhsm2";
/// The security officer's PIN. The stores are private and short-lived: nobody needs to keep it.
const SO_PIN: &str = "sealhost-fixture-so";

/// A token store with one or more tokens.
#[derive(Debug)]
pub struct SoftHsm {
    directory: PathBuf,
    label: String,
    /// Absent where the store is another process's.
    _guard: Option<Guard>,
}

impl SoftHsm {
    /// Makes a token in a new store; the store vanishes with this value or this process.
    ///
    /// The tool takes PINs as arguments only, so the PIN is visible to this machine's processes
    /// while it runs (some milliseconds); what is kept is a file of mode 0600.
    ///
    /// # Errors
    /// `Missing`: SoftHSM is not installed. `Start`: the tool refused the label or the PIN (4 to
    /// 255 bytes). `Io`: a file could not be written.
    pub fn start(label: &str, pin: &str) -> Result<Self> {
        if !Path::new(MODULE).exists() {
            return Err(Error::Missing { program: "libsofthsm2.so", package: PACKAGE });
        }
        let guard = Guard::over_new_directory("sealhost-softhsm-")?;
        let directory = guard.directory().to_owned();
        let hsm = Self { directory, label: label.to_owned(), _guard: Some(guard) };
        fs::create_dir(hsm.tokens()).map_err(Error::io("make the token directory"))?;
        let conf = format!(
            "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n",
            hsm.tokens().display()
        );
        fs::write(hsm.conf_path(), conf).map_err(Error::io("write softhsm2.conf"))?;
        fs::write(hsm.directory.join("label"), label).map_err(Error::io("write the label"))?;
        hsm.add_token(label, pin)?;
        write_secret(&hsm.pin_file(), pin).map_err(Error::io("write the PIN file"))?;
        Ok(hsm)
    }

    /// Reaches the store that another process started in `directory`, and leaves it there.
    ///
    /// # Errors
    /// `Io`: there is no such store.
    pub fn attach(directory: &Path) -> Result<Self> {
        let label = fs::read_to_string(directory.join("label"))
            .map_err(Error::io("read the label of the token store"))?;
        Ok(Self { directory: directory.to_owned(), label, _guard: None })
    }

    /// Makes another token in the same store. A module that is initialized already does not see it.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn add_token(&self, label: &str, pin: &str) -> Result<()> {
        self.init_token(&["--free", "--label", label], pin)
    }

    /// Initializes the token anew, as C_InitToken does: label and serial number stay, every object
    /// goes. A module that is initialized already does not see it at once.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn initialize_anew(&self, pin: &str) -> Result<()> {
        self.init_token(&["--token", &self.label, "--label", &self.label], pin)
    }

    fn init_token(&self, which: &[&str], pin: &str) -> Result<()> {
        let output = Command::new(TOOL)
            .arg("--init-token")
            .args(which)
            .args(["--pin", pin, "--so-pin", SO_PIN])
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("SOFTHSM2_CONF", self.conf_path())
            .output()
            .map_err(|source| {
                if source.kind() == io::ErrorKind::NotFound {
                    Error::Missing { program: TOOL, package: PACKAGE }
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

    /// The path of the module.
    #[must_use]
    pub const fn module_path(&self) -> &'static str {
        MODULE
    }

    /// The store's configuration: the value of `SOFTHSM2_CONF`.
    #[must_use]
    pub fn conf_path(&self) -> PathBuf {
        self.directory.join("softhsm2.conf")
    }

    /// Where the store is, for [`attach`](Self::attach).
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The first token's label.
    #[must_use]
    pub fn label(&self) -> &str {
        &self.label
    }

    /// A file of mode 0600 with the first token's PIN and nothing else.
    #[must_use]
    pub fn pin_file(&self) -> PathBuf {
        self.directory.join("pin")
    }

    /// How many objects the tokens of the store hold, begun and never finished ones included.
    ///
    /// # Errors
    /// `Io`: the store cannot be read.
    pub fn objects(&self) -> Result<usize> {
        Ok(self.object_files()?.len())
    }

    /// How many objects the tokens hold that have an id, which SoftHSM writes with an object's
    /// value: what it began and was killed over has neither.
    ///
    /// # Errors
    /// `Io`: the store cannot be read.
    pub fn identified_objects(&self) -> Result<usize> {
        let mut identified = 0;
        for file in self.object_files()? {
            let bytes = fs::read(file).map_err(Error::io("read an object file"))?;
            identified += usize::from(has_id(&bytes));
        }
        Ok(identified)
    }

    /// Removes every object from the tokens, behind the back of whoever uses them.
    ///
    /// # Errors
    /// `Io`: a file cannot be removed.
    pub fn destroy_objects(&self) -> Result<()> {
        for file in self.object_files()? {
            fs::remove_file(&file).map_err(Error::io("remove an object file"))?;
        }
        Ok(())
    }

    /// Pulls the tokens out: moves their directory away and leaves an empty one.
    ///
    /// # Errors
    /// `Io`: they are away already, or the directory cannot be moved.
    pub fn remove_token(&self) -> Result<()> {
        fs::rename(self.tokens(), self.removed()).map_err(Error::io("move the tokens away"))?;
        fs::create_dir(self.tokens()).map_err(Error::io("make an empty token directory"))
    }

    /// Puts back what [`remove_token`](Self::remove_token) took.
    ///
    /// # Errors
    /// `Io`: nothing was taken, or the store holds something else by now.
    pub fn restore_token(&self) -> Result<()> {
        fs::remove_dir(self.tokens()).map_err(Error::io("remove the empty token directory"))?;
        fs::rename(self.removed(), self.tokens()).map_err(Error::io("move the tokens back"))
    }

    fn tokens(&self) -> PathBuf {
        self.directory.join("tokens")
    }

    fn removed(&self) -> PathBuf {
        self.directory.join("removed")
    }

    /// The files of all objects. One file is the token itself.
    fn object_files(&self) -> Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        for token in entries(&self.tokens())? {
            files.extend(entries(&token)?.into_iter().filter(|file| {
                file.extension().is_some_and(|extension| extension == "object")
                    && file.file_stem().is_some_and(|stem| stem != "token")
            }));
        }
        Ok(files)
    }
}

/// Whether an object file has a `CKA_ID` that is not empty: the attribute's number, the mark of a
/// byte string, and its length, each of eight bytes, as SoftHSM 2 writes them.
fn has_id(object: &[u8]) -> bool {
    let begin = [0x102_u64.to_be_bytes(), 3_u64.to_be_bytes()].concat();
    let found = object.windows(24).find(|window| window.starts_with(&begin));
    found.is_some_and(|window| !window.ends_with(&[0; 8]))
}

fn entries(directory: &Path) -> Result<Vec<PathBuf>> {
    fs::read_dir(directory)
        .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect())
        .map_err(Error::io(format!("read {}", directory.display())))
}

fn write_secret(path: &Path, text: &str) -> io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;

    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn store_vanishes_with_its_value() {
        let hsm = SoftHsm::start("fixture", "12345678").unwrap();
        let directory = hsm.directory().to_owned();
        assert_eq!(hsm.objects().unwrap(), 0);
        assert_eq!(fs::read_to_string(hsm.pin_file()).unwrap(), "12345678");
        drop(hsm);
        assert!(!directory.exists());
    }

    #[test]
    fn removed_token_comes_back_whole() {
        let hsm = SoftHsm::start("fixture", "12345678").unwrap();
        let before = entries(&hsm.tokens()).unwrap();
        hsm.remove_token().unwrap();
        assert_eq!(entries(&hsm.tokens()).unwrap(), Vec::<PathBuf>::new());
        hsm.restore_token().unwrap();
        assert_eq!(entries(&hsm.tokens()).unwrap(), before);
    }

    #[test]
    fn attached_store_outlives_the_attached_value() {
        let hsm = SoftHsm::start("fixture", "12345678").unwrap();
        let attached = SoftHsm::attach(hsm.directory()).unwrap();
        assert_eq!(attached.label(), "fixture");
        drop(attached);
        assert!(hsm.conf_path().exists());
    }

    #[test]
    fn refused_pin_is_told_in_the_words_of_the_tool() {
        let error = SoftHsm::start("fixture", "1").unwrap_err();
        assert!(matches!(error, Error::Start { program: TOOL, .. }), "{error:?}");
    }
}
