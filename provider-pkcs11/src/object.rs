//! Objects on the token: found by their CKA_ID, destroyed. `create` makes them.

use cryptoki::object::{Attribute, AttributeType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use provider_core::{ErrorKind, KeyId, ProviderError};

use crate::error::{Fault, Step};

/// What the label of every object of ours begins with.
pub(crate) const LABEL_PREFIX: &str = "sealhost ";
/// The label of identity markers.
pub(crate) const MARKER_LABEL: &str = "sealhost marker";

/// Finds the one key object of a class and id.
///
/// # Errors
/// `Integrity`: there are several, so that one was planted.
pub(crate) fn find_one(
    session: &Session,
    class: ObjectClass,
    id: KeyId,
) -> Step<Option<ObjectHandle>> {
    let template = [Attribute::Class(class), Attribute::Token(true), Attribute::Id(id.0.to_vec())];
    let found = session.find_objects(&template)?;
    match found.as_slice() {
        [] => Ok(None),
        [one] => Ok(Some(*one)),
        several => {
            let detail = format!("{} objects have one CKA_ID; one is expected", several.len());
            Err(Fault::Found(ProviderError::new(ErrorKind::Integrity, detail)))
        }
    }
}

/// Whether any object of the token has an id.
pub(crate) fn exists(session: &Session, id: KeyId) -> Step<bool> {
    let template = [Attribute::Token(true), Attribute::Id(id.0.to_vec())];
    Ok(!session.find_objects(&template)?.is_empty())
}

/// Destroys every object of ours with an id, and returns how many there were. Those of others,
/// told by their label, stay: an edited registry must not make us destroy another program's key.
pub(crate) fn destroy_ours(session: &Session, id: KeyId) -> Step<usize> {
    let template = [Attribute::Token(true), Attribute::Id(id.0.to_vec())];
    let mut destroyed = 0_usize;
    for handle in session.find_objects(&template)? {
        let attributes = session.get_attributes(handle, &[AttributeType::Label])?;
        let ours = attributes.iter().any(|attribute| {
            matches!(attribute, Attribute::Label(label) if label.starts_with(LABEL_PREFIX.as_bytes()))
        });
        if ours {
            session.destroy_object(handle)?;
            destroyed = destroyed.saturating_add(1);
        }
    }
    Ok(destroyed)
}

/// The ids of all identity markers of the token, in ascending order.
pub(crate) fn markers(session: &Session) -> Step<Vec<KeyId>> {
    let template = [
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::Token(true),
        Attribute::Label(MARKER_LABEL.into()),
    ];
    let mut ids = Vec::new();
    for handle in session.find_objects(&template)? {
        for attribute in session.get_attributes(handle, &[AttributeType::Id])? {
            let Attribute::Id(id) = attribute else { continue };
            ids.extend(<[u8; 16]>::try_from(id).map(KeyId));
        }
    }
    ids.sort_unstable();
    Ok(ids)
}
