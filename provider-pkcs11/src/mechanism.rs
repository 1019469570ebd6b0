//! The cryptography of the device: HMAC-SHA256 and ECDSA P-256, and finding out which of it works.

use aws_lc_rs::digest::{Digest, SHA256};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ParsedPublicKey};
use aws_lc_rs::{constant_time, rand};
use cryptoki::context::Pkcs11;
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{KeyType, ObjectHandle};
use cryptoki::session::Session;
use cryptoki::slot::Slot;
use provider_core::key::SIGNATURE_BYTES;
use provider_core::{Capabilities, ErrorKind, KeyId, ProviderError, SecretBytes, Signature};
use zeroize::Zeroizing;

use crate::error::{Fault, Step};
use crate::object::{self, NewKey};
use crate::quirks::HMAC_KEY_TYPES;

/// The block length of SHA-256 in bytes: what every HMAC key is brought to.
pub(crate) const HMAC_KEY_BYTES: usize = 64;

/// RFC 4231 section 4.3.
const KNOWN_KEY: &[u8] = b"Jefe";
const KNOWN_INPUT: &[u8] = b"what do ya want for nothing?";
const KNOWN_MAC: [u8; 32] = [
    0x5b, 0xdc, 0xc1, 0x46, 0xbf, 0x60, 0x75, 0x4e, 0x6a, 0x04, 0x24, 0x26, 0x08, 0x95, 0x75, 0xc7,
    0x5a, 0x00, 0x3f, 0x08, 0x9d, 0x27, 0x39, 0x83, 0x9d, 0xec, 0x58, 0xb9, 0x64, 0xec, 0x38, 0x43,
];

/// Computes an HMAC-SHA256 inside the device.
pub(crate) fn hmac(session: &Session, key: ObjectHandle, input: &[u8]) -> Step<SecretBytes> {
    let mac = session.sign(&Mechanism::Sha256Hmac, key, input)?;
    if mac.len() != 32 {
        return Err(wrong(&format!("C_Sign: an HMAC-SHA256 of {} bytes", mac.len())));
    }
    Ok(SecretBytes::new(Zeroizing::new(mac)))
}

/// Signs a SHA-256 digest inside the device.
pub(crate) fn ecdsa(session: &Session, key: ObjectHandle, digest: &[u8; 32]) -> Step<Signature> {
    let signature = session.sign(&Mechanism::Ecdsa, key, digest)?;
    let bytes: [u8; SIGNATURE_BYTES] = signature.try_into().map_err(|other: Vec<u8>| {
        wrong(&format!("C_Sign: a signature of {} bytes", other.len()))
    })?;
    Ok(Signature(bytes))
}

/// Lets a key sign a random challenge and verifies it under the point that it shall have.
///
/// # Errors
/// `Integrity`: it does not verify.
pub(crate) fn challenge(session: &Session, key: ObjectHandle, point: &[u8; 65]) -> Step<()> {
    let mut digest = [0; 32];
    rand::fill(&mut digest).map_err(|_unspecified| wrong("no randomness for a challenge"))?;
    let signature = ecdsa(session, key, &digest)?;
    let verified = Digest::import_less_safe(&digest, &SHA256).is_ok_and(|digest| {
        ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
            .is_ok_and(|key| key.verify_digest_sig(&digest, &signature.0).is_ok())
    });
    if verified { Ok(()) } else { Err(wrong("C_Sign: the signature does not verify")) }
}

/// What a device does, found out by doing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Abilities {
    /// The key type under which the device takes HMAC keys.
    pub(crate) hmac_key_type: KeyType,
    import: bool,
    ecdsa: bool,
}

impl Abilities {
    /// Tries every mechanism with keys that vanish with the session. Failures other than of the
    /// necessary ones (making an HMAC key and computing with it) only take a capability away.
    ///
    /// # Errors
    /// `Unsupported`: a necessary one failed; the detail names the call and its status.
    /// `Integrity`: an answer is wrong.
    pub(crate) fn probe(pkcs11: &Pkcs11, slot: Slot, session: &Session) -> Step<Self> {
        let offered = pkcs11.get_mechanism_list(slot)?;
        if !offered.contains(&MechanismType::SHA256_HMAC) {
            return Err(unsupported("C_GetMechanismList: CKM_SHA256_HMAC is not offered"));
        }
        let (hmac_key_type, import) = probe_hmac(session, HMAC_KEY_TYPES)?;
        let needed = [MechanismType::ECDSA, MechanismType::ECC_KEY_PAIR_GEN];
        let ecdsa = needed.iter().all(|mechanism| offered.contains(mechanism))
            && works(probe_ecdsa(session))?;
        Ok(Self { hmac_key_type, import, ecdsa })
    }

    /// Runs the known answers again.
    pub(crate) fn self_test(self, session: &Session) -> Step<()> {
        probe_generate(session, self.hmac_key_type)?;
        if self.import {
            probe_import(session, self.hmac_key_type)?;
        }
        if self.ecdsa { probe_ecdsa(session) } else { Ok(()) }
    }

    /// What of it a caller may ask for.
    pub(crate) fn capabilities(self) -> Capabilities {
        let mut capabilities = Capabilities::SEAL.and(Capabilities::MAC);
        if self.import {
            capabilities = capabilities.and(Capabilities::IMPORT_MAC);
        }
        if self.ecdsa {
            capabilities = capabilities.and(Capabilities::SIGN);
        }
        capabilities
    }
}

/// The first key type that works for generated keys, and whether keys can be imported under it.
fn probe_hmac(session: &Session, key_types: &[KeyType]) -> Step<(KeyType, bool)> {
    let mut reasons = Vec::new();
    for &key_type in key_types {
        match probe_generate(session, key_type) {
            Ok(()) => return Ok((key_type, works(probe_import(session, key_type))?)),
            Err(Fault::Refused(error)) => reasons.push(format!("{key_type}: {}", error.detail)),
            Err(fault) => return Err(fault),
        }
    }
    Err(unsupported(&format!("no HMAC key can be made and used ({})", reasons.join("; "))))
}

fn probe_generate(session: &Session, key_type: KeyType) -> Step<()> {
    let [one, two] = [(); 2].map(|()| object::generate_hmac(session, key_type, &passing()));
    let (one, two) = (one?, two?);
    let first = hmac(session, one, KNOWN_INPUT)?;
    let again = hmac(session, one, KNOWN_INPUT)?;
    let other = hmac(session, two, KNOWN_INPUT)?;
    session.destroy_object(one)?;
    session.destroy_object(two)?;
    if !equal(first.expose(), again.expose()) || equal(first.expose(), other.expose()) {
        return Err(wrong("C_Sign: HMACs of generated keys are not what their keys make them"));
    }
    Ok(())
}

fn probe_import(session: &Session, key_type: KeyType) -> Step<()> {
    let key = crate::import::to_block(&SecretBytes::copy_of(KNOWN_KEY));
    let key = object::import_hmac(session, key_type, &passing(), &key)?;
    let mac = hmac(session, key, KNOWN_INPUT)?;
    session.destroy_object(key)?;
    if equal(mac.expose(), &KNOWN_MAC) {
        Ok(())
    } else {
        Err(wrong("C_Sign: HMAC-SHA256 is wrong"))
    }
}

fn probe_ecdsa(session: &Session) -> Step<()> {
    let (key, point) = object::generate_pair(session, &passing())?;
    challenge(session, key, &point)?;
    Ok(session.destroy_object(key)?)
}

/// A key that vanishes with its session.
fn passing() -> NewKey {
    NewKey { id: KeyId(*b"sealhost-passing"), label: "sealhost self test".into(), stays: false }
}

/// Whether a trial succeeded. A device that was lost during it is an error, not an inability.
fn works(trial: Step<()>) -> Step<bool> {
    match trial {
        Ok(()) => Ok(true),
        Err(Fault::Refused(_)) => Ok(false),
        Err(fault) => Err(fault),
    }
}

fn equal(one: &[u8], other: &[u8]) -> bool {
    constant_time::verify_slices_are_equal(one, other).is_ok()
}

fn wrong(detail: &str) -> Fault {
    Fault::Found(ProviderError::new(ErrorKind::Integrity, detail))
}

fn unsupported(detail: &str) -> Fault {
    Fault::Found(ProviderError::new(ErrorKind::Unsupported, detail))
}
