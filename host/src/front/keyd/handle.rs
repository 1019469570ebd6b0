//! Handles as text: `sr=` and the claims, `&sig=` and the MAC over them, as the peer writes its own.
//! Clients treat them as opaque.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use wire::api::{Base64Array, Base64Bytes, decode};
use wire::name::ProviderName;

use crate::request::{Claims, Handle, NONCE_BYTES};
use wire::keyd::{Kind, id_of, name_of};

/// Longest handle that is read, bytes: that of the longest derivation data with room to spare.
const HANDLE_MAX_BYTES: usize = 8 * 1024;
/// Longest derivation data, bytes: what a device MACs in one command.
pub(super) const DERIVATION_MAX_BYTES: usize = 1024;

#[derive(Serialize, Deserialize)]
struct Sr {
    key_id: KeyId,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    derived_by: Option<Base64Bytes<DERIVATION_MAX_BYTES>>,
    generation: u32,
    uid: u32,
    provider: String,
    nonce: Base64Array<NONCE_BYTES>,
}

#[derive(Serialize, Deserialize)]
enum KeyId {
    Key(String),
    KeyPair(String),
}

impl wire::api::Request for Sr {}

/// A handle that was read, and what kind of key it is of.
#[derive(Debug)]
pub(super) struct Named {
    pub(super) handle: Handle,
    pub(super) kind: Kind,
}

/// Writes a handle; `None` when its key has no id in this dialect.
pub(super) fn write(handle: &Handle) -> Option<String> {
    let claims = &handle.claims;
    let key_id = match id_of(claims.key.as_str())? {
        (Kind::Key, id) => KeyId::Key(id),
        (Kind::Pair, id) => KeyId::KeyPair(id),
    };
    let derived_by = claims.derived_by.clone().map(Base64Bytes::new).transpose().ok()?;
    let sr = Sr {
        key_id,
        derived_by,
        generation: claims.generation,
        uid: claims.uid,
        provider: claims.provider.as_str().to_owned(),
        nonce: Base64Array::new(claims.nonce),
    };
    let sr = serde_json::to_vec(&sr).ok()?;
    Some(format!("sr={}&sig={}", STANDARD.encode(sr), STANDARD.encode(handle.mac)))
}

/// Reads a handle; `None` for a text that is none of ours.
pub(super) fn read(text: &str) -> Option<Named> {
    if text.len() > HANDLE_MAX_BYTES {
        return None;
    }
    let (sr, sig) = text.strip_prefix("sr=")?.split_once("&sig=")?;
    let sr: Sr = decode(&STANDARD.decode(sr).ok()?).ok()?;
    let mac = STANDARD.decode(sig).ok()?.try_into().ok()?;
    let (kind, id) = match &sr.key_id {
        KeyId::Key(id) => (Kind::Key, id),
        KeyId::KeyPair(id) => (Kind::Pair, id),
    };
    let claims = Claims {
        key: name_of(kind, id).ok()?,
        generation: sr.generation,
        uid: sr.uid,
        provider: ProviderName::parse(&sr.provider).ok()?,
        derived_by: sr.derived_by.map(|data| data.as_bytes().to_vec()),
        nonce: *sr.nonce.as_bytes(),
    };
    Some(Named { handle: Handle { claims, mac }, kind })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handle(id: &str, derived_by: Option<Vec<u8>>) -> Handle {
        let claims = Claims {
            key: name_of(Kind::Key, id).unwrap(),
            generation: 3,
            uid: 1000,
            provider: ProviderName::parse("tpm").unwrap(),
            derived_by,
            nonce: [7; NONCE_BYTES],
        };
        Handle { claims, mac: [9; 32] }
    }

    #[track_caller]
    fn check(handle: &Handle) {
        let text = write(handle).unwrap();
        assert_eq!(read(&text).map(|named| named.handle).as_ref(), Some(handle), "{text}");
    }

    #[test]
    fn handle_returns_from_text() {
        check(&handle("app/x", None));
        check(&handle("app1", Some(b"data".to_vec())));
    }

    #[test]
    fn longest_handle_is_read() {
        check(&handle(&"a".repeat(119), Some(vec![0xff; DERIVATION_MAX_BYTES])));
    }

    #[test]
    fn text_that_is_no_handle_is_none() {
        let good = write(&handle("a", None)).unwrap();
        let cut = &good[..good.len() - 1];
        for text in ["", "sr=", "sr=&sig=", "sr=AA==&sig=AA==", cut, &good[1..]] {
            assert!(read(text).is_none(), "{text}");
        }
        assert!(read(&format!("{good}{}", "A".repeat(HANDLE_MAX_BYTES))).is_none());
    }
}
