//! The stored forms: what the host keeps of a key, and of a token's identity. Both are read
//! strictly: one version, exact lengths, nothing behind the end.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use provider_core::key::PUBLIC_KEY_BYTES;
use provider_core::{ErrorKind, Identity, KeyBlob, KeyId, KeyRef, ProviderError, Result, Usage};

const KEY_MAGIC: &[u8; 5] = b"P11K\x01";
const IDENTITY_MAGIC: &[u8; 5] = b"P11I\x01";

/// Bytes of a check value, one HMAC-SHA256.
pub(crate) const CHECK_BYTES: usize = 32;

/// What the object with a key must answer, so that another one with its CKA_ID is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Check {
    /// For an HMAC key: its HMAC over [`KeyRecord::check_input`].
    Mac([u8; CHECK_BYTES]),
    /// For a signing key: the point under which its signatures verify.
    Point([u8; PUBLIC_KEY_BYTES]),
}

/// The token that has an object. Serial numbers alone do not tell tokens apart: NSS gives all its
/// databases the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Home {
    pub(crate) serial: String,
    /// The CKA_ID of the token's marker.
    pub(crate) marker: KeyId,
}

/// A key blob, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeyRecord {
    pub(crate) usage: Usage,
    pub(crate) id: KeyId,
    pub(crate) home: Home,
    pub(crate) check: Check,
}

impl KeyRecord {
    /// `magic | usage u32 | id 16 | marker 16 | serial length u8 | serial | check value 32 or
    /// point 65`.
    pub(crate) fn encode(&self) -> KeyBlob {
        let mut bytes = header(self.usage, self.id, &self.home);
        match &self.check {
            Check::Mac(value) => bytes.extend_from_slice(value),
            Check::Point(point) => bytes.extend_from_slice(point),
        }
        KeyBlob(bytes)
    }

    /// Reads the blob of a key reference.
    ///
    /// # Errors
    /// `InvalidParameter`: it is of another usage or id. `Integrity`: it is not one of ours.
    pub(crate) fn decode(key: KeyRef<'_>) -> Result<Self> {
        let mut reader = Reader(key.blob);
        reader.expect(KEY_MAGIC)?;
        let usage =
            Usage::from_number(u32::from_be_bytes(reader.array()?)).ok_or_else(malformed)?;
        let id = KeyId(reader.array()?);
        if usage != key.usage || id != key.id {
            return Err(ProviderError::invalid("blob is of another usage or id"));
        }
        let home = Home { marker: KeyId(reader.array()?), serial: reader.text()? };
        let check = match usage {
            Usage::Seal | Usage::Mac => Check::Mac(reader.array()?),
            Usage::Sign => Check::Point(reader.array()?),
        };
        reader.end()?;
        Ok(Self { usage, id, home, check })
    }

    /// What the check value of an HMAC key is computed over.
    ///
    /// It holds every other field of the record, so that the key itself answers for its usage: an
    /// edited blob cannot turn a key of one usage into one of another. It begins with the seal
    /// label, which no input of a `Mac` key may, so that nobody who may compute MACs can compute
    /// a check value; and goes on with a prefix that [`is_check_input`] refuses for `Seal` keys.
    pub(crate) fn check_input(usage: Usage, id: KeyId, home: &Home) -> Vec<u8> {
        let mut input = check_prefix();
        input.extend_from_slice(&header(usage, id, home));
        input
    }
}

/// Whether an input is reserved for check values.
pub(crate) fn is_check_input(input: &[u8]) -> bool {
    input.starts_with(&check_prefix())
}

/// What an identity marker answers to. No key blob has this check input, so that a marker cannot
/// be used as a key.
pub(crate) fn marker_input() -> Vec<u8> {
    let mut input = check_prefix();
    input.extend_from_slice(b"identity marker");
    input
}

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
    pub(crate) fn decode(identity: &Identity) -> Result<Self> {
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

fn check_prefix() -> Vec<u8> {
    let mut prefix = provider_core::key::SEAL_LABEL.to_vec();
    prefix.extend_from_slice(b"\xff\xff\xff\xffpkcs11 check\0");
    prefix
}

fn header(usage: Usage, id: KeyId, home: &Home) -> Vec<u8> {
    let mut bytes = KEY_MAGIC.to_vec();
    bytes.extend_from_slice(&usage.number().to_be_bytes());
    bytes.extend_from_slice(&id.0);
    bytes.extend_from_slice(&home.marker.0);
    push_text(&mut bytes, &home.serial);
    bytes
}

/// Appends a text of a token, which has at most 32 characters of at most 3 bytes (a broken byte
/// becomes U+FFFD); what is past 255 bytes is cut.
fn push_text(bytes: &mut Vec<u8>, text: &str) {
    let kept = (0..=text.len().min(255)).rev().find_map(|end| text.get(..end)).unwrap_or_default();
    bytes.push(u8::try_from(kept.len()).unwrap_or_default());
    bytes.extend_from_slice(kept.as_bytes());
}

fn malformed() -> ProviderError {
    ProviderError::new(ErrorKind::Integrity, "blob is malformed")
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or_else(malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        self.take(N)?.try_into().map_err(|_length| malformed())
    }

    fn expect(&mut self, magic: &[u8]) -> Result<()> {
        if self.take(magic.len())? == magic { Ok(()) } else { Err(malformed()) }
    }

    fn text(&mut self) -> Result<String> {
        let [length] = self.array()?;
        let bytes = self.take(length.into())?;
        String::from_utf8(bytes.to_vec()).map_err(|_not_utf8| malformed())
    }

    fn end(self) -> Result<()> {
        if self.0.is_empty() { Ok(()) } else { Err(malformed()) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ID: KeyId = KeyId([7; 16]);

    fn home() -> Home {
        Home { serial: "0123".into(), marker: KeyId([3; 16]) }
    }

    fn record(usage: Usage) -> KeyRecord {
        let check = match usage {
            Usage::Seal | Usage::Mac => Check::Mac([1; CHECK_BYTES]),
            Usage::Sign => Check::Point([4; PUBLIC_KEY_BYTES]),
        };
        KeyRecord { usage, id: ID, home: home(), check }
    }

    fn check(usage: Usage, id: KeyId, blob: &[u8], expected: Option<ErrorKind>) {
        let outcome = KeyRecord::decode(KeyRef { usage, id, blob });
        assert_eq!(outcome.err().map(|error| error.kind), expected);
    }

    #[test]
    fn record_of_each_usage_survives() {
        for usage in [Usage::Seal, Usage::Mac, Usage::Sign] {
            let KeyBlob(blob) = record(usage).encode();
            let read = KeyRecord::decode(KeyRef { usage, id: ID, blob: &blob });
            assert_eq!(read, Ok(record(usage)));
        }
    }

    #[test]
    fn other_usage_is_invalid() {
        check(Usage::Seal, ID, &record(Usage::Mac).encode().0, Some(ErrorKind::InvalidParameter));
    }

    #[test]
    fn other_id_is_invalid() {
        let id = KeyId([8; 16]);
        check(Usage::Mac, id, &record(Usage::Mac).encode().0, Some(ErrorKind::InvalidParameter));
    }

    #[test]
    fn empty_blob_is_malformed() {
        check(Usage::Mac, ID, &[], Some(ErrorKind::Integrity));
    }

    #[test]
    fn byte_behind_the_end_is_malformed() {
        let KeyBlob(mut blob) = record(Usage::Mac).encode();
        blob.push(0);
        check(Usage::Mac, ID, &blob, Some(ErrorKind::Integrity));
    }

    #[test]
    fn blob_cut_anywhere_is_malformed() {
        let KeyBlob(blob) = record(Usage::Sign).encode();
        for length in 0..blob.len() {
            check(Usage::Sign, ID, &blob[..length], Some(ErrorKind::Integrity));
        }
    }

    #[test]
    fn check_input_is_refused_to_callers_of_every_usage() {
        let input = KeyRecord::check_input(Usage::Seal, ID, &home());
        assert!(is_check_input(&input));
        assert!(provider_core::key::check_mac_input(Usage::Mac, &input).is_err());
    }

    #[test]
    fn check_inputs_of_two_usages_differ() {
        let input = |usage| KeyRecord::check_input(usage, ID, &home());
        assert_ne!(input(Usage::Seal), input(Usage::Mac));
    }

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
            let blob = [KEY_MAGIC.as_slice(), &bytes].concat();
            if let Ok(record) = KeyRecord::decode(KeyRef { usage: Usage::Mac, id: ID, blob: &blob }) {
                prop_assert_eq!(record.encode().0, blob);
            }
            let identity = Identity([IDENTITY_MAGIC.as_slice(), &bytes].concat());
            if let Ok(record) = IdentityRecord::decode(&identity) {
                prop_assert_eq!(record.encode(), identity);
            }
        }
    }
}
