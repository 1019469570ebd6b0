//! The settings and secrets of an instance.

use std::ffi::CString;
use std::path::{Path, PathBuf};

use provider_core::{ProviderError, Result, Secrets, Settings};

use crate::module_file;
use crate::pin::Pin;
use crate::uri::TokenUri;

/// Sessions when the operator does not say.
const SESSIONS_DEFAULT: u32 = 4;
/// Most sessions of an instance.
const SESSIONS_MAX: u32 = 64;
/// Longest parameter string, bytes.
const INIT_ARGS_MAX_BYTES: usize = 4096;

/// What an operator configured, checked.
#[derive(Debug)]
pub(crate) struct Config {
    /// The module, links resolved, safe to load.
    pub(crate) module: PathBuf,
    pub(crate) token: TokenUri,
    /// Sessions that work at a time, from 1.
    pub(crate) sessions: u32,
    pub(crate) init_args: Option<CString>,
    pub(crate) pin: Option<Pin>,
}

impl Config {
    /// Reads `module`, `token`, `sessions`, `init_args` and the secret `pin`.
    ///
    /// # Limits
    /// `sessions` 1 to 64, 4 by default; `init_args` 4,096 bytes without NUL.
    ///
    /// # Errors
    /// `InvalidParameter`, with every fault.
    pub(crate) fn read(mut settings: Settings, mut secrets: Secrets) -> Result<Self> {
        let module = required(&mut settings, "module", |path| {
            module_file::check(Path::new(path)).map_err(|error| error.detail)
        });
        let token = required(&mut settings, "token", |text| {
            TokenUri::parse(text).map_err(|why| format!("token: {why}"))
        });
        let range = "a number from 1 to 64";
        let sessions = settings.take_parsed("sessions", range).unwrap_or(SESSIONS_DEFAULT);
        if !(1..=SESSIONS_MAX).contains(&sessions) {
            settings.fault(format!("sessions must be {range}"));
        }
        let init_args = optional(&mut settings, "init_args", |text| match CString::new(text) {
            Ok(text) if text.count_bytes() <= INIT_ARGS_MAX_BYTES => Ok(text),
            _ => Err(format!("init_args must be at most {INIT_ARGS_MAX_BYTES} bytes without NUL")),
        });
        settings.finish()?;
        let pin = secrets.take("pin").map(|pin| Pin::mask(&pin)).transpose()?;
        secrets.finish()?;
        let (Some(module), Some(token)) = (module, token) else {
            return Err(ProviderError::invalid("module and token are needed"));
        };
        Ok(Self { module, token, sessions, init_args, pin })
    }
}

/// Takes and parses a setting; notes its fault, or that it is missing.
fn required<T>(
    settings: &mut Settings,
    key: &str,
    parse: impl FnOnce(&str) -> std::result::Result<T, String>,
) -> Option<T> {
    let text = settings.take(key);
    if text.is_none() {
        settings.fault(format!("{key} is missing"));
    }
    parse(&text?).map_err(|fault| settings.fault(fault)).ok()
}

/// Takes and parses a setting; notes its fault.
fn optional<T>(
    settings: &mut Settings,
    key: &str,
    parse: impl FnOnce(&str) -> std::result::Result<T, String>,
) -> Option<T> {
    let text = settings.take(key)?;
    parse(&text).map_err(|fault| settings.fault(fault)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(entries: &[(&str, &str)], expected: std::result::Result<u32, &str>) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("module.so");
        std::fs::write(&file, b"").unwrap();
        let module = file.to_str().unwrap();
        let entries = [("module", module), ("token", "pkcs11:token=a")]
            .into_iter()
            .chain(entries.iter().copied());
        match (Config::read(Settings::new(entries), Secrets::default()), expected) {
            (Ok(config), Ok(sessions)) => assert_eq!(config.sessions, sessions),
            (Err(error), Err(part)) => assert!(error.detail.contains(part), "{error}"),
            (outcome, _) => panic!("{outcome:?}"),
        }
    }

    #[test]
    fn sessions_are_four_when_nothing_is_said() {
        check(&[], Ok(4));
    }

    #[test]
    fn sessions_at_the_limits_pass() {
        check(&[("sessions", "1")], Ok(1));
        check(&[("sessions", "64")], Ok(64));
    }

    #[test]
    fn sessions_past_the_limits_are_refused() {
        check(&[("sessions", "0")], Err("sessions must be"));
        check(&[("sessions", "65")], Err("sessions must be"));
    }

    #[test]
    fn init_args_at_the_limit_pass_and_one_past_are_refused() {
        check(&[("init_args", &"x".repeat(4096))], Ok(4));
        check(&[("init_args", &"x".repeat(4097))], Err("init_args must be"));
        check(&[("init_args", "a\0b")], Err("init_args must be"));
    }

    #[test]
    fn every_fault_is_told_at_once() {
        let settings = Settings::new([("module", "x.so"), ("token", "edge"), ("slot", "1")]);
        let error = Config::read(settings, Secrets::default()).unwrap_err();
        for part in ["absolute path", "begin with pkcs11:", "slot is not a setting"] {
            assert!(error.detail.contains(part), "{error}");
        }
    }

    #[test]
    fn empty_module_is_refused() {
        let settings = Settings::new([("module", ""), ("token", "pkcs11:token=a")]);
        assert!(Config::read(settings, Secrets::default()).is_err());
    }

    #[test]
    fn unknown_secret_is_refused() {
        let secrets = Secrets::new([("so-pin", provider_core::SecretBytes::copy_of(b"1"))]);
        let settings = Settings::new([("module", "/bin/sh"), ("token", "pkcs11:token=a")]);
        assert!(Config::read(settings, secrets).unwrap_err().detail.starts_with("so-pin"));
    }
}
