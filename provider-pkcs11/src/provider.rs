//! The verbs.

use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use provider_core::key::{
    RANDOM_MAX_BYTES, check_aead_decrypt, check_aead_encrypt, check_import_length, check_mac_input,
};
use provider_core::{
    AeadInput, AuthSubject, Capabilities, Condition, ErrorKind, Identity, Info, KeyBlob, KeyRef,
    KeySpec, Mac, Needs, Provider, ProviderError, PublicKey, Result, RsaModulus, RsaResult,
    SecretBytes, Secrets, Settings, Signature, Usage,
};

use crate::abilities::Abilities;
use crate::blob::{Check, Home, KeyRecord, is_check_input, is_check_iv};
use crate::config::Config;
use crate::describe::describe;
use crate::error::Fault;
use crate::identity::IdentityRecord;
use crate::link::Link;
use crate::locate::{check_tag, locate, unwrapped};
use crate::module::ModuleUser;
use crate::token::Token;
use crate::{aead, marker, mechanism, needs, object, quirks, rsa};

/// Keys as objects of one PKCS#11 token.
#[derive(Debug)]
pub struct Pkcs11Provider {
    pub(crate) link: Link,
    pub(crate) home: Home,
    pub(crate) abilities: Abilities,
    info: Info,
    /// Held for writing while a key is made or destroyed, so that one id is looked for and made by
    /// one thread; and for reading by everybody else, where the module wants to be alone for that.
    pub(crate) changing: RwLock<()>,
    pub(crate) changes_alone: bool,
}

impl Provider for Pkcs11Provider {
    fn open(
        settings: Settings,
        secrets: Secrets,
        known: Option<&Identity>,
    ) -> Result<(Self, Identity)> {
        let config = Config::read(settings, secrets)?;
        let known = known.map(IdentityRecord::decode).transpose()?;
        let link = Link::open(config, known.clone())?;
        let abilities = Abilities::probe(&link)?;
        let info = link.run(|desk| describe(desk, abilities))?;
        let identity = match known {
            Some(identity) => identity,
            None => {
                let found = link.run(|desk| marker::adopt(desk.session, desk.token, abilities))?;
                link.adopt(found).clone()
            }
        };
        let info = Info { concurrency: link.sessions(), ..info };
        let changes_alone = quirks::changes_alone(&info.manufacturer);
        let provider = Self {
            link,
            home: identity.home(),
            abilities,
            info,
            changing: RwLock::default(),
            changes_alone,
        };
        Ok((provider, identity.encode()))
    }

    fn auth_subject(settings: Settings) -> Result<Option<AuthSubject>> {
        let config = Config::read(settings, Secrets::default())?;
        let module = ModuleUser::open(&config.module, config.init_args.clone())?;
        let token = module.call(|pkcs11, _| Token::find(pkcs11, &config.token));
        Ok(token.map_err(Fault::into_error)?.auth_subject())
    }

    fn needs(mut settings: Settings) -> Result<Needs> {
        Ok(needs::of(&mut settings))
    }

    fn info(&self) -> Info {
        self.info.clone()
    }

    fn self_test(&self) -> Result<()> {
        let _nothing_changes = self.unchanged();
        self.link.run(|desk| self.abilities.self_test(desk.session))
    }

    fn generate(&self, spec: &KeySpec) -> Result<KeyBlob> {
        self.check_spec(spec, |capabilities| {
            capabilities.can_generate(spec.usage, spec.algorithm)
        })?;
        match (spec.usage, spec.algorithm.modulus_bytes()) {
            (Usage::Seal | Usage::Mac, _) => self.generate_hmac(spec),
            (Usage::Sign, _) => self.generate_sign(spec),
            (Usage::Aead, _) => self.make_aead(spec, None),
            (Usage::Rsa, Some(bytes)) => self.generate_rsa(spec, bytes),
            (Usage::Rsa, None) => Err(unsupported("usage and algorithm do not fit")),
        }
    }

    fn import(&self, spec: &KeySpec, key: &SecretBytes) -> Result<KeyBlob> {
        check_import_length(spec.usage, key)?;
        self.check_spec(spec, |capabilities| capabilities.can_import(spec.usage))?;
        match spec.usage {
            Usage::Mac => self.import_hmac(spec, key),
            Usage::Sign => self.import_sign(spec, key),
            Usage::Aead => self.make_aead(spec, Some(key)),
            Usage::Seal | Usage::Rsa => Err(unsupported("no key of this usage is imported")),
        }
    }

    fn destroy(&self, key: KeyRef<'_>) -> Result<()> {
        let _one_at_a_time = self.changing.write().unwrap_or_else(PoisonError::into_inner);
        self.link.run(|desk| {
            desk.forget(key.id);
            if object::destroy_ours(desk.session, key.id)? == 0 {
                // A token that is away looks empty to some modules; its key would outlive us.
                desk.token.check_health(desk.pkcs11, desk.session)?;
            }
            Ok(())
        })
    }

    fn mac(&self, key: KeyRef<'_>, input: &[u8]) -> Result<Mac> {
        check_mac_input(key.usage, input)?;
        if is_check_input(input) {
            return Err(ProviderError::invalid("this input is reserved for check values"));
        }
        let record = self.record(key)?;
        let _nothing_changes = self.unchanged();
        self.link.run(|desk| {
            let handle = locate(desk, key, &record)?;
            mechanism::hmac(desk.session, handle, input)
        })
    }

    fn random(&self, out: &mut [u8]) -> Result<()> {
        if out.len() > RANDOM_MAX_BYTES {
            return Err(ProviderError::over_limit("random output", out.len(), RANDOM_MAX_BYTES));
        }
        let length = u32::try_from(out.len()).unwrap_or_default();
        let _nothing_changes = self.unchanged();
        let bytes = self.link.run(|desk| {
            let bytes = desk.session.generate_random_vec(length)?;
            Ok(SecretBytes::new(bytes.into()))
        })?;
        out.copy_from_slice(bytes.expose());
        Ok(())
    }

    fn public_key(&self, key: KeyRef<'_>) -> Result<PublicKey> {
        let record = self.record(key)?;
        let Check::Point(point) = record.check else {
            return Err(ProviderError::invalid("an HMAC key has no public half"));
        };
        let _nothing_changes = self.unchanged();
        self.link.run(|desk| locate(desk, key, &record))?;
        Ok(PublicKey(point))
    }

    fn sign(&self, key: KeyRef<'_>, digest: &[u8; 32]) -> Result<Signature> {
        if key.usage != Usage::Sign {
            return Err(ProviderError::invalid("only a sign key signs"));
        }
        let record = self.record(key)?;
        let _nothing_changes = self.unchanged();
        self.link.run(|desk| {
            let handle = locate(desk, key, &record)?;
            mechanism::ecdsa(desk.session, handle, digest)
        })
    }

    fn aead_encrypt(&self, key: KeyRef<'_>, input: AeadInput<'_>) -> Result<Vec<u8>> {
        check_aead_encrypt(input)?;
        let record = self.aead_record(key, input)?;
        let _nothing_changes = self.unchanged();
        if let Check::Wrapped(wrapped) = &record.check {
            let key = self.link.run(|desk| unwrapped(desk, key, &record, wrapped))?;
            let sealed = key.encrypt(input.iv, input.aad, input.text);
            return sealed.map_err(|_failed| {
                ProviderError::new(ErrorKind::Internal, "AES-256-GCM in this process failed")
            });
        }
        self.link.run(|desk| aead::encrypt(desk.session, locate(desk, key, &record)?, input))
    }

    fn aead_decrypt(&self, key: KeyRef<'_>, input: AeadInput<'_>) -> Result<SecretBytes> {
        check_aead_decrypt(input)?;
        let record = self.aead_record(key, input)?;
        let _nothing_changes = self.unchanged();
        match &record.check {
            Check::Wrapped(wrapped) => {
                let key = self.link.run(|desk| unwrapped(desk, key, &record, wrapped))?;
                let text = key.decrypt(input.iv, input.aad, input.text);
                text.map(SecretBytes::new).map_err(|_failed| {
                    ProviderError::new(ErrorKind::Integrity, "the tag is not that of the text")
                })
            }
            Check::Tag(tag) => self.link.run(|desk| {
                let handle = locate(desk, key, &record)?;
                aead::decrypt(desk.session, handle, input, || check_tag(desk, handle, &record, tag))
            }),
            Check::Mac(_) | Check::Point(_) | Check::Modulus(_) => Err(not_aead()),
        }
    }

    fn rsa_public(&self, key: KeyRef<'_>) -> Result<RsaModulus> {
        let record = self.record(key)?;
        let modulus = modulus_of(&record)?;
        let _nothing_changes = self.unchanged();
        self.link.run(|desk| locate(desk, key, &record))?;
        Ok(modulus.clone())
    }

    fn rsa_private(&self, key: KeyRef<'_>, input: &[u8]) -> Result<RsaResult> {
        let record = self.record(key)?;
        rsa::check_input(input, modulus_of(&record)?)?;
        let _nothing_changes = self.unchanged();
        self.link.run(|desk| rsa::private(desk.session, locate(desk, key, &record)?, input))
    }

    /// Reads the flags of the token; its PIN is not shown for that.
    fn condition(&self) -> Result<Condition> {
        self.link.token()?.condition()
    }
}

impl Pkcs11Provider {
    fn check_spec(&self, spec: &KeySpec, can: impl FnOnce(Capabilities) -> bool) -> Result<()> {
        if spec.state.is_some() {
            return Err(unsupported("a token knows nothing of the machine's state"));
        }
        if !spec.usage.has(spec.algorithm) {
            return Err(unsupported("usage and algorithm do not fit"));
        }
        if !can(self.info.capabilities) {
            return Err(unsupported("the token failed at this when it was tried"));
        }
        Ok(())
    }

    /// Keeps changes of the token away, where its module does not stand them meanwhile.
    fn unchanged(&self) -> Option<RwLockReadGuard<'_, ()>> {
        let guard = || self.changing.read().unwrap_or_else(PoisonError::into_inner);
        self.changes_alone.then(guard)
    }

    fn record(&self, key: KeyRef<'_>) -> Result<KeyRecord> {
        let record = KeyRecord::decode(key)?;
        if record.home != self.home {
            let serial = &record.home.serial;
            let detail = format!("blob is of another token, with serial {serial:?}");
            return Err(ProviderError::new(ErrorKind::WrongDevice, detail));
        }
        Ok(record)
    }

    fn aead_record(&self, key: KeyRef<'_>, input: AeadInput<'_>) -> Result<KeyRecord> {
        if key.usage != Usage::Aead {
            return Err(not_aead());
        }
        if is_check_iv(input.iv) {
            let detail = "this initialization vector is reserved for check values";
            return Err(ProviderError::invalid(detail));
        }
        self.record(key)
    }
}

fn modulus_of(record: &KeyRecord) -> Result<&RsaModulus> {
    match &record.check {
        Check::Modulus(modulus) => Ok(modulus),
        Check::Mac(_) | Check::Point(_) | Check::Tag(_) | Check::Wrapped(_) => {
            Err(ProviderError::invalid("only an rsa key has a modulus"))
        }
    }
}

fn not_aead() -> ProviderError {
    ProviderError::invalid("only an aead key encrypts")
}

fn unsupported(why: &str) -> ProviderError {
    ProviderError::new(ErrorKind::Unsupported, why)
}
