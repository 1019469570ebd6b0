//! A provider on an emulator, keys of it, and a second program that looks at the same TPM.

use std::str::FromStr;

use provider_core::{
    AeadInput, ErrorKind, Identity, KeyBlob, KeyId, KeyRef, KeySpec, Mac, Provider, Result,
    SecretBytes, Secrets, Settings, StateBinding, Usage,
};
use provider_tpm::TpmProvider;
use swtpm_fixtures::Swtpm;
use tss_esapi::constants::CapabilityType;
use tss_esapi::handles::{KeyHandle, TpmHandle};
use tss_esapi::structures::CapabilityData;
use tss_esapi::{Context, TctiNameConf};

/// A provider on a TPM of its own.
pub(crate) struct Bench {
    pub(crate) provider: TpmProvider,
    pub(crate) identity: Identity,
    pub(crate) swtpm: Swtpm,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let swtpm = Swtpm::start().unwrap();
        let (provider, identity) = open(&swtpm.tcti(), &[], None).unwrap();
        Self { provider, identity, swtpm }
    }

    pub(crate) fn key(&self, usage: Usage) -> Key {
        Key::generate(&self.provider, usage, None).unwrap()
    }

    /// Another program's connection to the TPM.
    pub(crate) fn onlooker(&self) -> Context {
        connect(&self.swtpm)
    }
}

pub(crate) fn open(
    tcti: &str,
    more: &[(&str, &str)],
    known: Option<&Identity>,
) -> Result<(TpmProvider, Identity)> {
    let entries = more.iter().copied().chain([("tcti", tcti)]);
    TpmProvider::open(Settings::new(entries), Secrets::default(), known)
}

pub(crate) fn connect(swtpm: &Swtpm) -> Context {
    Context::new(TctiNameConf::from_str(&swtpm.tcti()).unwrap()).unwrap()
}

/// The handles of one type that the TPM has.
pub(crate) fn handles(tpm: &mut Context, first: u32) -> Vec<TpmHandle> {
    let (data, _) = tpm.get_capability(CapabilityType::Handles, first, 16).unwrap();
    let CapabilityData::Handles(list) = data else { panic!("{data:?}") };
    list.into_inner()
}

/// How many transient objects are loaded.
pub(crate) fn loaded_count(swtpm: &Swtpm) -> usize {
    handles(&mut connect(swtpm), 0x8000_0000).len()
}

/// The transient objects that are loaded. The library flushes them with this connection.
pub(crate) fn loaded(tpm: &mut Context) -> Vec<KeyHandle> {
    let handles = handles(tpm, 0x8000_0000);
    let objects = handles.into_iter().map(|handle| tpm.tr_from_tpm_public(handle).unwrap());
    objects.map(KeyHandle::from).collect()
}

pub(crate) struct Key {
    pub(crate) usage: Usage,
    pub(crate) id: KeyId,
    pub(crate) blob: Vec<u8>,
}

impl Key {
    pub(crate) fn generate(
        provider: &TpmProvider,
        usage: Usage,
        state: Option<&str>,
    ) -> Result<Self> {
        let spec = spec(usage, state);
        let KeyBlob(blob) = provider.generate(&spec)?;
        Ok(Self { usage, id: spec.id, blob })
    }

    pub(crate) fn import(provider: &TpmProvider, usage: Usage, key: &SecretBytes) -> Result<Self> {
        let spec = spec(usage, None);
        let KeyBlob(blob) = provider.import(&spec, key)?;
        Ok(Self { usage, id: spec.id, blob })
    }

    pub(crate) fn key_ref(&self) -> KeyRef<'_> {
        KeyRef { usage: self.usage, id: self.id, blob: &self.blob }
    }

    pub(crate) fn mac(&self, provider: &TpmProvider) -> Result<Mac> {
        provider.mac(self.key_ref(), b"message")
    }

    pub(crate) fn encrypt(&self, provider: &TpmProvider) -> Result<Vec<u8>> {
        let (iv, aad, text) = (b"0123456", b"7891011", b"Hello World");
        provider.aead_encrypt(self.key_ref(), AeadInput { iv, aad, text })
    }
}

pub(crate) fn spec(usage: Usage, state: Option<&str>) -> KeySpec {
    let state = state.map(|text| StateBinding::new(text).unwrap());
    KeySpec { usage, algorithm: usage.default_algorithm(), id: KeyId([7; 16]), state }
}

/// Checks an error's kind and that its detail has the words.
pub(crate) fn check<T>(outcome: Result<T>, kind: ErrorKind, words: &str) {
    let error = outcome.err().unwrap();
    assert_eq!(error.kind, kind, "{error}");
    assert!(error.detail.contains(words), "{error}");
}
