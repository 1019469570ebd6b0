//! What a device can do, found out by doing: modules advertise what fails.

use aws_lc_rs::constant_time;
use cryptoki::mechanism::MechanismType;
use cryptoki::object::KeyType;
use cryptoki::session::Session;
use provider_core::{AeadInput, Capabilities, ErrorKind, ProviderError, Result, SecretBytes, key};

use crate::aead;
use crate::create::{self, NewKey};
use crate::desk::Desk;
use crate::error::{Fault, Step};
use crate::import;
use crate::link::Link;
use crate::mechanism;
use crate::quirks::HMAC_KEY_TYPES;

/// RFC 4231 section 4.3.
const KNOWN_KEY: &[u8] = b"Jefe";
const KNOWN_INPUT: &[u8] = b"what do ya want for nothing?";
const KNOWN_MAC: [u8; 32] = [
    0x5b, 0xdc, 0xc1, 0x46, 0xbf, 0x60, 0x75, 0x4e, 0x6a, 0x04, 0x24, 0x26, 0x08, 0x95, 0x75, 0xc7,
    0x5a, 0x00, 0x3f, 0x08, 0x9d, 0x27, 0x39, 0x83, 0x9d, 0xec, 0x58, 0xb9, 0x64, 0xec, 0x38, 0x43,
];
/// RFC 6979 section A.2.5, the private number.
const KNOWN_PRIVATE: [u8; 32] = [
    0xc9, 0xaf, 0xa9, 0xd8, 0x45, 0xba, 0x75, 0x16, 0x6b, 0x5c, 0x21, 0x57, 0x67, 0xb1, 0xd6, 0x93,
    0x4e, 0x50, 0xc3, 0xdb, 0x36, 0xe8, 0x9b, 0x12, 0x7b, 0x8a, 0x62, 0x2b, 0x12, 0x0f, 0x67, 0x21,
];
/// The sizes of RSA keys, and what they are worth.
const RSA: [(usize, Capabilities); 2] =
    [(2048, Capabilities::RSA_2048), (4096, Capabilities::RSA_4096)];

/// What a device does.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Abilities {
    /// The key type under which the device takes HMAC keys.
    pub(crate) hmac_key_type: KeyType,
    /// What a caller may ask for.
    pub(crate) capabilities: Capabilities,
}

impl Abilities {
    /// Tries every mechanism with keys that vanish with the session. Failures other than of the
    /// necessary ones (making an HMAC key and computing with it) only take a capability away. RSA
    /// is not tried, because making a key takes seconds: there the word of the module is taken, and
    /// each new key is tried.
    ///
    /// # Errors
    /// `Unsupported`: a necessary one failed; the detail names the call and its status.
    /// `Integrity`: an answer is wrong.
    pub(crate) fn probe(link: &Link) -> Result<Self> {
        let (offered, key_type, rsa) = link.run(|desk| {
            let offered = desk.pkcs11.get_mechanism_list(desk.token.slot)?;
            if !offered.contains(&MechanismType::SHA256_HMAC) {
                return Err(unsupported("C_GetMechanismList: CKM_SHA256_HMAC is not offered"));
            }
            let key_type = hmac_key_type(desk.session)?;
            let rsa = rsa_sizes(desk, &offered)?;
            Ok((offered, key_type, rsa))
        })?;
        let mut abilities = Self {
            hmac_key_type: key_type,
            capabilities: Capabilities::SEAL.and(Capabilities::MAC).and(rsa),
        };
        for trial in TRIALS {
            if trial.mechanisms.iter().all(|mechanism| offered.contains(mechanism))
                && link.works(
                    |desk| (trial.run)(desk.session, key_type),
                    |desk| try_generate(desk.session, key_type),
                )?
            {
                abilities.capabilities = abilities.capabilities.and(trial.gives);
            }
        }
        if !abilities.capabilities.contains(Capabilities::AEAD) {
            abilities.capabilities = abilities.capabilities.and(Capabilities::AEAD_WRAPPED);
        }
        Ok(abilities)
    }

    /// Runs the known answers again.
    pub(crate) fn self_test(self, session: &Session) -> Step<()> {
        try_generate(session, self.hmac_key_type)?;
        for trial in TRIALS {
            if self.capabilities.contains(trial.gives) {
                (trial.run)(session, self.hmac_key_type)?;
            }
        }
        Ok(())
    }
}

/// Something that a device need not have.
struct Trial {
    gives: Capabilities,
    mechanisms: &'static [MechanismType],
    run: fn(&Session, KeyType) -> Step<()>,
}

const TRIALS: &[Trial] = &[
    Trial { gives: Capabilities::IMPORT_MAC, mechanisms: &[], run: try_import },
    Trial {
        gives: Capabilities::SIGN,
        mechanisms: &[MechanismType::ECDSA, MechanismType::ECC_KEY_PAIR_GEN],
        run: |session, _| try_ecdsa(session),
    },
    Trial {
        gives: Capabilities::IMPORT_SIGN,
        mechanisms: &[MechanismType::ECDSA, MechanismType::ECC_KEY_PAIR_GEN],
        run: |session, _| try_import_sign(session),
    },
    Trial {
        gives: Capabilities::AEAD,
        mechanisms: &[MechanismType::AES_GCM, MechanismType::AES_KEY_GEN],
        run: |session, _| try_aead(session),
    },
];

/// The first key type that works for generated keys.
fn hmac_key_type(session: &Session) -> Step<KeyType> {
    let mut reasons = Vec::new();
    for &key_type in HMAC_KEY_TYPES {
        match try_generate(session, key_type) {
            Ok(()) => return Ok(key_type),
            Err(Fault::Refused(error)) => reasons.push(format!("{key_type}: {}", error.detail)),
            Err(fault) => return Err(fault),
        }
    }
    Err(unsupported(&format!("no HMAC key can be made and used ({})", reasons.join("; "))))
}

fn rsa_sizes(desk: &Desk<'_>, offered: &[MechanismType]) -> Step<Capabilities> {
    let mut sizes = Capabilities::default();
    let (make, compute) = (MechanismType::RSA_PKCS_KEY_PAIR_GEN, MechanismType::RSA_X_509);
    if ![make, compute].iter().all(|mechanism| offered.contains(mechanism)) {
        return Ok(sizes);
    }
    let info = |mechanism| match desk.pkcs11.get_mechanism_info(desk.token.slot, mechanism) {
        Ok(info) => Ok(Some(info)),
        Err(error) => match Fault::from(error) {
            Fault::Refused(_) => Ok(None),
            fault @ (Fault::Found(_) | Fault::Lost(_) | Fault::PinRefused(_)) => Err(fault),
        },
    };
    let (Some(make), Some(compute)) = (info(make)?, info(compute)?) else { return Ok(sizes) };
    for (bits, capability) in RSA {
        let ranges = [&make, &compute].map(|info| info.min_key_size()..=info.max_key_size());
        let in_range = ranges.iter().all(|range| range.contains(&bits));
        if make.generate_key_pair() && compute.sign() && in_range {
            sizes = sizes.and(capability);
        }
    }
    Ok(sizes)
}

fn try_generate(session: &Session, key_type: KeyType) -> Step<()> {
    let [one, two] = [(); 2].map(|()| create::generate_hmac(session, key_type, &NewKey::passing()));
    let (one, two) = (one?, two?);
    let first = mechanism::hmac(session, one, KNOWN_INPUT)?;
    let again = mechanism::hmac(session, one, KNOWN_INPUT)?;
    let other = mechanism::hmac(session, two, KNOWN_INPUT)?;
    session.destroy_object(one)?;
    session.destroy_object(two)?;
    if !equal(first.expose(), again.expose()) || equal(first.expose(), other.expose()) {
        return Err(wrong("C_Sign: HMACs of generated keys are not what their keys make them"));
    }
    Ok(())
}

fn try_import(session: &Session, key_type: KeyType) -> Step<()> {
    let key = import::to_block(&SecretBytes::copy_of(KNOWN_KEY));
    let key = create::import_hmac(session, key_type, &NewKey::passing(), &key)?;
    let mac = mechanism::hmac(session, key, KNOWN_INPUT)?;
    session.destroy_object(key)?;
    if equal(mac.expose(), &KNOWN_MAC) {
        Ok(())
    } else {
        Err(wrong("C_Sign: HMAC-SHA256 is wrong"))
    }
}

fn try_ecdsa(session: &Session) -> Step<()> {
    let (key, point) = create::generate_pair(session, &NewKey::passing())?;
    mechanism::challenge(session, key, &point)?;
    Ok(session.destroy_object(key)?)
}

fn try_import_sign(session: &Session) -> Step<()> {
    let private = SecretBytes::copy_of(&KNOWN_PRIVATE);
    let key = create::import_private(session, &NewKey::passing(), &private)?;
    mechanism::challenge(session, key, &import::public_point(&private)?)?;
    Ok(session.destroy_object(key)?)
}

/// A generated and an imported key, the shortest and the longest of everything, and a wrong tag. What
/// is not as it should be is no capability, and no reason to refuse the token: it may do GCM
/// with initialization vectors of 12 bytes only, or with those that it draws.
fn try_aead(session: &Session) -> Step<()> {
    let bytes = [0x6b; key::AEAD_KEY_BYTES];
    let reference = soft_aead::Key::new(&bytes);
    let imported = create::import_aes(session, &NewKey::passing(), &SecretBytes::copy_of(&bytes))?;
    let generated = create::generate_aes(session, &NewKey::passing())?;
    let (iv, aad) = ([3; key::AEAD_IV_MAX_BYTES], vec![4; key::AEAD_AAD_MAX_BYTES]);
    let text = vec![5; key::AEAD_TEXT_MAX_BYTES];
    for (iv, aad, text) in
        [(&iv[..1], &aad[..0], &text[..0]), (&iv[..12], &aad[..7], &text[..11]), (&iv, &aad, &text)]
    {
        let input = AeadInput { iv, aad, text };
        let sealed = aead::encrypt(session, imported, input)?;
        let expected = reference.encrypt(iv, aad, text);
        if expected.is_ok_and(|expected| expected != sealed) {
            return Err(odd("C_Encrypt: AES-256-GCM is wrong"));
        }
        if equal(&aead::encrypt(session, generated, input)?, &sealed) {
            return Err(odd("C_Encrypt: AES-256-GCM does not depend on the key"));
        }
        let own = AeadInput { text: &sealed, ..input };
        let refused = || odd("C_Decrypt: a right tag was refused");
        let opened = match aead::decrypt(session, imported, own, || Err(refused())) {
            Err(Fault::Found(_)) => return Err(refused()),
            outcome => outcome?,
        };
        if !equal(opened.expose(), text) {
            return Err(odd("C_Decrypt: AES-256-GCM is wrong"));
        }
        // The tag of the other key.
        let foreign = AeadInput { text: &aead::encrypt(session, generated, input)?, ..input };
        match aead::decrypt(session, imported, foreign, || {
            aead::encrypt(session, imported, input).map(drop)
        }) {
            Err(Fault::Found(_)) => {}
            Err(fault) => return Err(fault),
            Ok(_) => return Err(odd("C_Decrypt: a wrong tag was taken")),
        }
    }
    session.destroy_object(imported)?;
    Ok(session.destroy_object(generated)?)
}

fn equal(one: &[u8], other: &[u8]) -> bool {
    constant_time::verify_slices_are_equal(one, other).is_ok()
}

fn wrong(detail: &str) -> Fault {
    Fault::Found(ProviderError::new(ErrorKind::Integrity, detail))
}

fn odd(detail: &str) -> Fault {
    Fault::Refused(ProviderError::new(ErrorKind::Integrity, detail))
}

fn unsupported(detail: &str) -> Fault {
    Fault::Found(ProviderError::new(ErrorKind::Unsupported, detail))
}
