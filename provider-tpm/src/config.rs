//! The settings of one instance.

use provider_core::{Result, Secrets, Settings};

use crate::tcti::{self, Tcti};

/// The settings, typed and checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Config {
    /// `tcti`: where the TPM is; default `device:/dev/tpmrm0`.
    pub(crate) tcti: Tcti,
    /// `persist_srk`: keeps the storage root key at 0x81000001 when nothing is there; default no.
    pub(crate) persist_srk: bool,
    /// `session_encryption`: encrypts and authenticates what passes the bus; default yes.
    pub(crate) session_encryption: bool,
    /// `danger_clear_bus`: allows no encryption towards a chip on a bus; default no.
    pub(crate) danger_clear_bus: bool,
    /// `openssl_context`: whether libtss2 shares one private OpenSSL context; default yes.
    pub(crate) private_openssl: bool,
}

impl Config {
    /// Takes the settings; there are no secrets.
    ///
    /// # Errors
    /// `InvalidParameter` with every fault.
    pub(crate) fn new(mut settings: Settings, secrets: Secrets) -> Result<Self> {
        let text = settings.take("tcti").unwrap_or_else(|| tcti::DEFAULT.to_owned());
        let tcti = Tcti::parse(&text);
        if let Err(fault) = &tcti {
            settings.fault(format!("tcti: {fault}"));
        }
        let mut flag = |key: &str, default: bool| {
            settings.take_parsed(key, "true or false").unwrap_or(default)
        };
        let persist_srk = flag("persist_srk", false);
        let session_encryption = flag("session_encryption", true);
        let danger_clear_bus = flag("danger_clear_bus", false);
        let openssl = settings.take("openssl_context");
        let private_openssl = match openssl.as_deref() {
            None | Some("private") => true,
            Some("stock") => false,
            Some(_) => {
                settings.fault("openssl_context must be private or stock");
                true
            }
        };
        settings.finish()?;
        secrets.finish()?;
        let tcti = tcti.map_err(provider_core::ProviderError::invalid)?;
        Ok(Self { tcti, persist_srk, session_encryption, danger_clear_bus, private_openssl })
    }
}

#[cfg(test)]
mod tests {
    use provider_core::SecretBytes;

    use super::*;

    fn check(entries: &[(&str, &str)], expected: std::result::Result<&str, &str>) {
        let settings = Settings::new(entries.iter().copied());
        match (Config::new(settings, Secrets::default()), expected) {
            (Ok(config), Ok(tcti)) => assert_eq!(config.tcti.text, tcti),
            (Err(error), Err(words)) => assert!(error.detail.contains(words), "{error}"),
            (seen, _) => panic!("{seen:?}"),
        }
    }

    #[test]
    fn nothing_given_is_the_default() {
        let config = Config::new(Settings::default(), Secrets::default()).unwrap();
        assert!(config.session_encryption && config.private_openssl);
        assert!(!config.persist_srk && !config.danger_clear_bus);
        check(&[], Ok("device:/dev/tpmrm0"));
    }

    #[test]
    fn all_faults_come_at_once() {
        let entries = [("tcti", "x"), ("persist_srk", "yes"), ("openssl_context", "mine")];
        for words in ["tcti: \"x\"", "persist_srk must be true", "openssl_context must be"] {
            check(&entries, Err(words));
        }
    }

    #[test]
    fn unknown_setting_is_refused() {
        check(&[("tcit", "device")], Err("tcit is not a setting"));
    }

    #[test]
    fn secret_is_refused() {
        let secrets = Secrets::new([("pin", SecretBytes::copy_of(b"1"))]);
        assert!(Config::new(Settings::default(), secrets).is_err());
    }
}
