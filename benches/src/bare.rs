//! What the same work costs without a host: one thread, the device's own library, a kept session.

use std::fmt;
use std::num::ParseIntError;
use std::path::Path;
use std::process::Command;
use std::str::FromStr;
use std::time::{Duration, Instant};

use aws_lc_rs::{hmac, rand};
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::aead::GcmParams;
use cryptoki::object::{Attribute, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::types::AuthPin;
use swtpm_fixtures::{SoftHsm, Swtpm};
use tss_esapi::attributes::{ObjectAttributesBuilder, SessionAttributesBuilder};
use tss_esapi::constants::SessionType;
use tss_esapi::handles::KeyHandle;
use tss_esapi::interface_types::algorithm::{HashingAlgorithm, PublicAlgorithm};
use tss_esapi::interface_types::ecc::EccCurve;
use tss_esapi::interface_types::resource_handles::Hierarchy;
use tss_esapi::interface_types::session_handles::AuthSession;
use tss_esapi::structures::{
    EccScheme, KeyDerivationFunctionScheme, KeyedHashScheme, MaxBuffer, Public, PublicBuilder,
    PublicEccParametersBuilder, PublicKeyedHashParameters, SymmetricDefinition,
    SymmetricDefinitionObject,
};
use tss_esapi::{Context, TctiNameConf};
use wire::context::EncryptionContext;
use wire::envelope::{DataKey, Kek, Method, Recipient, kdf_input, seal};
use wire::name::KeyName;

/// What a bare loop on a token does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Work {
    /// Nothing: no device has part in the request.
    None,
    /// HMAC-SHA256 of 64 bytes.
    Sign,
    /// AES-256-GCM of so many bytes.
    Gcm(usize),
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Sign => f.write_str("sign"),
            Self::Gcm(bytes) => write!(f, "gcm-{bytes}"),
        }
    }
}

impl FromStr for Work {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, ParseIntError> {
        match text {
            "none" => Ok(Self::None),
            "sign" => Ok(Self::Sign),
            gcm => gcm.trim_start_matches("gcm-").parse().map(Self::Gcm),
        }
    }
}

/// Operations a second of `work`.
fn measure(time: Duration, mut work: impl FnMut()) -> f64 {
    let until = Instant::now() + time / 8;
    while Instant::now() < until {
        work();
    }
    let started = Instant::now();
    let mut done = 0_u32;
    while started.elapsed() < time {
        for _ in 0..8 {
            work();
        }
        done += 8;
    }
    f64::from(done) / started.elapsed().as_secs_f64()
}

/// The whole seal of 64 bytes in software: HMAC, KEK, wrapping, AEAD, text.
pub(crate) fn software(time: Duration) -> f64 {
    let key = hmac::Key::new(hmac::HMAC_SHA256, &[7; 32]);
    let name = KeyName::parse("bench").unwrap();
    let context = EncryptionContext::default();
    measure(time, || {
        let mut random = [0; 44];
        rand::fill(&mut random).unwrap();
        let salt: [u8; 32] = random[..32].try_into().unwrap();
        let nonce = random[32..].try_into().unwrap();
        let data_key = DataKey::fill_with(|bytes| rand::fill(bytes)).unwrap();
        let mac = hmac::sign(&key, &kdf_input(&[1; 16], 1, &salt));
        let kek = Kek::from_device_mac(mac.as_ref().try_into().unwrap(), &salt).unwrap();
        let recipient = Recipient {
            method: Method::HmacKdf,
            key_id: [1; 16],
            version: 1,
            provider_kind: "soft".into(),
            protection: wire::api::Protection::Software,
            salt,
            wrapped: kek.wrap(&data_key).unwrap(),
        };
        let sealed = seal(&name, &data_key, vec![recipient], nonce, &context, &[7; 64]).unwrap();
        assert!(!sealed.to_text().is_empty());
    })
}

/// `C_Sign` or `C_Encrypt` with a kept session and handle, one thread; in a process of its own, because the
/// module reads its configuration from the environment.
pub(crate) fn token(hsm: &SoftHsm, work: Work, time: Duration) -> f64 {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--bare-token", hsm.module_path(), "--bare-work", &work.to_string()])
        .args(["--seconds", &time.as_secs_f64().to_string()])
        .env("SOFTHSM2_CONF", hsm.conf_path())
        .output()
        .unwrap();
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stderr));
    String::from_utf8(child.stdout).unwrap().trim().parse().unwrap()
}

/// The loop itself.
pub(crate) fn token_loop(module: &Path, work: Work, time: Duration) -> f64 {
    let session = token_session(module);
    match work {
        Work::None => measure(time, || {}),
        Work::Sign => {
            let kind = [Attribute::KeyType(KeyType::GENERIC_SECRET), Attribute::Sign(true)];
            let key = token_key(&session, &Mechanism::GenericSecretKeyGen, &kind);
            measure(time, || {
                assert_eq!(session.sign(&Mechanism::Sha256Hmac, key, &[7; 64]).unwrap().len(), 32);
            })
        }
        Work::Gcm(bytes) => {
            let kind = [Attribute::KeyType(KeyType::AES), Attribute::Encrypt(true)];
            let key = token_key(&session, &Mechanism::AesKeyGen, &kind);
            let (mut iv, text) = (*b"0123456", vec![7; bytes]);
            measure(time, || {
                let gcm = GcmParams::new(&mut iv, b"7891011", 128.into()).unwrap();
                let sealed = session.encrypt(&Mechanism::AesGcm(gcm), key, &text).unwrap();
                assert_eq!(sealed.len(), bytes + 16);
            })
        }
    }
}

fn token_session(module: &Path) -> Session {
    let module = Pkcs11::new(module).unwrap();
    module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)).unwrap();
    let slot = module.get_slots_with_initialized_token().unwrap()[0];
    let session = module.open_rw_session(slot).unwrap();
    session.login(UserType::User, Some(&AuthPin::new("1234".into()))).unwrap();
    session
}

/// A key as ours are: SoftHSM spends more on objects of a token than on those of a session.
fn token_key(session: &Session, mechanism: &Mechanism<'_>, kind: &[Attribute]) -> ObjectHandle {
    let template = [
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::ValueLen(32.into()),
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
    ];
    session.generate_key(mechanism, &[&template, kind].concat()).unwrap()
}

/// `TPM2_HMAC` with a loaded key, one thread, on an emulator of its own, because two users of one
/// get in each other's way: first with password authorization, the least that the device's library
/// can do and in clear, then with a salted session that encrypts parameters, as the provider uses.
pub(crate) fn tpm(time: Duration) -> (f64, f64) {
    let swtpm = Swtpm::start().unwrap();
    let tcti: TctiNameConf = swtpm.tcti().parse().unwrap();
    let mut context = Context::new(tcti).unwrap();
    let (primary, key) = tpm_keys(&mut context);
    let session = context
        .start_auth_session(
            Some(primary),
            None,
            None,
            SessionType::Hmac,
            SymmetricDefinition::AES_128_CFB,
            HashingAlgorithm::Sha256,
        )
        .unwrap();
    let (attributes, mask) = SessionAttributesBuilder::new()
        .with_decrypt(true)
        .with_encrypt(true)
        .with_continue_session(true)
        .build();
    context.tr_sess_set_attributes(session.unwrap(), attributes, mask).unwrap();
    let mut with = |session: Option<AuthSession>| {
        context.set_sessions((session, None, None));
        let input = MaxBuffer::try_from(vec![7; 64]).unwrap();
        measure(time, || {
            let mac = context.hmac(key.into(), input.clone(), HashingAlgorithm::Sha256);
            assert_eq!(mac.unwrap().len(), 32);
        })
    };
    (with(Some(AuthSession::Password)), with(session))
}

fn tpm_keys(context: &mut Context) -> (KeyHandle, KeyHandle) {
    let primary = context
        .execute_with_nullauth_session(|context| {
            context.create_primary(Hierarchy::Owner, storage_template(), None, None, None, None)
        })
        .unwrap()
        .key_handle;
    let attributes = ObjectAttributesBuilder::new()
        .with_fixed_tpm(true)
        .with_fixed_parent(true)
        .with_sensitive_data_origin(true)
        .with_user_with_auth(true)
        .with_sign_encrypt(true)
        .with_no_da(true)
        .build()
        .unwrap();
    let template = PublicBuilder::new()
        .with_public_algorithm(PublicAlgorithm::KeyedHash)
        .with_name_hashing_algorithm(HashingAlgorithm::Sha256)
        .with_object_attributes(attributes)
        .with_keyed_hash_parameters(PublicKeyedHashParameters::new(KeyedHashScheme::HMAC_SHA_256))
        .with_keyed_hash_unique_identifier(tss_esapi::structures::Digest::default())
        .build()
        .unwrap();
    let key = context
        .execute_with_nullauth_session(|context| {
            let made = context.create(primary, template, None, None, None, None)?;
            context.load(primary, made.out_private, made.out_public)
        })
        .unwrap();
    (primary, key)
}

fn storage_template() -> Public {
    let attributes = ObjectAttributesBuilder::new()
        .with_fixed_tpm(true)
        .with_fixed_parent(true)
        .with_sensitive_data_origin(true)
        .with_user_with_auth(true)
        .with_restricted(true)
        .with_decrypt(true)
        .with_no_da(true)
        .build()
        .unwrap();
    let parameters = PublicEccParametersBuilder::new()
        .with_symmetric(SymmetricDefinitionObject::AES_128_CFB)
        .with_ecc_scheme(EccScheme::Null)
        .with_curve(EccCurve::NistP256)
        .with_key_derivation_function_scheme(KeyDerivationFunctionScheme::Null)
        .with_is_signing_key(false)
        .with_is_decryption_key(true)
        .with_restricted(true)
        .build()
        .unwrap();
    PublicBuilder::new()
        .with_public_algorithm(PublicAlgorithm::Ecc)
        .with_name_hashing_algorithm(HashingAlgorithm::Sha256)
        .with_object_attributes(attributes)
        .with_ecc_parameters(parameters)
        .with_ecc_unique_identifier(tss_esapi::structures::EccPoint::default())
        .build()
        .unwrap()
}
