//! The verbs.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use provider_core::key::{RANDOM_MAX_BYTES, check_import_length, check_mac_input};
use provider_core::{
    Capabilities, Condition, CounterRef, ErrorKind, Identity, Info, KeyBlob, KeyId, KeyRef,
    KeySpec, Mac, Needs, Provider, ProviderError, PublicKey, Result, SecretBytes, Secrets,
    Settings, Signature, Usage,
};

use crate::binding::Binding;
use crate::config::Config;
use crate::counter::Counter;
use crate::device::{About, Device, Outcome, replaced};
use crate::error::{Fault, RC_LOCKOUT};
use crate::needs;
use crate::openssl;
use crate::range::HandleRange;

/// First byte of an identity: the Name of the storage root key follows.
const IDENTITY_VERSION: u8 = 1;
/// Longest note, bytes.
const NOTES_MAX_BYTES: usize = 256;
/// RFC 4231, 4.2: key, data and HMAC-SHA256 of test case 1.
const KNOWN_KEY: [u8; 20] = [0x0B; 20];
const KNOWN_DATA: &[u8] = b"Hi There";
const KNOWN_MAC: [u8; 32] = [
    0xB0, 0x34, 0x4C, 0x61, 0xD8, 0xDB, 0x38, 0x53, 0x5C, 0xA8, 0xAF, 0xCE, 0xAF, 0x0B, 0xF1, 0x2B,
    0x88, 0x1D, 0xC2, 0x00, 0xC9, 0x83, 0x3D, 0xA7, 0x26, 0xE9, 0x37, 0x6C, 0x2E, 0x32, 0xCF, 0xF7,
];

/// Keys under the storage root key of one TPM.
pub struct TpmProvider {
    config: Config,
    info: Info,
    srk_name: Vec<u8>,
    /// Empty after a fault that cost us the connection; the next call connects anew.
    device: Mutex<Option<Device>>,
}

impl fmt::Debug for TpmProvider {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tcti = &self.config.tcti.text;
        formatter.debug_struct("TpmProvider").field("tcti", tcti).finish_non_exhaustive()
    }
}

impl Provider for TpmProvider {
    fn open(
        settings: Settings,
        secrets: Secrets,
        known: Option<&Identity>,
    ) -> Result<(Self, Identity)> {
        let config = Config::new(settings, secrets)?;
        openssl::share(config.private_openssl);
        let known = known.map(decode_identity).transpose()?;
        let mut device = Device::open(&config, known).map_err(Fault::into_error)?;
        let about = device.about().map_err(Fault::into_error)?;
        check_bus(&config, &about)?;
        let srk_name = device.srk_name().to_vec();
        let notes = [device.srk_note().map(str::to_owned), device.places_note()];
        let info = info(&config, &about, notes.into_iter().flatten());
        let identity = Identity([&[IDENTITY_VERSION][..], &srk_name].concat());
        let device = Mutex::new(Some(device));
        Ok((Self { config, info, srk_name, device }, identity))
    }

    fn needs(settings: Settings) -> Result<Needs> {
        Ok(needs::of(&Config::new(settings, Secrets::default())?.tcti))
    }

    fn info(&self) -> Info {
        self.info.clone()
    }

    fn self_test(&self) -> Result<()> {
        let (usage, id) = (Usage::Mac, KeyId([0; 16]));
        let key = SecretBytes::copy_of(&KNOWN_KEY);
        let KeyBlob(blob) = self.call(|device| device.create((usage, id), None, Some(&key)))?;
        let key = KeyRef { usage, id, blob: &blob };
        let mac = self.call(|device| device.mac(key, KNOWN_DATA))?;
        self.destroy(key)?;
        if mac.expose() == KNOWN_MAC {
            return Ok(());
        }
        Err(ProviderError::new(ErrorKind::Integrity, "the TPM computed a wrong HMAC-SHA256"))
    }

    fn generate(&self, spec: &KeySpec) -> Result<KeyBlob> {
        let binding = check_spec(spec)?;
        self.call(|device| device.create((spec.usage, spec.id), binding.as_ref(), None))
    }

    fn import(&self, spec: &KeySpec, key: &SecretBytes) -> Result<KeyBlob> {
        let binding = check_spec(spec)?;
        if spec.usage != Usage::Mac {
            let detail = "only keys of usage mac can be imported";
            return Err(ProviderError::new(ErrorKind::Unsupported, detail));
        }
        check_import_length(spec.usage, key)?;
        self.call(|device| device.create((spec.usage, spec.id), binding.as_ref(), Some(key)))
    }

    /// The TPM keeps nothing of a key but a copy that is loaded for use, and a persistent one
    /// where the settings allow that, which has to go.
    fn destroy(&self, key: KeyRef<'_>) -> Result<()> {
        if self.config.persist_keys.is_some() {
            return self.call(|device| device.forget(key.blob));
        }
        let mut place = self.lock();
        if let Some(device) = place.as_mut()
            && device.forget(key.blob).is_err()
        {
            // Opening anew flushes whatever is loaded.
            *place = None;
        }
        Ok(())
    }

    fn mac(&self, key: KeyRef<'_>, input: &[u8]) -> Result<Mac> {
        check_mac_input(key.usage, input)?;
        self.call(|device| device.mac(key, input))
    }

    fn random(&self, out: &mut [u8]) -> Result<()> {
        if out.len() > RANDOM_MAX_BYTES {
            return Err(ProviderError::over_limit("random", out.len(), RANDOM_MAX_BYTES));
        }
        self.call(|device| device.random(out))
    }

    fn public_key(&self, key: KeyRef<'_>) -> Result<PublicKey> {
        check_sign(key)?;
        self.call(|device| device.point(key)).map(PublicKey)
    }

    fn sign(&self, key: KeyRef<'_>, digest: &[u8; 32]) -> Result<Signature> {
        check_sign(key)?;
        self.call(|device| device.sign(key, *digest)).map(Signature)
    }

    fn counter_create(&self, id: KeyId) -> Result<(KeyBlob, u64)> {
        let range = self.counters()?;
        let mut begun = false;
        self.call(|device| {
            if begun {
                // The TPM was lost on the way, and nobody got the counter that it may have made.
                device.counter_destroy(CounterRef { id, blob: &[] }, range)?;
            }
            begun = true;
            device.counter_create(id, range)
        })
    }

    fn counter_increment(&self, counter: CounterRef<'_>) -> Result<u64> {
        self.counters()?;
        let raised = self.call(|device| device.counter_increment(counter));
        raised.map_err(|error| refused_counter(counter, error))
    }

    fn counter_read(&self, counter: CounterRef<'_>) -> Result<u64> {
        self.counters()?;
        let read = self.call(|device| device.counter_read(counter));
        read.map_err(|error| refused_counter(counter, error))
    }

    fn counter_destroy(&self, counter: CounterRef<'_>) -> Result<()> {
        let range = self.counters()?;
        self.call(|device| device.counter_destroy(counter, range))
    }

    fn condition(&self) -> Result<Condition> {
        self.call(Device::condition)
    }
}

impl TpmProvider {
    /// Runs a verb on the device, which is connected anew when it is not there, and once more
    /// when it turns out to be lost (a reset, a broken connection). That is safe for every verb:
    /// none leaves anything in the TPM but a copy that is found again, and a second key made in
    /// place of one that nobody got is as good.
    fn call<T>(&self, mut verb: impl FnMut(&mut Device) -> Outcome<T>) -> Result<T> {
        let mut place = self.lock();
        let mut tried = false;
        loop {
            let mut device = match place.take() {
                Some(device) => device,
                None => {
                    Device::open(&self.config, Some(&self.srk_name)).map_err(Fault::into_error)?
                }
            };
            match verb(&mut device) {
                Err(fault) if fault.is_lost() && !tried => tried = true,
                Err(fault) if fault.is_lost() => return Err(fault.into_error()),
                Err(fault) if fault.is(RC_LOCKOUT) => {
                    let error = locked_out(&mut device, fault);
                    *place = Some(device);
                    return Err(error);
                }
                outcome => {
                    *place = Some(device);
                    return outcome.map_err(Fault::into_error);
                }
            }
        }
    }

    fn counters(&self) -> Result<HandleRange> {
        self.config.counters.ok_or_else(|| {
            ProviderError::new(ErrorKind::Unsupported, "counters are off by the setting counters")
        })
    }

    fn lock(&self) -> MutexGuard<'_, Option<Device>> {
        // After a panic inside a verb the place is empty, which is a good state.
        self.device.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn locked_out(device: &mut Device, fault: Fault) -> ProviderError {
    let mut error = fault.into_error();
    if let Ok(sentence) = device.lockout() {
        error.detail = format!("{}: {sentence}", error.detail);
    }
    error
}

/// Reading and raising are authorized by the blob alone, so what refuses us is not its counter.
fn refused_counter(counter: CounterRef<'_>, error: ProviderError) -> ProviderError {
    match (error.kind, Counter::decode(counter)) {
        (ErrorKind::DeviceAuth, Ok(decoded)) => replaced(decoded.index),
        _ => error,
    }
}

fn decode_identity(identity: &Identity) -> Result<&[u8]> {
    match identity.0.split_first() {
        Some((&IDENTITY_VERSION, name)) => Ok(name),
        _ => {
            let detail = "the recorded identity is not one of a TPM";
            Err(ProviderError::new(ErrorKind::WrongDevice, detail))
        }
    }
}

fn check_bus(config: &Config, about: &About) -> Result<()> {
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

fn info(config: &Config, about: &About, more: impl Iterator<Item = String>) -> Info {
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
            .and(Capabilities::STATE_BINDING)
            .and(counters),
        concurrency: 1,
    }
}

fn check_spec(spec: &KeySpec) -> Result<Option<Binding>> {
    if spec.algorithm != spec.usage.default_algorithm() {
        let detail = format!("{:?} keys are not {:?}", spec.usage, spec.algorithm);
        return Err(ProviderError::new(ErrorKind::Unsupported, detail));
    }
    spec.state.as_ref().map(|state| Binding::parse(state.as_str())).transpose()
}

fn check_sign(key: KeyRef<'_>) -> Result<()> {
    if key.usage == Usage::Sign {
        return Ok(());
    }
    Err(ProviderError::invalid("only a sign key signs or has a public half"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vendor::Vendor;

    fn check(entries: &[(&str, &str)], manufacturer: &str, notes: Option<&str>) {
        let config = Config::new(Settings::new(entries.iter().copied()), Secrets::default());
        let config = config.unwrap();
        let vendor = Vendor { manufacturer: manufacturer.into(), string: String::new() };
        let about = About { vendor, firmware: "1.2.3.4".into(), owner_has_password: false };
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
}
