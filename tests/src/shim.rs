//! A PKCS#11 module in front of SoftHSM that notes each call and does to it what a test says: what
//! SoftHSM never does (flags of a PIN, a device that is removed, a hang) and how often a PIN was
//! shown, which no token tells.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use swtpm_fixtures::SoftHsm;
use tempfile::TempDir;

use crate::process;

/// A built module with its journal and its control file, in a directory of its own.
#[derive(Debug)]
pub struct Shim {
    dir: TempDir,
    real: &'static str,
}

/// Some functions of the module from one call to another, counted from when the rule is given.
pub const ALWAYS: (u32, u32) = (1, u32::MAX);
/// The next call.
pub const ONCE: (u32, u32) = (1, 1);

impl Shim {
    /// Builds one in front of a token's module. It shows 1 as the firmware version of its tokens.
    #[must_use]
    pub fn over(hsm: &SoftHsm) -> Self {
        let dir = tempfile::Builder::new().prefix("sealhost-shim-").tempdir().unwrap();
        let shim = Self { dir, real: hsm.module_path() };
        shim.replace(1);
        shim
    }

    /// Puts another version in the place of the module, by a rename.
    pub fn replace(&self, version: u8) {
        let next = self.dir.path().join("next.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("shim/shim.c");
        let output = Command::new("cc")
            .args(["-std=gnu11", "-shared", "-fPIC", "-fvisibility=hidden", "-O1", "-pthread"])
            .args(["-Wall", "-Werror", "-o"])
            .args([&next, &source])
            .arg(format!("-DSHIM_VERSION={version}"))
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        fs::rename(next, self.module()).unwrap();
    }

    /// The module's file.
    #[must_use]
    pub fn module(&self) -> PathBuf {
        self.dir.path().join("shim.so")
    }

    /// A provider on a token through this module: its section.
    #[must_use]
    pub fn provider(&self, name: &str, hsm: &SoftHsm, more: &str) -> String {
        let file = |name: &str| self.dir.path().join(name).display().to_string();
        format!(
            "name = \"{name}\"\nplugin = \"provider_pkcs11\"\n\
             [provider.settings]\nmodule = \"{}\"\ntoken = \"pkcs11:token={}\"\n\
             pin_source = \"file:{}\"\n\
             [provider.env]\nSOFTHSM2_CONF = \"{}\"\nSHIM_MODULE = \"{}\"\n\
             SHIM_JOURNAL = \"{}\"\nSHIM_CONTROL = \"{}\"\n\
             [provider.sandbox]\nwrite = [\"{}\", \"{}\"]\n{more}",
            self.module().display(),
            hsm.label(),
            hsm.pin_file().display(),
            hsm.conf_path().display(),
            self.real,
            file("journal"),
            file("control"),
            self.dir.path().display(),
            hsm.directory().display(),
        )
    }

    /// Says what happens from now on, in place of what was said before: functions, which of their
    /// calls, what is done to them, and its number (see `shim.c`).
    pub fn control(&self, rules: &[(&str, (u32, u32), &str, u64)]) {
        let since = fs::metadata(self.dir.path().join("journal")).map_or(0, |it| it.len());
        let mut text = format!("{since}\n");
        for (function, (from, to), action, number) in rules {
            text += &format!("{function} {from} {to} {action} {number}\n");
        }
        let next = self.dir.path().join("control.next");
        fs::write(&next, text).unwrap();
        fs::rename(next, self.dir.path().join("control")).unwrap();
    }

    /// How often a function was called since the control was given.
    #[must_use]
    pub fn calls(&self, function: &str) -> usize {
        let control = process::read(&self.dir.path().join("control"));
        let since: usize = control.lines().next().map_or(0, |line| line.parse().unwrap());
        let journal = process::read(&self.dir.path().join("journal"));
        journal[since..].lines().filter(|line| *line == function).count()
    }
}
