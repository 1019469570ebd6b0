//! A provider in Rust that panics in the verb that its setting `in` names: `open`, `info`,
//! `self_test`, `generate`, `mac` (the latter two for mac keys only, so that it opens),
//! `counter_increment` or `close`.
#![expect(clippy::panic, reason = "it is what this provider is for")]

use aws_lc_rs::hmac;
use provider_core::{
    Capabilities, CounterRef, Identity, Info, KeyBlob, KeyId, KeyRef, KeySpec, Mac, Protection,
    Provider, ProviderError, Result, SecretBytes, Secrets, Settings, Usage,
};

/// Keys that follow from the root and their ids.
#[derive(Debug)]
pub struct Panics {
    root: hmac::Key,
    place: String,
}

impl Panics {
    fn reach(&self, place: &str) {
        reach(&self.place, place);
    }
}

fn reach(chosen: &str, place: &str) {
    assert!(chosen != place, "this provider panics in {place}");
}

impl Provider for Panics {
    fn open(
        mut settings: Settings,
        mut secrets: Secrets,
        known: Option<&Identity>,
    ) -> Result<(Self, Identity)> {
        let place = settings.take_required("in");
        settings.finish()?;
        let root = secrets.take("root").ok_or_else(|| ProviderError::invalid("root is missing"))?;
        secrets.finish()?;
        reach(&place, "open");
        let root = hmac::Key::new(hmac::HMAC_SHA256, root.expose());
        let identity = Identity(hmac::sign(&root, b"identity").as_ref().to_vec());
        match known {
            Some(known) if *known != identity => {
                Err(ProviderError::new(provider_core::ErrorKind::WrongDevice, "another root"))
            }
            Some(_) | None => Ok((Self { root, place }, identity)),
        }
    }

    fn info(&self) -> Info {
        self.reach("info");
        Info {
            kind: "testrust".into(),
            manufacturer: "Sealhost tests".into(),
            firmware: "1".into(),
            notes: String::new(),
            protection: Protection::Software,
            capabilities: Capabilities::SEAL.and(Capabilities::MAC).and(Capabilities::COUNTER),
            concurrency: 4,
        }
    }

    fn self_test(&self) -> Result<()> {
        self.reach("self_test");
        Ok(())
    }

    fn generate(&self, spec: &KeySpec) -> Result<KeyBlob> {
        if spec.usage == Usage::Mac {
            self.reach("generate");
        }
        Ok(KeyBlob(spec.id.0.to_vec()))
    }

    fn import(&self, _spec: &KeySpec, _key: &SecretBytes) -> Result<KeyBlob> {
        Err(ProviderError::new(provider_core::ErrorKind::Unsupported, "no imports"))
    }

    fn destroy(&self, _key: KeyRef<'_>) -> Result<()> {
        Ok(())
    }

    fn mac(&self, key: KeyRef<'_>, input: &[u8]) -> Result<Mac> {
        // But when the host tries a new key, so that there is one to panic with.
        if key.usage == Usage::Mac && input != b"first use of a new key" {
            self.reach("mac");
        }
        let mut context = hmac::Context::with_key(&self.root);
        context.update(key.blob);
        context.update(input);
        Ok(Mac::copy_of(context.sign().as_ref()))
    }

    fn random(&self, out: &mut [u8]) -> Result<()> {
        aws_lc_rs::rand::fill(out).map_err(|_unspecified| {
            ProviderError::new(provider_core::ErrorKind::Internal, "no randomness")
        })
    }

    fn counter_create(&self, id: KeyId) -> Result<(KeyBlob, u64)> {
        Ok((KeyBlob(id.0.to_vec()), 1))
    }

    fn counter_increment(&self, _counter: CounterRef<'_>) -> Result<u64> {
        self.reach("counter_increment");
        Ok(2)
    }

    fn counter_read(&self, _counter: CounterRef<'_>) -> Result<u64> {
        Ok(1)
    }

    fn counter_destroy(&self, _counter: CounterRef<'_>) -> Result<()> {
        Ok(())
    }
}

impl Drop for Panics {
    fn drop(&mut self) {
        if self.place == "close" {
            panic!("this provider panics in close");
        }
    }
}

provider_core::export_provider!(Panics);
