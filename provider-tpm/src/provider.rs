//! The verbs.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use provider_core::key::{
    RANDOM_MAX_BYTES, check_aead_decrypt, check_aead_encrypt, check_import_length, check_mac_input,
};
use provider_core::{
    AeadInput, Condition, CounterRef, ErrorKind, Identity, Info, KeyBlob, KeyId, KeyRef, KeySpec,
    Mac, Needs, Provider, ProviderError, PublicKey, Result, RsaModulus, RsaResult, SecretBytes,
    Secrets, Settings, Signature, Usage,
};
use soft_aead::Failed;

use crate::binding::Binding;
use crate::config::Config;
use crate::counter::Counter;
use crate::device::{Device, Outcome, replaced};
use crate::error::{Fault, RC_LOCKOUT};
use crate::info::{check_bus, info};
use crate::needs;
use crate::openssl;
use crate::range::HandleRange;

/// First byte of an identity: the Name of the storage root key follows.
const IDENTITY_VERSION: u8 = 1;
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
        let spec = KeySpec { usage, algorithm: usage.default_algorithm(), id, state: None };
        let key = SecretBytes::copy_of(&KNOWN_KEY);
        let KeyBlob(blob) = self.call(|device| device.create(&spec, None, Some(&key)))?;
        let key = KeyRef { usage, id, blob: &blob };
        let mac = self.call(|device| device.mac(key, KNOWN_DATA))?;
        self.destroy(key)?;
        if mac.expose() == KNOWN_MAC {
            return Ok(());
        }
        Err(ProviderError::new(ErrorKind::Integrity, "the TPM computed a wrong HMAC-SHA256"))
    }

    fn generate(&self, spec: &KeySpec) -> Result<KeyBlob> {
        let binding = self.check_spec(spec)?;
        self.call(|device| device.create(spec, binding.as_ref(), None))
    }

    fn import(&self, spec: &KeySpec, key: &SecretBytes) -> Result<KeyBlob> {
        let binding = self.check_spec(spec)?;
        check_import_length(spec.usage, key)?;
        self.call(|device| device.create(spec, binding.as_ref(), Some(key)))
    }

    /// The TPM keeps nothing of a key but a copy that is loaded for use, and a persistent one
    /// where the settings allow that, which has to go.
    fn destroy(&self, key: KeyRef<'_>) -> Result<()> {
        if self.config.persist_keys.is_some() {
            return self.call(|device| device.forget(key));
        }
        let mut place = self.lock();
        if let Some(device) = place.as_mut()
            && device.forget(key).is_err()
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
        check_usage(key, Usage::Sign)?;
        self.call(|device| device.point(key)).map(PublicKey)
    }

    fn sign(&self, key: KeyRef<'_>, digest: &[u8; 32]) -> Result<Signature> {
        check_usage(key, Usage::Sign)?;
        self.call(|device| device.sign(key, *digest)).map(Signature)
    }

    fn aead_encrypt(&self, key: KeyRef<'_>, input: AeadInput<'_>) -> Result<Vec<u8>> {
        check_usage(key, Usage::Aead)?;
        check_aead_encrypt(input)?;
        let aead = self.call(|device| device.aead_key(key))?;
        aead.encrypt(input.iv, input.aad, input.text).map_err(|Failed| {
            ProviderError::new(ErrorKind::Internal, "AES-256-GCM failed to encrypt")
        })
    }

    fn aead_decrypt(&self, key: KeyRef<'_>, input: AeadInput<'_>) -> Result<SecretBytes> {
        check_usage(key, Usage::Aead)?;
        check_aead_decrypt(input)?;
        let aead = self.call(|device| device.aead_key(key))?;
        let text = aead.decrypt(input.iv, input.aad, input.text);
        text.map(SecretBytes::new).map_err(|Failed| {
            ProviderError::new(ErrorKind::Integrity, "the tag is not that of the text")
        })
    }

    fn rsa_public(&self, key: KeyRef<'_>) -> Result<RsaModulus> {
        check_usage(key, Usage::Rsa)?;
        self.call(|device| device.modulus(key)).map(RsaModulus)
    }

    fn rsa_private(&self, key: KeyRef<'_>, input: &[u8]) -> Result<RsaResult> {
        check_usage(key, Usage::Rsa)?;
        self.call(|device| device.rsa_private(key, input))
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

    fn check_spec(&self, spec: &KeySpec) -> Result<Option<Binding>> {
        let unsupported = |detail: String| Err(ProviderError::new(ErrorKind::Unsupported, detail));
        if !self.info.capabilities.can_generate(spec.usage, spec.algorithm) {
            return unsupported(format!("no {:?} keys of {:?} here", spec.usage, spec.algorithm));
        }
        if spec.usage == Usage::Aead && spec.state.is_some() {
            // It would be in memory yet when the state is another.
            return unsupported("an aead key cannot be bound to PCRs".into());
        }
        spec.state.as_ref().map(|state| Binding::parse(state.as_str())).transpose()
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

fn check_usage(key: KeyRef<'_>, usage: Usage) -> Result<()> {
    if key.usage == usage {
        return Ok(());
    }
    Err(ProviderError::invalid(format!("only a key of usage {usage:?} does that")))
}
