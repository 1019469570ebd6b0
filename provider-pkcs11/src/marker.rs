//! The marker: an HMAC key of ours on the token, by whose answer the token is recognized. Serial
//! numbers alone do not do: NSS has one for all databases, and anybody can make a token with any
//! label.

use aws_lc_rs::{constant_time, rand};
use cryptoki::object::ObjectClass;
use cryptoki::session::Session;
use provider_core::{ErrorKind, KeyId, ProviderError};

use crate::abilities::Abilities;
use crate::blob::{CHECK_BYTES, marker_input};
use crate::create::{self, NewKey};
use crate::error::{Fault, Step};
use crate::identity::IdentityRecord;
use crate::mechanism;
use crate::object;
use crate::token::Token;

/// Takes the identity of a token that no identity is recorded of. A marker that is there already
/// is taken over (of several the first by id, so that hosts sharing a token agree), else one is
/// made.
pub(crate) fn adopt(
    session: &Session,
    token: &Token,
    abilities: Abilities,
) -> Step<IdentityRecord> {
    let marker = match object::markers(session)?.first() {
        Some(marker) => *marker,
        None => {
            let mut id = [0; 16];
            rand::fill(&mut id).map_err(|_unspecified| {
                Fault::Found(ProviderError::new(ErrorKind::Internal, "no randomness"))
            })?;
            create::generate_hmac(session, abilities.hmac_key_type, &NewKey::marker(KeyId(id)))?;
            KeyId(id)
        }
    };
    let check = answer(session, marker)?.ok_or_else(|| {
        let detail = "C_FindObjects: the marker is not there after it was made";
        Fault::Found(ProviderError::new(ErrorKind::Internal, detail))
    })?;
    let [manufacturer, model, serial, label] = token.texts().map(str::to_owned);
    Ok(IdentityRecord { manufacturer, model, serial, label, marker, check })
}

/// Whether a token says of itself what the identity says. Asked before a PIN is shown to it.
///
/// # Errors
/// `WrongDevice`, naming what differs.
pub(crate) fn check_texts(token: &Token, identity: &IdentityRecord) -> Step<()> {
    let recorded = [&identity.manufacturer, &identity.model, &identity.serial, &identity.label];
    let names = ["manufacturer", "model", "serial", "label"];
    let mut pairs = names.iter().zip(recorded).zip(token.texts());
    match pairs.find(|((_, recorded), is)| recorded.as_str() != *is) {
        None => Ok(()),
        Some(((name, recorded), is)) => {
            Err(another(&format!("its {name} is {is:?}, recorded is {recorded:?}")))
        }
    }
}

/// Whether the token has the marker of the identity.
///
/// # Errors
/// `WrongDevice`: it has none, several, or one that answers differently.
pub(crate) fn check_answer(session: &Session, identity: &IdentityRecord) -> Step<()> {
    match answer(session, identity.marker)? {
        Some(check) if equal(&check, &identity.check) => Ok(()),
        Some(_) => Err(another("its marker answers differently")),
        None => Err(another("it has no marker of ours")),
    }
}

fn answer(session: &Session, marker: KeyId) -> Step<Option<[u8; CHECK_BYTES]>> {
    let Some(handle) = object::find_one(session, ObjectClass::SECRET_KEY, marker)? else {
        return Ok(None);
    };
    let mac = mechanism::hmac(session, handle, &marker_input())?;
    Ok(mac.expose().try_into().ok())
}

fn equal(one: &[u8], other: &[u8]) -> bool {
    constant_time::verify_slices_are_equal(one, other).is_ok()
}

fn another(why: &str) -> Fault {
    let detail = format!("this is not the recorded token: {why}");
    Fault::Found(ProviderError::new(ErrorKind::WrongDevice, detail))
}
