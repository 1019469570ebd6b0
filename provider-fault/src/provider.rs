//! The verbs: each begins its turn by the plan, calls the plugin behind, and ends its turn.

use std::path::Path;

use provider_core::call::Instance;
use provider_core::{
    AeadInput, AuthSubject, Capabilities, Condition, CounterRef, Identity, Info, KeyBlob, KeyId,
    KeyRef, KeySpec, Mac, Needs, Provider, ProviderError, PublicKey, Result, RsaModulus, RsaResult,
    SecretBytes, Secrets, Settings, Signature,
};

use crate::answer::{Answer, Secret};
use crate::boundary;
use crate::faults::Faults;
use crate::plan::Verb;

/// What stands at the head of `notes`, so that nobody takes such an instance for a plain one.
const NOTE: &str = "a fault plugin is in front";

/// Another plugin, with faults.
#[derive(Debug)]
pub struct FaultProvider {
    faults: Faults,
    inner: Instance,
    info: Info,
}

impl FaultProvider {
    fn call<T: Answer>(&self, verb: Verb, call: impl FnOnce(&Instance) -> Result<T>) -> Result<T> {
        self.faults.begin(verb)?.finish(|| call(&self.inner))
    }
}

impl Provider for FaultProvider {
    fn open(
        mut settings: Settings,
        secrets: Secrets,
        known: Option<&Identity>,
    ) -> Result<(Self, Identity)> {
        let plugin = take_plugin(&mut settings)?;
        let faults = Faults::take(&mut settings)?;
        let turn = faults.begin(Verb::Open)?;
        let mut opened = None;
        let identity = turn.finish(|| {
            let (inner, identity) =
                boundary::load(Path::new(&plugin))?.open(&settings, &secrets, known)?;
            opened = Some(inner);
            Ok(identity)
        })?;
        let inner = opened.ok_or_else(|| ProviderError::invalid("the plugin was not opened"))?;
        let info = in_front(inner.info()?);
        Ok((Self { faults, inner, info }, identity))
    }

    fn auth_subject(mut settings: Settings) -> Result<Option<AuthSubject>> {
        let plugin = take_plugin(&mut settings)?;
        let faults = Faults::take(&mut settings)?;
        let turn = faults.begin(Verb::AuthSubject)?;
        turn.finish(|| boundary::load(Path::new(&plugin))?.auth_subject(&settings))
    }

    /// Has no share in the plan: whoever asks may neither read it nor write the journal.
    fn needs(mut settings: Settings) -> Result<Needs> {
        let plugin = take_plugin(&mut settings)?;
        let own = Faults::needs(&mut settings);
        let mut needs = boundary::load(Path::new(&plugin))?.needs(&settings)?;
        needs.0.extend(own);
        Ok(needs)
    }

    fn info(&self) -> Info {
        // It cannot fail, so that nothing is lost where the plan does.
        let _turn = self.faults.begin(Verb::Info);
        self.info.clone()
    }

    fn self_test(&self) -> Result<()> {
        self.call(Verb::SelfTest, Instance::self_test)
    }

    fn generate(&self, spec: &KeySpec) -> Result<KeyBlob> {
        self.call(Verb::Generate, |inner| inner.generate(spec))
    }

    fn import(&self, spec: &KeySpec, key: &SecretBytes) -> Result<KeyBlob> {
        self.call(Verb::Import, |inner| inner.import(spec, key))
    }

    fn destroy(&self, key: KeyRef<'_>) -> Result<()> {
        self.call(Verb::Destroy, |inner| inner.destroy(key))
    }

    fn mac(&self, key: KeyRef<'_>, input: &[u8]) -> Result<Mac> {
        self.call(Verb::Mac, |inner| inner.mac(key, input))
    }

    fn random(&self, out: &mut [u8]) -> Result<()> {
        let length = out.len();
        let bytes = self.call(Verb::Random, |inner| inner.random(length))?;
        if bytes.len() != length {
            return Err(ProviderError::invalid("the plugin drew another number of bytes"));
        }
        out.copy_from_slice(bytes.expose());
        Ok(())
    }

    fn public_key(&self, key: KeyRef<'_>) -> Result<PublicKey> {
        self.call(Verb::PublicKey, |inner| inner.public_key(key))
    }

    fn sign(&self, key: KeyRef<'_>, digest: &[u8; 32]) -> Result<Signature> {
        self.call(Verb::Sign, |inner| inner.sign(key, digest))
    }

    fn aead_encrypt(&self, key: KeyRef<'_>, input: AeadInput<'_>) -> Result<Vec<u8>> {
        self.call(Verb::AeadEncrypt, |inner| inner.aead_encrypt(key, input))
    }

    fn aead_decrypt(&self, key: KeyRef<'_>, input: AeadInput<'_>) -> Result<SecretBytes> {
        let text =
            self.call(Verb::AeadDecrypt, |inner| inner.aead_decrypt(key, input).map(Secret))?;
        Ok(text.0)
    }

    fn rsa_public(&self, key: KeyRef<'_>) -> Result<RsaModulus> {
        self.call(Verb::RsaPublic, |inner| inner.rsa_public(key))
    }

    fn rsa_private(&self, key: KeyRef<'_>, input: &[u8]) -> Result<RsaResult> {
        let result =
            self.call(Verb::RsaPrivate, |inner| inner.rsa_private(key, input).map(Secret))?;
        Ok(result.0)
    }

    fn counter_create(&self, id: KeyId) -> Result<(KeyBlob, u64)> {
        self.call(Verb::CounterCreate, |inner| inner.counter_create(id))
    }

    fn counter_increment(&self, counter: CounterRef<'_>) -> Result<u64> {
        self.call(Verb::CounterIncrement, |inner| inner.counter_increment(counter))
    }

    fn counter_read(&self, counter: CounterRef<'_>) -> Result<u64> {
        self.call(Verb::CounterRead, |inner| inner.counter_read(counter))
    }

    fn counter_destroy(&self, counter: CounterRef<'_>) -> Result<()> {
        self.call(Verb::CounterDestroy, |inner| inner.counter_destroy(counter))
    }

    fn condition(&self) -> Result<Condition> {
        self.call(Verb::Condition, Instance::condition)
    }
}

impl Drop for FaultProvider {
    fn drop(&mut self) {
        // Closing cannot fail either.
        let _turn = self.faults.begin(Verb::Close);
    }
}

fn take_plugin(settings: &mut Settings) -> Result<String> {
    settings.take("plugin").ok_or_else(|| {
        ProviderError::invalid("plugin is missing: the absolute path of the plugin behind this one")
    })
}

/// What the plugin behind says of itself, with what changes by what stands in front of it.
fn in_front(mut info: Info) -> Info {
    // It may wait now: the plan can make it.
    info.capabilities = Capabilities(info.capabilities.0 & !Capabilities::NEVER_WAITS.0);
    let between = if info.notes.is_empty() { "" } else { "; " };
    info.notes = format!("{NOTE}{between}{}", info.notes);
    info
}
