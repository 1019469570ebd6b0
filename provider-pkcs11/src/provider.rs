//! The verbs.

use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use aws_lc_rs::constant_time;
use cryptoki::object::{ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use provider_core::key::{RANDOM_MAX_BYTES, check_import_length, check_mac_input};
use provider_core::{
    AuthSubject, Capabilities, Condition, ErrorKind, Identity, Info, KeyBlob, KeyRef, KeySpec, Mac,
    Needs, Provider, ProviderError, PublicKey, Result, SecretBytes, Secrets, Settings, Signature,
    Usage,
};

use crate::blob::{Check, Home, IdentityRecord, KeyRecord, is_check_input};
use crate::config::Config;
use crate::error::{Fault, Step};
use crate::link::{Desk, Link};
use crate::mechanism::{self, Abilities};
use crate::module::ModuleUser;
use crate::object::{self, NewKey};
use crate::token::Token;
use crate::{import, marker, needs, quirks};

/// Keys as objects of one PKCS#11 token.
#[derive(Debug)]
pub struct Pkcs11Provider {
    link: Link,
    home: Home,
    abilities: Abilities,
    info: Info,
    /// Held for writing while a key is made or destroyed, so that one id is looked for and made by
    /// one thread; and for reading by everybody else, where the module wants to be alone for that.
    changing: RwLock<()>,
    changes_alone: bool,
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
        let (abilities, info) = link.run(|desk| {
            let abilities = Abilities::probe(desk.pkcs11, desk.token.slot, desk.session)?;
            Ok((abilities, describe(desk, abilities)?))
        })?;
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
        self.check_spec(spec, Capabilities::to_generate(spec.usage))?;
        let new = NewKey::of(spec.usage, spec.id);
        self.make(spec, |session| match spec.usage {
            Usage::Seal | Usage::Mac => {
                let key_type = self.abilities.hmac_key_type;
                let handle = object::generate_hmac(session, key_type, &new)?;
                self.check_value(session, handle, spec)
            }
            Usage::Sign => {
                let (handle, point) = object::generate_pair(session, &new)?;
                mechanism::challenge(session, handle, &point)?;
                Ok(Check::Point(point))
            }
        })
    }

    fn import(&self, spec: &KeySpec, key: &SecretBytes) -> Result<KeyBlob> {
        check_import_length(spec.usage, key)?;
        if spec.usage != Usage::Mac {
            return Err(unsupported("only mac keys are imported"));
        }
        self.check_spec(spec, Capabilities::IMPORT_MAC)?;
        let (new, block) = (NewKey::of(spec.usage, spec.id), import::to_block(key));
        self.make(spec, |session| {
            let key_type = self.abilities.hmac_key_type;
            let handle = object::import_hmac(session, key_type, &new, &block)?;
            self.check_value(session, handle, spec)
        })
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

    /// Reads the flags of the token; its PIN is not shown for that.
    fn condition(&self) -> Result<Condition> {
        self.link.token()?.condition()
    }
}

impl Pkcs11Provider {
    fn check_spec(&self, spec: &KeySpec, needed: Capabilities) -> Result<()> {
        if spec.state.is_some() {
            return Err(unsupported("a token knows nothing of the machine's state"));
        }
        if spec.algorithm != spec.usage.default_algorithm() {
            return Err(unsupported("usage and algorithm do not fit"));
        }
        if !self.info.capabilities.contains(needed) {
            return Err(unsupported("the token failed at this when it was tried"));
        }
        Ok(())
    }

    /// Makes an object and its record. What a failure leaves is destroyed; what a crash leaves has
    /// the id of the spec, by which `destroy` finds it.
    fn make(&self, spec: &KeySpec, work: impl Fn(&Session) -> Step<Check>) -> Result<KeyBlob> {
        let _one_at_a_time = self.changing.write().unwrap_or_else(PoisonError::into_inner);
        if self.link.run(|desk| object::exists(desk.session, spec.id))? {
            return Err(ProviderError::new(ErrorKind::KeyExists, "the token has this CKA_ID"));
        }
        let check = self.link.run(|desk| {
            if desk.again {
                let _left_behind = object::destroy_ours(desk.session, spec.id)?;
            }
            work(desk.session).inspect_err(|_fault| {
                // The first failure is told; a second one here leaves the object to `destroy`.
                let _ = object::destroy_ours(desk.session, spec.id);
            })
        })?;
        let home = self.home.clone();
        Ok(KeyRecord { usage: spec.usage, id: spec.id, home, check }.encode())
    }

    /// Keeps changes of the token away, where its module does not stand them meanwhile.
    fn unchanged(&self) -> Option<RwLockReadGuard<'_, ()>> {
        let guard = || self.changing.read().unwrap_or_else(PoisonError::into_inner);
        self.changes_alone.then(guard)
    }

    fn check_value(&self, session: &Session, key: ObjectHandle, spec: &KeySpec) -> Step<Check> {
        let input = KeyRecord::check_input(spec.usage, spec.id, &self.home);
        let value = mechanism::hmac(session, key, &input)?;
        let value = value.expose().try_into().map_err(|_length| altered("a check value"))?;
        Ok(Check::Mac(value))
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
}

/// The handle of a key's object, known or found now. A found object must answer as recorded.
fn locate(desk: &Desk<'_>, key: KeyRef<'_>, record: &KeyRecord) -> Step<ObjectHandle> {
    if let Some(handle) = desk.known(key.id, key.blob) {
        return Ok(handle);
    }
    let class = match record.check {
        Check::Mac(_) => ObjectClass::SECRET_KEY,
        Check::Point(_) => ObjectClass::PRIVATE_KEY,
    };
    let Some(handle) = object::find_one(desk.session, class, record.id)? else {
        desk.token.check_health(desk.pkcs11, desk.session)?;
        let detail = "C_FindObjects: the token has no key of this CKA_ID";
        return Err(Fault::Found(ProviderError::new(ErrorKind::KeyNotFound, detail)));
    };
    match &record.check {
        Check::Mac(expected) => {
            let input = KeyRecord::check_input(record.usage, record.id, &record.home);
            let value = mechanism::hmac(desk.session, handle, &input)?;
            constant_time::verify_slices_are_equal(value.expose(), expected)
                .map_err(|_differs| altered("the check value of the object"))?;
        }
        Check::Point(point) => mechanism::challenge(desk.session, handle, point)?,
    }
    desk.remember(key.id, key.blob, handle);
    Ok(handle)
}

fn describe(desk: &Desk<'_>, abilities: Abilities) -> Step<Info> {
    let library = desk.pkcs11.get_library_info()?;
    let [manufacturer, model, _, _] = desk.token.texts();
    let maker = if manufacturer.is_empty() { library.manufacturer_id() } else { manufacturer };
    let firmware = match &desk.token.info {
        Some(token) => format!("{model} {}", token.firmware_version()),
        None => format!("{} {}", library.library_description(), library.library_version()),
    };
    let notes = match &desk.token.info {
        Some(_) => "",
        None => "the token cannot be read: it is named by its slot, whose number may change",
    };
    Ok(Info {
        kind: "pkcs11".into(),
        manufacturer: printable(maker),
        firmware: printable(&firmware),
        notes: notes.into(),
        protection: quirks::protection_of(manufacturer),
        capabilities: abilities.capabilities(),
        concurrency: 1,
    })
}

/// At most 64 printable characters.
fn printable(text: &str) -> String {
    let plain = |char: &char| char.is_ascii_graphic() || *char == ' ';
    text.chars().filter(plain).take(64).collect::<String>().trim().to_owned()
}

fn unsupported(why: &str) -> ProviderError {
    ProviderError::new(ErrorKind::Unsupported, why)
}

fn altered(what: &str) -> Fault {
    Fault::Found(ProviderError::new(ErrorKind::Integrity, format!("{what} differs")))
}
