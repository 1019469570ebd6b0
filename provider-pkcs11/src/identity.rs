//! The stored form of a token's identity.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use provider_core::{ErrorKind, Identity, KeyId, ProviderError};

use crate::blob::{CHECK_BYTES, Home};
use crate::bytes::{Reader, push_text};

const IDENTITY_MAGIC: &[u8; 5] = b"P11I\x01";

/// What identifies a token across its reopenings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IdentityRecord {
    pub(crate) manufacturer: String,
    pub(crate) model: String,
    pub(crate) serial: String,
    pub(crate) label: String,
    /// The CKA_ID of the marker, an HMAC key that only this token has.
    pub(crate) marker: KeyId,
    /// What the marker answers.
    pub(crate) check: [u8; CHECK_BYTES],
}

impl IdentityRecord {
    /// The part that key blobs carry.
    pub(crate) fn home(&self) -> Home {
        Home { serial: self.serial.clone(), marker: self.marker }
    }

    /// `magic | marker 16 | check value 32 | manufacturer | model | serial | label`, each text
    /// with its length as u8 before it.
    pub(crate) fn encode(&self) -> Identity {
        let mut bytes = IDENTITY_MAGIC.to_vec();
        bytes.extend_from_slice(&self.marker.0);
        bytes.extend_from_slice(&self.check);
        for text in [&self.manufacturer, &self.model, &self.serial, &self.label] {
            push_text(&mut bytes, text);
        }
        Identity(bytes)
    }

    /// Reads a recorded identity.
    ///
    /// # Errors
    /// `WrongDevice`: it is not one of ours, hence not this token's.
    pub(crate) fn decode(identity: &Identity) -> provider_core::Result<Self> {
        let read = || {
            let mut reader = Reader(&identity.0);
            reader.expect(IDENTITY_MAGIC)?;
            let (marker, check) = (KeyId(reader.array()?), reader.array()?);
            let record = Self {
                manufacturer: reader.text()?,
                model: reader.text()?,
                serial: reader.text()?,
                label: reader.text()?,
                marker,
                check,
            };
            reader.end().map(|()| record)
        };
        read().map_err(|_malformed: ProviderError| {
            ProviderError::new(ErrorKind::WrongDevice, "the recorded identity is no token's")
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ID: KeyId = KeyId([7; 16]);

    #[test]
    fn longest_identity_fits_its_limit() {
        let text = "\u{fffd}".repeat(32);
        let record = IdentityRecord {
            manufacturer: text.clone(),
            model: text.clone(),
            serial: text.clone(),
            label: text,
            marker: ID,
            check: [9; CHECK_BYTES],
        };
        let identity = record.encode();
        assert!(identity.0.len() <= provider_core::key::IDENTITY_MAX_BYTES);
        assert_eq!(IdentityRecord::decode(&identity), Ok(record));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let identity = Identity([IDENTITY_MAGIC.as_slice(), &bytes].concat());
            if let Ok(record) = IdentityRecord::decode(&identity) {
                prop_assert_eq!(record.encode(), identity);
            }
        }
    }
}
