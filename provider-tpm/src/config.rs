//! The settings of one instance.

use std::ops::RangeInclusive;
use std::time::Duration;

use provider_core::{Result, Secrets, Settings};

use crate::range::{COUNTERS_DEFAULT, HandleRange, OWNER_NV, OWNER_PERSISTENT};
use crate::tcti::{self, Tcti};

/// Uses of a key from which on it is a hot one. Never 1: the self test would be hot.
const PERSIST_AFTER: RangeInclusive<u64> = 2..=1_000_000;
const PERSIST_AFTER_DEFAULT: u64 = 100;
/// Seconds between two changes of the persistent objects.
const PERSIST_INTERVAL_S: RangeInclusive<u64> = 0..=86_400;
const PERSIST_INTERVAL_DEFAULT_S: u64 = 600;

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
    /// `persist_keys` and what belongs to it: keeps hot keys at persistent handles; default no.
    pub(crate) persist_keys: Option<PersistKeys>,
    /// `counters`: the NV indices at which counters are made; 0x01820000 to 0x0182000f by
    /// default, none when empty.
    pub(crate) counters: Option<HandleRange>,
    /// `openssl_context`: whether libtss2 shares one private OpenSSL context; default yes.
    pub(crate) private_openssl: bool,
}

/// How hot keys are kept at persistent handles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PersistKeys {
    /// `persist_keys`: the handles that may be used.
    pub(crate) range: HandleRange,
    /// `persist_after`: from how many uses since the opening on a key is hot.
    pub(crate) after: u64,
    /// `persist_interval`: how long after the opening, and after each change, the next one may
    /// come; a TPM's memory wears out by being written.
    pub(crate) interval: Duration,
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
        let persist_keys = persist_keys(&mut settings, session_encryption);
        let counters = counters(&mut settings);
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
        Ok(Self {
            tcti,
            persist_srk,
            session_encryption,
            danger_clear_bus,
            persist_keys,
            counters,
            private_openssl,
        })
    }
}

fn persist_keys(settings: &mut Settings, session_encryption: bool) -> Option<PersistKeys> {
    let given = settings.take("persist_keys").filter(|text| !text.is_empty());
    let after = number(settings, "persist_after", &PERSIST_AFTER);
    let interval = number(settings, "persist_interval", &PERSIST_INTERVAL_S);
    let Some(given) = given else {
        if after.is_some() || interval.is_some() {
            settings.fault("persist_after and persist_interval need persist_keys");
        }
        return None;
    };
    if !session_encryption {
        // The session's HMAC covers the key's Name; a password would be good for any key that
        // somebody else puts at the handle.
        settings.fault("persist_keys needs session_encryption = true");
    }
    match HandleRange::parse(&given, &OWNER_PERSISTENT) {
        Ok(range) => Some(PersistKeys {
            range,
            after: after.unwrap_or(PERSIST_AFTER_DEFAULT),
            interval: Duration::from_secs(interval.unwrap_or(PERSIST_INTERVAL_DEFAULT_S)),
        }),
        Err(fault) => {
            settings.fault(format!("persist_keys {fault}"));
            None
        }
    }
}

fn counters(settings: &mut Settings) -> Option<HandleRange> {
    let Some(given) = settings.take("counters") else { return Some(COUNTERS_DEFAULT) };
    if given.is_empty() {
        return None;
    }
    let range = HandleRange::parse(&given, &OWNER_NV);
    if let Err(fault) = &range {
        settings.fault(format!("counters {fault}"));
    }
    range.ok()
}

fn number(settings: &mut Settings, key: &str, range: &RangeInclusive<u64>) -> Option<u64> {
    let expected = format!("a number from {} to {}", range.start(), range.end());
    let number = settings.take_parsed::<u64>(key, &expected)?;
    if range.contains(&number) {
        return Some(number);
    }
    settings.fault(format!("{key} must be {expected}"));
    None
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
        assert_eq!(config.persist_keys, None);
        assert_eq!(config.counters, Some(COUNTERS_DEFAULT));
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

    const RANGE: (&str, &str) = ("persist_keys", "0x81020000-0x81020003");

    fn persisting(more: &[(&str, &str)]) -> Option<PersistKeys> {
        let entries = [RANGE].into_iter().chain(more.iter().copied());
        Config::new(Settings::new(entries), Secrets::default()).unwrap().persist_keys
    }

    #[test]
    fn persist_keys_alone_has_defaults() {
        let persist = persisting(&[]).unwrap();
        assert_eq!((persist.after, persist.interval), (100, Duration::from_secs(600)));
        assert_eq!(persist.range.len(), 4);
    }

    #[test]
    fn empty_persist_keys_is_off() {
        let settings = Settings::new([("persist_keys", "")]);
        assert_eq!(Config::new(settings, Secrets::default()).unwrap().persist_keys, None);
    }

    #[test]
    fn persist_after_has_limits() {
        assert_eq!(persisting(&[("persist_after", "2")]).unwrap().after, 2);
        assert_eq!(persisting(&[("persist_after", "1000000")]).unwrap().after, 1_000_000);
        for past in ["1", "1000001", "x"] {
            check(&[RANGE, ("persist_after", past)], Err("persist_after must be a number from 2"));
        }
    }

    #[test]
    fn persist_interval_has_limits() {
        let seconds = |text| persisting(&[("persist_interval", text)]).unwrap().interval.as_secs();
        assert_eq!((seconds("0"), seconds("86400")), (0, 86_400));
        let past = [RANGE, ("persist_interval", "86401")];
        check(&past, Err("persist_interval must be a number from 0 to 86400"));
    }

    #[test]
    fn bad_range_is_refused_with_its_reason() {
        check(
            &[("persist_keys", "0x81000001-0x81000001")],
            Err("persist_keys takes in 0x81000001"),
        );
    }

    #[test]
    fn persist_keys_without_session_encryption_is_refused() {
        check(&[RANGE, ("session_encryption", "false")], Err("persist_keys needs"));
    }

    #[test]
    fn persist_settings_without_a_range_are_refused() {
        check(&[("persist_after", "5")], Err("need persist_keys"));
    }

    #[test]
    fn counters_are_where_the_operator_says_or_nowhere() {
        let counters = |text: &str| {
            Config::new(Settings::new([("counters", text)]), Secrets::default()).unwrap().counters
        };
        assert_eq!(counters("0x01830000-0x01830000").unwrap().len(), 1);
        assert_eq!(counters(""), None);
        check(&[("counters", "0x81020000-0x81020001")], Err("counters must be FIRST-LAST"));
    }
}
