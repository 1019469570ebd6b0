//! Making keys on the token: what their objects are allowed, and that the token keeps to it.

use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use cryptoki::types::Ulong;
use provider_core::{ErrorKind, KeyId, ProviderError, RsaModulus, SecretBytes, Usage};
use zeroize::Zeroize;

use crate::error::{Fault, Step};
use crate::object::{LABEL_PREFIX, MARKER_LABEL};
use crate::quirks;

/// Bytes of a generated HMAC key (the output length of SHA-256, RFC 2104 section 3), and of a key of
/// AES-256.
const GENERATED_KEY_BYTES: u32 = 32;
/// The object identifier of P-256 in DER (RFC 5480 section 2.1.1.1).
const P256: &[u8] = &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
/// 65,537, the exponent of every RSA key.
pub(crate) const RSA_EXPONENT: [u8; 3] = [1, 0, 1];

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
            Usage::Aead => "aead",
            Usage::Rsa => "rsa",
        };
        let id_text: String = id.0.iter().map(|byte| format!("{byte:02x}")).collect();
        Self { id, label: format!("{LABEL_PREFIX}{usage} {id_text}"), stays: true }
    }

    /// An identity marker.
    pub(crate) fn marker(id: KeyId) -> Self {
        Self { id, label: MARKER_LABEL.into(), stays: true }
    }

    /// A key that vanishes with its session.
    pub(crate) fn passing() -> Self {
        let label = "sealhost self test".into();
        Self { id: KeyId(*b"sealhost-passing"), label, stays: false }
    }

    fn attributes(&self) -> Vec<Attribute> {
        vec![
            Attribute::Token(self.stays),
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::Derive(false),
            Attribute::Id(self.id.0.to_vec()),
            Attribute::Label(self.label.clone().into_bytes()),
        ]
    }

    /// What a private key has.
    fn private(&self) -> Vec<Attribute> {
        let mut attributes = self.attributes();
        attributes.push(Attribute::Sign(true));
        attributes
    }

    fn hmac(&self, key_type: KeyType) -> Vec<Attribute> {
        let mut attributes = self.attributes();
        attributes.extend([
            Attribute::Class(ObjectClass::SECRET_KEY),
            Attribute::KeyType(key_type),
            Attribute::Sign(true),
            Attribute::Verify(false),
            Attribute::Encrypt(false),
            Attribute::Decrypt(false),
            Attribute::Wrap(false),
            Attribute::Unwrap(false),
        ]);
        attributes
    }

    fn aes(&self) -> Vec<Attribute> {
        let mut attributes = self.attributes();
        attributes.extend([
            Attribute::Class(ObjectClass::SECRET_KEY),
            Attribute::KeyType(KeyType::AES),
            Attribute::Encrypt(true),
            Attribute::Decrypt(true),
            Attribute::Sign(false),
            Attribute::Verify(false),
            Attribute::Wrap(false),
            Attribute::Unwrap(false),
        ]);
        attributes
    }

    /// What the public half has, which lives only as long as its making takes.
    fn public(&self) -> Vec<Attribute> {
        vec![
            Attribute::Token(false),
            Attribute::Private(false),
            Attribute::Verify(true),
            Attribute::Id(self.id.0.to_vec()),
            Attribute::Label(self.label.clone().into_bytes()),
        ]
    }
}

/// Makes an HMAC key inside the device.
pub(crate) fn generate_hmac(
    session: &Session,
    key_type: KeyType,
    new: &NewKey,
) -> Step<ObjectHandle> {
    generate(session, &Mechanism::GenericSecretKeyGen, new.hmac(key_type), new)
}

/// Makes a key of AES-256 inside the device.
pub(crate) fn generate_aes(session: &Session, new: &NewKey) -> Step<ObjectHandle> {
    generate(session, &Mechanism::AesKeyGen, new.aes(), new)
}

fn generate(
    session: &Session,
    mechanism: &Mechanism<'_>,
    mut attributes: Vec<Attribute>,
    new: &NewKey,
) -> Step<ObjectHandle> {
    attributes.push(Attribute::ValueLen(Ulong::new(GENERATED_KEY_BYTES.into())));
    let handle = session.generate_key(mechanism, &attributes)?;
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
    import(session, new.hmac(key_type), new, key)
}

/// Brings a key of AES-256 into the device.
///
/// # Secrets
/// As [`import_hmac`].
pub(crate) fn import_aes(session: &Session, new: &NewKey, key: &SecretBytes) -> Step<ObjectHandle> {
    import(session, new.aes(), new, key)
}

/// Brings the private number of a P-256 key into the device.
///
/// # Secrets
/// As [`import_hmac`].
pub(crate) fn import_private(
    session: &Session,
    new: &NewKey,
    key: &SecretBytes,
) -> Step<ObjectHandle> {
    let mut attributes = new.private();
    attributes.extend([
        Attribute::Class(ObjectClass::PRIVATE_KEY),
        Attribute::KeyType(KeyType::EC),
        Attribute::EcParams(P256.to_vec()),
    ]);
    import(session, attributes, new, key)
}

fn import(
    session: &Session,
    mut attributes: Vec<Attribute>,
    new: &NewKey,
    key: &SecretBytes,
) -> Step<ObjectHandle> {
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
    let (mut public, private) = (new.public(), new.private());
    public.push(Attribute::EcParams(P256.to_vec()));
    let (mechanism, kept) = (Mechanism::EccKeyPairGen, AttributeType::EcPoint);
    let (private, read) = generate_halves(session, &mechanism, (&public, &private), new, kept)?;
    let point = read.iter().find_map(|attribute| {
        if let Attribute::EcPoint(point) = attribute { quirks::point_of(point) } else { None }
    });
    let point = point.ok_or_else(|| odd("CKA_EC_POINT is no uncompressed point of P-256"))?;
    Ok((private, point))
}

/// Makes an RSA key pair inside the device and returns the private object and the modulus. The
/// public object goes as that of [`generate_pair`].
pub(crate) fn generate_rsa(
    session: &Session,
    bytes: usize,
    new: &NewKey,
) -> Step<(ObjectHandle, RsaModulus)> {
    let (mut public, mut private) = (new.public(), new.private());
    let bits = u64::try_from(bytes).unwrap_or_default().saturating_mul(8);
    public.extend([
        Attribute::ModulusBits(Ulong::new(bits)),
        Attribute::PublicExponent(RSA_EXPONENT.to_vec()),
    ]);
    // What is not said, some modules allow.
    private.extend([Attribute::Decrypt(false), Attribute::Unwrap(false)]);
    let (mechanism, kept) = (Mechanism::RsaPkcsKeyPairGen, AttributeType::Modulus);
    let (private, read) = generate_halves(session, &mechanism, (&public, &private), new, kept)?;
    let modulus = read.into_iter().find_map(|attribute| {
        if let Attribute::Modulus(modulus) = attribute { Some(RsaModulus(modulus)) } else { None }
    });
    let modulus = modulus.filter(|modulus| modulus.0.len() == bytes && modulus.is_whole());
    let modulus = modulus.ok_or_else(|| odd("CKA_MODULUS is not one of the wanted size"))?;
    Ok((private, modulus))
}

/// Makes a pair, and reads the one attribute of the public half that is kept.
fn generate_halves(
    session: &Session,
    mechanism: &Mechanism<'_>,
    (public, private): (&[Attribute], &[Attribute]),
    new: &NewKey,
    kept: AttributeType,
) -> Step<(ObjectHandle, Vec<Attribute>)> {
    let (public, private) = session.generate_key_pair(mechanism, public, private)?;
    let private = guarded(session, private, new)?;
    let attributes = session.get_attributes(public, &[kept])?;
    session.destroy_object(public)?;
    Ok((private, attributes))
}

/// Copies a private key of the session to the token.
pub(crate) fn keep(session: &Session, passing: ObjectHandle, new: &NewKey) -> Step<ObjectHandle> {
    let template = [
        Attribute::Token(new.stays),
        Attribute::Id(new.id.0.to_vec()),
        Attribute::Label(new.label.clone().into_bytes()),
    ];
    guarded(session, session.copy_object(passing, &template)?, new)
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

fn odd(what: &str) -> Fault {
    let detail = format!("C_GetAttributeValue: {what}");
    Fault::Refused(ProviderError::new(ErrorKind::Unsupported, detail))
}
