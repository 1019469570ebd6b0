//! Objects on the token: made, checked, found by their CKA_ID, destroyed.

use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use cryptoki::types::Ulong;
use provider_core::{ErrorKind, KeyId, ProviderError, SecretBytes, Usage};
use zeroize::Zeroize;

use crate::error::{Fault, Step};
use crate::quirks;

/// What the label of every object of ours begins with.
const LABEL_PREFIX: &str = "sealhost ";
/// The label of identity markers.
pub(crate) const MARKER_LABEL: &str = "sealhost marker";
/// Bytes of a generated HMAC key: the output length of SHA-256 (RFC 2104 section 3).
const GENERATED_KEY_BYTES: u32 = 32;
/// The object identifier of P-256 in DER (RFC 5480 section 2.1.1.1).
const P256: &[u8] = &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];

/// How a new key is named, and whether it stays on the token.
#[derive(Clone, Debug)]
pub(crate) struct NewKey {
    pub(crate) id: KeyId,
    pub(crate) label: String,
    /// Whether it outlives the session.
    pub(crate) stays: bool,
}

impl NewKey {
    /// A key of the token. The label tells people what it is for; what binds the usage is the
    /// check value.
    pub(crate) fn of(usage: Usage, id: KeyId) -> Self {
        let usage = match usage {
            Usage::Seal => "seal",
            Usage::Mac => "mac",
            Usage::Sign => "sign",
        };
        let id_text: String = id.0.iter().map(|byte| format!("{byte:02x}")).collect();
        Self { id, label: format!("{LABEL_PREFIX}{usage} {id_text}"), stays: true }
    }

    /// An identity marker.
    pub(crate) fn marker(id: KeyId) -> Self {
        Self { id, label: MARKER_LABEL.into(), stays: true }
    }

    fn attributes(&self) -> Vec<Attribute> {
        vec![
            Attribute::Token(self.stays),
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::Sign(true),
            Attribute::Derive(false),
            Attribute::Id(self.id.0.to_vec()),
            Attribute::Label(self.label.clone().into_bytes()),
        ]
    }

    fn secret_attributes(&self, key_type: KeyType) -> Vec<Attribute> {
        let mut attributes = self.attributes();
        attributes.extend([
            Attribute::Class(ObjectClass::SECRET_KEY),
            Attribute::KeyType(key_type),
            Attribute::Verify(false),
            Attribute::Encrypt(false),
            Attribute::Decrypt(false),
            Attribute::Wrap(false),
            Attribute::Unwrap(false),
        ]);
        attributes
    }
}

/// Makes an HMAC key inside the device.
pub(crate) fn generate_hmac(
    session: &Session,
    key_type: KeyType,
    new: &NewKey,
) -> Step<ObjectHandle> {
    let mut attributes = new.secret_attributes(key_type);
    attributes.push(Attribute::ValueLen(Ulong::new(GENERATED_KEY_BYTES.into())));
    let handle = session.generate_key(&Mechanism::GenericSecretKeyGen, &attributes)?;
    guarded(session, handle, new)
}

/// Brings an HMAC key into the device.
///
/// # Secrets
/// The copy of `key` in the template is wiped.
pub(crate) fn import_hmac(
    session: &Session,
    key_type: KeyType,
    new: &NewKey,
    key: &SecretBytes,
) -> Step<ObjectHandle> {
    let mut attributes = new.secret_attributes(key_type);
    attributes.push(Attribute::Value(key.expose().to_vec()));
    let created = session.create_object(&attributes);
    if let Some(Attribute::Value(copy)) = attributes.last_mut() {
        copy.zeroize();
    }
    guarded(session, created?, new)
}

/// Makes a P-256 key pair inside the device and returns the private object and the public point.
/// The public object lives only as long as this takes: the point is kept in the blob.
pub(crate) fn generate_pair(session: &Session, new: &NewKey) -> Step<(ObjectHandle, [u8; 65])> {
    let public = [
        Attribute::Token(false),
        Attribute::Private(false),
        Attribute::Verify(true),
        Attribute::EcParams(P256.to_vec()),
        Attribute::Id(new.id.0.to_vec()),
        Attribute::Label(new.label.clone().into_bytes()),
    ];
    let (public, private) =
        session.generate_key_pair(&Mechanism::EccKeyPairGen, &public, &new.attributes())?;
    let private = guarded(session, private, new)?;
    let attributes = session.get_attributes(public, &[AttributeType::EcPoint])?;
    session.destroy_object(public)?;
    let point = attributes.iter().find_map(|attribute| {
        if let Attribute::EcPoint(point) = attribute { quirks::point_of(point) } else { None }
    });
    let point = point.ok_or_else(|| {
        let detail = "C_GetAttributeValue: CKA_EC_POINT is no uncompressed point of P-256";
        Fault::Refused(ProviderError::new(ErrorKind::Unsupported, detail))
    })?;
    Ok((private, point))
}

/// Reads back what protects a new key. A key that is not protected is destroyed.
///
/// # Errors
/// `Unsupported`, naming the attribute.
fn guarded(session: &Session, handle: ObjectHandle, new: &NewKey) -> Step<ObjectHandle> {
    let wanted = [
        Attribute::Token(new.stays),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
    ];
    let types = wanted.each_ref().map(Attribute::attribute_type);
    let read = session.get_attributes(handle, &types)?;
    let Some(missing) = wanted.iter().find(|attribute| !read.contains(attribute)) else {
        return Ok(handle);
    };
    session.destroy_object(handle)?;
    let detail = format!("the token made a key without {missing:?}; it was destroyed");
    Err(Fault::Refused(ProviderError::new(ErrorKind::Unsupported, detail)))
}

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
