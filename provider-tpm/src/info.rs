//! What the provider says of itself, and the opening that it refuses.

use provider_core::{Capabilities, Info, ProviderError, Result};

use crate::config::Config;
use crate::device::About;

/// Longest note, bytes.
const NOTES_MAX_BYTES: usize = 256;

/// Refuses keys in the clear where a wire could be listened to.
pub(crate) fn check_bus(config: &Config, about: &About) -> Result<()> {
    let clear = !config.session_encryption && about.vendor.is_on_a_bus(&config.tcti.reach);
    if clear && !config.danger_clear_bus {
        return Err(ProviderError::invalid(format!(
            "session_encryption = false would show keys and MACs on the bus of this TPM ({}); \
             leave it on, or accept that by danger_clear_bus = true",
            about.vendor.manufacturer
        )));
    }
    Ok(())
}

/// What the provider is and can, and what the operator should know of this opening.
pub(crate) fn info(config: &Config, about: &About, more: impl Iterator<Item = String>) -> Info {
    let mut notes = Vec::new();
    if !config.session_encryption {
        let where_to = if about.vendor.is_on_a_bus(&config.tcti.reach) {
            "keys and MACs pass the bus in the clear (danger_clear_bus)"
        } else {
            "session_encryption is off"
        };
        notes.push(where_to.to_owned());
    }
    notes.extend(more);
    let counters = match (config.counters, about.owner_has_password) {
        (None, _) => Capabilities::default(),
        (Some(_), false) => Capabilities::COUNTER,
        (Some(_), true) => {
            notes.push("the owner hierarchy has a password, so no counters are made".into());
            Capabilities::default()
        }
    };
    let rsa = |there: bool, length| if there { length } else { Capabilities::default() };
    let mut notes = notes.join("; ");
    notes.retain(|character| character == ' ' || character.is_ascii_graphic());
    notes.truncate(NOTES_MAX_BYTES);
    let vendor = &about.vendor;
    Info {
        kind: "tpm".into(),
        manufacturer: format!("{} {}", vendor.manufacturer, vendor.string).trim().to_owned(),
        firmware: about.firmware.clone(),
        notes,
        protection: vendor.protection(&config.tcti.reach),
        capabilities: Capabilities::SEAL
            .and(Capabilities::MAC)
            .and(Capabilities::IMPORT_MAC)
            .and(Capabilities::SIGN)
            .and(Capabilities::IMPORT_SIGN)
            .and(Capabilities::AEAD_WRAPPED)
            .and(rsa(about.rsa_2048, Capabilities::RSA_2048))
            .and(rsa(about.rsa_4096, Capabilities::RSA_4096))
            .and(Capabilities::STATE_BINDING)
            .and(counters),
        concurrency: 1,
    }
}

#[cfg(test)]
mod tests {
    use provider_core::{ErrorKind, Secrets, Settings};

    use super::*;
    use crate::vendor::Vendor;

    fn about(manufacturer: &str) -> About {
        let vendor = Vendor { manufacturer: manufacturer.into(), string: String::new() };
        let firmware = "1.2.3.4".into();
        let (rsa_2048, rsa_4096) = (true, false);
        About { vendor, firmware, owner_has_password: false, rsa_2048, rsa_4096 }
    }

    fn check(entries: &[(&str, &str)], manufacturer: &str, notes: Option<&str>) {
        let config = Config::new(Settings::new(entries.iter().copied()), Secrets::default());
        let config = config.unwrap();
        let about = about(manufacturer);
        match (check_bus(&config, &about), notes) {
            (Ok(()), Some(notes)) => {
                assert_eq!(info(&config, &about, std::iter::empty()).notes, notes)
            }
            (Err(error), None) => {
                assert_eq!(error.kind, ErrorKind::InvalidParameter);
                assert!(error.detail.contains("danger_clear_bus = true"), "{error}");
            }
            (seen, _) => panic!("{seen:?}"),
        }
    }

    #[test]
    fn chip_without_encryption_is_refused() {
        check(&[("session_encryption", "false")], "IFX", None);
        check(&[("session_encryption", "false"), ("tcti", "device:/dev/tpm0")], "ACME", None);
    }

    #[test]
    fn chip_without_encryption_by_the_dangerous_setting_is_noted() {
        let entries = [("session_encryption", "false"), ("danger_clear_bus", "true")];
        check(&entries, "IFX", Some("keys and MACs pass the bus in the clear (danger_clear_bus)"));
    }

    #[test]
    fn firmware_tpm_without_encryption_is_noted() {
        check(&[("session_encryption", "false")], "INTC", Some("session_encryption is off"));
    }

    #[test]
    fn chip_with_encryption_needs_no_note() {
        check(&[], "IFX", Some(""));
    }

    #[test]
    fn rsa_lengths_are_those_that_the_tpm_takes() {
        let config = Config::new(Settings::default(), Secrets::default()).unwrap();
        let seen = info(&config, &about("INTC"), std::iter::empty()).capabilities;
        assert!(seen.contains(Capabilities::RSA_2048));
        assert!(!seen.contains(Capabilities::RSA_4096));
    }
}
