//! From an endpoint and a body to a request.

use hyper::body::Bytes;
use wire::api::{Algorithm, Usage, decode};
use wire::name::KeyName;

use super::body::{
    CreateKey, CreatePair, Decrypt, Derive, Encrypt, EncryptHow, Move, OfHandle, Sign, SignHow,
};
use super::handle::{self, DERIVATION_MAX_BYTES, Named};
use super::refused::Refused;
use super::reply::{Parameter, Shape};
use super::route::Endpoint;
use crate::config::KeydSettings;
use crate::request::{
    AeadWith, HandleRequest, HandleTerms, HeldRequest, Import, Request, RsaPadding, SecretBytes,
};
use wire::keyd::{BadId, Kind, name_of};

/// Version of a ciphertext that is written: ciphertext, then tag.
pub(super) const CIPHERTEXT_V2: u8 = 2;
/// Version of a ciphertext that is read besides: tag, then ciphertext.
const CIPHERTEXT_V1: u8 = 1;
/// Bytes of a tag.
pub(super) const TAG_BYTES: usize = 16;

/// A request, and how its reply is written.
#[derive(Debug)]
pub(super) enum Asked {
    One(Request, Shape),
    /// A handle of a key that is there, or is made then.
    FindOrCreate(KeyName, HandleTerms),
}

/// Reads a body.
///
/// # Errors
/// [`Refused`].
pub(super) fn asked(
    endpoint: &Endpoint,
    body: &Bytes,
    settings: &KeydSettings,
) -> Result<Asked, Refused> {
    let usual = |request| Ok(Asked::One(request, Shape::Usual));
    match endpoint {
        Endpoint::Load(kind, id) => usual(Request::Handle(named(*kind, id)?, HandleRequest::Find)),
        Endpoint::Create(Kind::Key) => create_key(read(body)?, settings),
        Endpoint::Create(Kind::Pair) => create_pair(&read(body)?, settings),
        Endpoint::Move(Kind::Key, _) => Err(Refused::Parameter("invalid type \"key\"".into())),
        Endpoint::Move(Kind::Pair, to) => {
            let Move { from } = read(body)?;
            let (from, to) = (named(Kind::Pair, &from)?, named(Kind::Pair, to)?);
            if from == to {
                return Err(Refused::Parameter("source and destination are the same".into()));
            }
            let request = Request::Handle(to, HandleRequest::Move(from));
            Ok(Asked::One(request, Shape::NoContent))
        }
        Endpoint::Delete(kind) => {
            let OfHandle { key_handle } = read(body)?;
            let named = held(&key_handle)?;
            if named.kind != *kind || named.handle.claims.derived_by.is_some() {
                return Err(Refused::Handle);
            }
            usual(Request::Held(named.handle, HeldRequest::Destroy))
        }
        Endpoint::Parameter(name) => {
            let OfHandle { key_handle } = read(body)?;
            let named = held(&key_handle)?;
            let unknown = || Refused::Parameter("there is no such parameter".into());
            let parameter = Parameter::parse(name).ok_or_else(unknown)?;
            if named.kind != Kind::Pair || named.handle.claims.derived_by.is_some() {
                return Err(Refused::Mechanism);
            }
            let request = Request::Held(named.handle, HeldRequest::Public);
            Ok(Asked::One(request, Shape::Parameter(parameter)))
        }
        Endpoint::Sign => {
            let Sign { key_handle, how } = read(body)?;
            let request = match how {
                SignHow::Ecdsa { digest } => HeldRequest::Sign(digest.as_bytes().to_vec()),
                SignHow::HmacSha256 { message } => {
                    HeldRequest::Mac(SecretBytes::new(message.into_bytes()))
                }
            };
            usual(Request::Held(held(&key_handle)?.handle, request))
        }
        Endpoint::Encrypt => encrypt(read(body)?, settings),
        Endpoint::Decrypt => decrypt(&read(body)?),
        Endpoint::Derive => {
            let Derive { base_key_handle, derivation_data } = read(body)?;
            let named = held(&base_key_handle)?;
            if named.handle.claims.derived_by.is_some() {
                return Err(Refused::Handle);
            }
            let data = derivation_data.as_bytes().to_vec();
            if data.len() > DERIVATION_MAX_BYTES {
                let why = format!("derivationData is longer than {DERIVATION_MAX_BYTES} bytes");
                return Err(Refused::Parameter(why.into()));
            }
            usual(Request::Held(named.handle, HeldRequest::Derive(data)))
        }
        Endpoint::ExportDerived => {
            let OfHandle { key_handle } = read(body)?;
            let named = held(&key_handle)?;
            if named.handle.claims.derived_by.is_none() {
                return Err(Refused::Handle);
            }
            usual(Request::Held(named.handle, HeldRequest::Export))
        }
    }
}

fn read<T: wire::api::Request>(body: &Bytes) -> Result<T, Refused> {
    if body.is_empty() {
        return Err(Refused::NoBody);
    }
    decode(body).map_err(Refused::Body)
}

fn named(kind: Kind, id: &str) -> Result<KeyName, Refused> {
    name_of(kind, id).map_err(|bad| match bad {
        BadId::Invalid(why) => Refused::Id(why),
        BadId::Reserved => Refused::Reserved(id.to_owned()),
    })
}

fn held(text: &str) -> Result<Named, Refused> {
    handle::read(text).ok_or(Refused::Handle)
}

fn create_key(body: CreateKey, settings: &KeydSettings) -> Result<Asked, Refused> {
    let CreateKey { key_id, usage, key_bytes } = body;
    let name = named(Kind::Key, &key_id)?;
    let usage = usage_of(&usage)?;
    let terms = terms(settings, vec![(usage, usage.algorithm())]);
    let Some(key) = key_bytes else { return Ok(Asked::FindOrCreate(name, terms)) };
    let key = SecretBytes::new(key.into_bytes());
    let import = Import { key, replace: settings.import_over };
    let request = Request::Handle(name, HandleRequest::Import(terms, import));
    Ok(Asked::One(request, Shape::Usual))
}

/// What a new key of the dialect shall be.
fn terms(settings: &KeydSettings, kinds: Vec<(Usage, Algorithm)>) -> HandleTerms {
    HandleTerms { kinds, providers: settings.providers.clone(), floor: settings.floor }
}

/// The usage that a list of the dialect's words comes to. `derive` and `sign` are the same: an
/// HMAC; `encrypt` excludes both.
fn usage_of(words: &str) -> Result<Usage, Refused> {
    let mut usage = None;
    for word in words.split(',') {
        let this = match word {
            "encrypt" => Usage::Aead,
            "derive" | "sign" => Usage::Mac,
            _ => {
                let fault = wire::code::Fault::new(
                    wire::code::Code::Malformed,
                    "usage is a list of derive, encrypt, sign, separated by commas",
                );
                return Err(Refused::Body(fault));
            }
        };
        if usage.is_some_and(|before| before != this) {
            let why = "encrypt excludes derive and sign";
            return Err(Refused::Parameter(why.into()));
        }
        usage = Some(this);
    }
    usage.ok_or(Refused::NoBody)
}

fn create_pair(body: &CreatePair, settings: &KeydSettings) -> Result<Asked, Refused> {
    let name = named(Kind::Pair, &body.key_id)?;
    let preferred = body.preferred_algorithms.as_deref().unwrap_or("*");
    let mut kinds = Vec::new();
    let mut add = |kind: (Usage, Algorithm)| {
        if (kind.0 != Usage::Rsa || settings.rsa) && !kinds.contains(&kind) {
            kinds.push(kind);
        }
    };
    for word in preferred.split(':') {
        for kind in PAIRS.iter().filter(|(known, _)| word == *known || word == "*") {
            add(kind.1);
        }
    }
    if kinds.is_empty() {
        return Err(Refused::Parameter("none of preferredAlgorithms is to be had".into()));
    }
    Ok(Asked::FindOrCreate(name, terms(settings, kinds)))
}

/// The algorithms of key pairs, the preferred first.
const PAIRS: [(&str, (Usage, Algorithm)); 3] = [
    ("ec-p256", (Usage::Sign, Algorithm::EcdsaP256)),
    ("rsa-2048", (Usage::Rsa, Algorithm::Rsa2048)),
    ("rsa-4096", (Usage::Rsa, Algorithm::Rsa4096)),
];

fn encrypt(body: Encrypt, settings: &KeydSettings) -> Result<Asked, Refused> {
    let Encrypt { key_handle, how, plaintext } = body;
    let named = held(&key_handle)?;
    let plaintext = SecretBytes::new(plaintext.into_bytes());
    let request = match how {
        EncryptHow::Aead { iv, aad } => HeldRequest::Encrypt {
            with: aead_with(iv.as_bytes(), aad.as_bytes())?,
            plaintext,
            refuse_repeated: settings.refuse_repeated_ivs,
        },
        EncryptHow::RsaPkcs1 => HeldRequest::RsaPrivate(RsaPadding::Block, plaintext),
        EncryptHow::RsaNoPadding => HeldRequest::RsaPrivate(RsaPadding::None, plaintext),
    };
    Ok(Asked::One(Request::Held(named.handle, request), Shape::Usual))
}

fn decrypt(body: &Decrypt) -> Result<Asked, Refused> {
    let named = held(&body.key_handle)?;
    let EncryptHow::Aead { iv, aad } = &body.how else { return Err(Refused::Mechanism) };
    let with = aead_with(iv.as_bytes(), aad.as_bytes())?;
    let ciphertext = in_order(body.ciphertext.as_bytes()).ok_or(Refused::Integrity)?;
    let request = Request::Held(named.handle, HeldRequest::Decrypt { with, ciphertext });
    Ok(Asked::One(request, Shape::Usual))
}

fn aead_with(iv: &[u8], aad: &[u8]) -> Result<AeadWith, Refused> {
    if iv.is_empty() {
        return Err(Refused::Parameter("iv is empty".into()));
    }
    Ok(AeadWith { iv: iv.to_vec(), aad: aad.to_vec() })
}

/// Ciphertext, then tag, of a ciphertext of either version.
fn in_order(versioned: &[u8]) -> Option<Vec<u8>> {
    let (version, rest) = versioned.split_first()?;
    match *version {
        CIPHERTEXT_V2 if rest.len() >= TAG_BYTES => Some(rest.to_vec()),
        CIPHERTEXT_V1 => {
            let (tag, ciphertext) = rest.split_at_checked(TAG_BYTES)?;
            Some([ciphertext, tag].concat())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(versioned: &[u8], in_order_is: Option<&[u8]>) {
        assert_eq!(in_order(versioned).as_deref(), in_order_is);
    }

    #[test]
    fn ciphertexts_of_both_versions_come_into_one_order() {
        check(&[&[2][..], b"text", &[7; 16]].concat(), Some(&[&b"text"[..], &[7; 16]].concat()));
        check(&[&[1][..], &[7; 16], b"text"].concat(), Some(&[&b"text"[..], &[7; 16]].concat()));
    }

    #[test]
    fn ciphertext_of_another_version_or_too_short_is_none() {
        check(&[], None);
        check(&[[3].as_slice(), &[7; 20]].concat(), None);
        for version in [1, 2] {
            check(&[[version].as_slice(), &[7; 15]].concat(), None);
            check(&[[version].as_slice(), &[7; 16]].concat(), Some(&[7; 16]));
        }
    }

    #[test]
    fn usages_that_are_one_come_to_one() {
        assert_eq!(usage_of("sign"), Ok(Usage::Mac));
        assert_eq!(usage_of("derive,sign"), Ok(Usage::Mac));
        assert_eq!(usage_of("encrypt,encrypt"), Ok(Usage::Aead));
        assert!(matches!(usage_of("derive,encrypt"), Err(Refused::Parameter(_))));
        for bad in ["", "sign, derive", "wrap", "encrypt,"] {
            assert!(matches!(usage_of(bad), Err(Refused::Body(_))), "{bad}");
        }
    }
}
