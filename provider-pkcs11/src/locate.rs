//! Finding the object of a key, and making it answer as recorded before it is used.

use std::sync::Arc;

use aws_lc_rs::constant_time;
use cryptoki::object::{ObjectClass, ObjectHandle};
use provider_core::{ErrorKind, KeyRef, ProviderError};

use crate::blob::{CHECK_BYTES, Check, KeyRecord, Wrapped};
use crate::desk::Desk;
use crate::error::{Fault, Step};
use crate::{aead, mechanism, object, rsa, wrapped};

/// The handle of a key's object, known or found now. A found object must answer as recorded.
///
/// # Errors
/// `KeyNotFound`: there is none. `Integrity`: there are several, or it answers differently.
pub(crate) fn locate(desk: &Desk<'_>, key: KeyRef<'_>, record: &KeyRecord) -> Step<ObjectHandle> {
    if let Some(handle) = desk.known(key.id, key.blob) {
        return Ok(handle);
    }
    let class = match record.check {
        Check::Mac(_) | Check::Tag(_) | Check::Wrapped(_) => ObjectClass::SECRET_KEY,
        Check::Point(_) | Check::Modulus(_) => ObjectClass::PRIVATE_KEY,
    };
    let Some(handle) = object::find_one(desk.session, class, record.id)? else {
        desk.token.check_health(desk.pkcs11, desk.session)?;
        let detail = "C_FindObjects: the token has no key of this CKA_ID";
        return Err(Fault::Found(ProviderError::new(ErrorKind::KeyNotFound, detail)));
    };
    match &record.check {
        Check::Mac(value) | Check::Wrapped(Wrapped { check: value, .. }) => {
            check_mac(desk, handle, record, value)?;
        }
        Check::Point(point) => mechanism::challenge(desk.session, handle, point)?,
        Check::Tag(tag) => check_tag(desk, handle, record, tag)?,
        Check::Modulus(modulus) => rsa::challenge(desk.session, handle, modulus)?,
    }
    desk.remember(key.id, key.blob, handle);
    Ok(handle)
}

/// The key that an HMAC key of the device wraps, known or unwrapped now.
///
/// # Errors
/// As [`locate`].
pub(crate) fn unwrapped(
    desk: &Desk<'_>,
    key: KeyRef<'_>,
    record: &KeyRecord,
    wrapped: &Wrapped,
) -> Step<Arc<soft_aead::Key>> {
    if let Some(known) = desk.unwrapped(key.id, key.blob) {
        return Ok(known);
    }
    let handle = locate(desk, key, record)?;
    let opened = Arc::new(wrapped::open(desk.session, handle, record.id, wrapped)?);
    desk.keep_unwrapped(key.id, key.blob, Arc::clone(&opened));
    Ok(opened)
}

/// Whether an AES key of the device answers as recorded.
///
/// # Errors
/// `Integrity`: it does not.
pub(crate) fn check_tag(
    desk: &Desk<'_>,
    handle: ObjectHandle,
    record: &KeyRecord,
    tag: &[u8; 16],
) -> Step<()> {
    let iv = KeyRecord::check_iv(record.usage, record.id, &record.home);
    aead::check(desk.session, handle, &iv, tag)
}

fn check_mac(
    desk: &Desk<'_>,
    handle: ObjectHandle,
    record: &KeyRecord,
    expected: &[u8; CHECK_BYTES],
) -> Step<()> {
    let input = KeyRecord::check_input(record.usage, record.id, &record.home);
    let value = mechanism::hmac(desk.session, handle, &input)?;
    constant_time::verify_slices_are_equal(value.expose(), expected).map_err(|_differs| {
        let detail = "C_Sign: the check value of the object differs";
        Fault::Found(ProviderError::new(ErrorKind::Integrity, detail))
    })
}
