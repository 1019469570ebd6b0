//! The bodies of the fuzz targets of this crate (`docs/fuzzing.md`). Compiled for the fuzzer and
//! for tests only.

use provider_core::{Identity, KeyId, KeyRef, Usage};

use crate::blob::KeyRecord;
use crate::identity::IdentityRecord;
use crate::uri::TokenUri;

/// The setting `token`: what is read is read again as it is written.
pub fn pkcs11_uri(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    match TokenUri::parse(text) {
        Ok(uri) => {
            assert_eq!(TokenUri::parse(&uri.to_string()).as_ref(), Ok(&uri));
            for (attribute, most) in
                [(&uri.token, 32), (&uri.manufacturer, 32), (&uri.model, 16), (&uri.serial, 16)]
            {
                let bytes = attribute.as_ref().map_or(1, String::len);
                assert!((1..=most).contains(&bytes));
            }
        }
        Err(message) => {
            assert!(message.len() <= 512, "{} bytes", message.len());
            assert!(!message.contains("pin-value=") || !text.contains("pin-value="), "{message}");
        }
    }
}

/// Blobs of keys and of a token's identity: one encoding of each.
pub fn pkcs11_blob(data: &[u8]) {
    for usage in [Usage::Seal, Usage::Mac, Usage::Sign, Usage::Aead, Usage::Rsa] {
        let id = data.get(9..25).and_then(|id| id.try_into().ok());
        let key = KeyRef { usage, id: KeyId(id.unwrap_or_default()), blob: data };
        if let Ok(record) = KeyRecord::decode(key) {
            assert_eq!(record.encode().0, data);
            assert_eq!((record.usage, record.id), (usage, key.id));
        }
    }
    if let Ok(record) = IdentityRecord::decode(&Identity(data.to_vec())) {
        assert_eq!(record.encode().0, data);
    }
}

#[cfg(test)]
#[path = "../../fuzz/replay.rs"]
mod replay;

#[cfg(test)]
mod tests {
    use super::replay::replay;

    #[test]
    fn corpus_of_uris_and_blobs_holds() {
        replay("pkcs11_uri", super::pkcs11_uri);
        replay("pkcs11_blob", super::pkcs11_blob);
    }
}
