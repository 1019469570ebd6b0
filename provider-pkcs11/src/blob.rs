//! The stored form of a key: what the host keeps of it.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use aws_lc_rs::digest::{SHA256, digest};
use provider_core::key::{AEAD_TAG_BYTES, PUBLIC_KEY_BYTES};
use provider_core::{KeyBlob, KeyId, KeyRef, ProviderError, Result, RsaModulus, Usage};
use soft_aead::wrapped::{SALT_BYTES, WRAPPED_BYTES};

use crate::bytes::{Reader, malformed, push_text};

const KEY_MAGIC: &[u8; 5] = b"P11K\x01";

/// Bytes of a check value, one HMAC-SHA256.
pub(crate) const CHECK_BYTES: usize = 32;
/// What every initialization vector of check values begins with.
const CHECK_IV_LABEL: &[u8; 22] = b"sealhost pkcs11 check\0";
/// The forms of an `Aead` key in a blob.
const FORM_INSIDE: u8 = 1;
const FORM_WRAPPED: u8 = 2;

/// What the object with a key must answer, so that another one with its CKA_ID is not used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Check {
    /// For an HMAC key: its HMAC over [`KeyRecord::check_input`].
    Mac([u8; CHECK_BYTES]),
    /// For a signing key: the point under which its signatures verify.
    Point([u8; PUBLIC_KEY_BYTES]),
    /// For an AES key: its tag under [`KeyRecord::check_iv`].
    Tag([u8; AEAD_TAG_BYTES]),
    /// For an AES key that an HMAC key of the token wraps: what this one answers, and what it wraps.
    Wrapped(Wrapped),
    /// For an RSA key: the modulus under which its signatures verify.
    Modulus(RsaModulus),
}

/// An AES key under an HMAC key of the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wrapped {
    /// As [`Check::Mac`]. The usage in its input is `Aead`, so that the HMAC key cannot be taken for
    /// one of usage `Seal` or `Mac`, whose callers could have the key-encryption key computed.
    pub(crate) check: [u8; CHECK_BYTES],
    pub(crate) salt: [u8; SALT_BYTES],
    pub(crate) key: [u8; WRAPPED_BYTES],
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
    /// `magic | usage u32 | id 16 | marker 16 | serial length u8 | serial`, then by usage: check
    /// value 32 for `Seal` and `Mac`; point 65 for `Sign`; for `Aead` `1 | tag 16`, or
    /// `2 | check value 32 | salt 32 | wrapped key 40`; for `Rsa` `length u16 | modulus`.
    pub(crate) fn encode(&self) -> KeyBlob {
        let mut bytes = header(self.usage, self.id, &self.home);
        match &self.check {
            Check::Mac(value) => bytes.extend_from_slice(value),
            Check::Point(point) => bytes.extend_from_slice(point),
            Check::Tag(tag) => {
                bytes.push(FORM_INSIDE);
                bytes.extend_from_slice(tag);
            }
            Check::Wrapped(Wrapped { check, salt, key }) => {
                bytes.push(FORM_WRAPPED);
                bytes.extend_from_slice(check);
                bytes.extend_from_slice(salt);
                bytes.extend_from_slice(key);
            }
            Check::Modulus(RsaModulus(modulus)) => {
                let length = u16::try_from(modulus.len()).unwrap_or_default();
                bytes.extend_from_slice(&length.to_be_bytes());
                bytes.extend_from_slice(modulus);
            }
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
            Usage::Aead => match reader.array()? {
                [FORM_INSIDE] => Check::Tag(reader.array()?),
                [FORM_WRAPPED] => Check::Wrapped(Wrapped {
                    check: reader.array()?,
                    salt: reader.array()?,
                    key: reader.array()?,
                }),
                _ => return Err(malformed()),
            },
            Usage::Rsa => {
                let length = u16::from_be_bytes(reader.array()?).into();
                let modulus = RsaModulus(reader.take(length)?.to_vec());
                if !modulus.is_whole() {
                    return Err(malformed());
                }
                Check::Modulus(modulus)
            }
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

    /// The initialization vector of the check value of an AES key (`aead.rs` argues it). It holds,
    /// hashed, every other field of the record, as [`check_input`](Self::check_input) does.
    pub(crate) fn check_iv(usage: Usage, id: KeyId, home: &Home) -> Vec<u8> {
        let mut iv = CHECK_IV_LABEL.to_vec();
        iv.extend_from_slice(digest(&SHA256, &header(usage, id, home)).as_ref());
        iv
    }
}

/// Whether an initialization vector is reserved for check values.
pub(crate) fn is_check_iv(iv: &[u8]) -> bool {
    iv.starts_with(CHECK_IV_LABEL)
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use provider_core::ErrorKind;

    use super::*;

    const ID: KeyId = KeyId([7; 16]);

    fn home() -> Home {
        Home { serial: "0123".into(), marker: KeyId([3; 16]) }
    }

    fn record(usage: Usage, check: Check) -> KeyRecord {
        KeyRecord { usage, id: ID, home: home(), check }
    }

    fn mac() -> Vec<u8> {
        record(Usage::Mac, Check::Mac([1; CHECK_BYTES])).encode().0
    }

    /// One of each kind.
    fn records() -> Vec<KeyRecord> {
        let check = [2; CHECK_BYTES];
        let wrapped = Wrapped { check, salt: [3; SALT_BYTES], key: [5; WRAPPED_BYTES] };
        vec![
            record(Usage::Seal, Check::Mac([1; CHECK_BYTES])),
            record(Usage::Mac, Check::Mac([1; CHECK_BYTES])),
            record(Usage::Sign, Check::Point([4; PUBLIC_KEY_BYTES])),
            record(Usage::Aead, Check::Tag([6; AEAD_TAG_BYTES])),
            record(Usage::Aead, Check::Wrapped(wrapped)),
            record(Usage::Rsa, Check::Modulus(RsaModulus(vec![0x81; 256]))),
            record(Usage::Rsa, Check::Modulus(RsaModulus(vec![0x81; 512]))),
        ]
    }

    fn check(usage: Usage, id: KeyId, blob: &[u8], expected: Option<ErrorKind>) {
        let outcome = KeyRecord::decode(KeyRef { usage, id, blob });
        assert_eq!(outcome.err().map(|error| error.kind), expected);
    }

    #[test]
    fn record_of_each_kind_survives() {
        for record in records() {
            let KeyBlob(blob) = record.encode();
            let read = KeyRecord::decode(KeyRef { usage: record.usage, id: ID, blob: &blob });
            assert_eq!(read, Ok(record));
        }
    }

    #[test]
    fn modulus_of_another_size_is_malformed() {
        for modulus in [vec![], vec![0x81; 255], vec![0x81; 257], vec![0x81; 511]] {
            let KeyBlob(blob) = record(Usage::Rsa, Check::Modulus(RsaModulus(modulus))).encode();
            check(Usage::Rsa, ID, &blob, Some(ErrorKind::Integrity));
        }
    }

    #[test]
    fn modulus_that_is_short_or_even_is_malformed() {
        for place in [0, 255] {
            let mut modulus = vec![0x81; 256];
            modulus[place] = 0x7e;
            let KeyBlob(blob) = record(Usage::Rsa, Check::Modulus(RsaModulus(modulus))).encode();
            check(Usage::Rsa, ID, &blob, Some(ErrorKind::Integrity));
        }
    }

    #[test]
    fn unknown_form_of_an_aes_key_is_malformed() {
        let KeyBlob(mut blob) = record(Usage::Aead, Check::Tag([6; AEAD_TAG_BYTES])).encode();
        let form = blob.len() - AEAD_TAG_BYTES - 1;
        blob[form] = 3;
        check(Usage::Aead, ID, &blob, Some(ErrorKind::Integrity));
    }

    #[test]
    fn check_ivs_are_reserved_and_one_for_each_record() {
        let iv = |usage, id| KeyRecord::check_iv(usage, id, &home());
        let ours = iv(Usage::Aead, ID);
        assert!(is_check_iv(&ours));
        assert!(!is_check_iv(b"sealhost pkcs11 check"));
        assert_ne!(ours, iv(Usage::Aead, KeyId([8; 16])));
        assert_ne!(ours, iv(Usage::Mac, ID));
        let other = Home { serial: "0124".into(), ..home() };
        assert_ne!(ours, KeyRecord::check_iv(Usage::Aead, ID, &other));
    }

    #[test]
    fn other_usage_is_invalid() {
        check(Usage::Seal, ID, &mac(), Some(ErrorKind::InvalidParameter));
    }

    #[test]
    fn other_id_is_invalid() {
        let id = KeyId([8; 16]);
        check(Usage::Mac, id, &mac(), Some(ErrorKind::InvalidParameter));
    }

    #[test]
    fn empty_blob_is_malformed() {
        check(Usage::Mac, ID, &[], Some(ErrorKind::Integrity));
    }

    #[test]
    fn byte_behind_the_end_is_malformed() {
        for record in records() {
            let KeyBlob(mut blob) = record.encode();
            blob.push(0);
            check(record.usage, ID, &blob, Some(ErrorKind::Integrity));
        }
    }

    #[test]
    fn blob_cut_anywhere_is_malformed() {
        for record in records() {
            let KeyBlob(blob) = record.encode();
            for length in 0..blob.len() {
                check(record.usage, ID, &blob[..length], Some(ErrorKind::Integrity));
            }
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

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let blob = [KEY_MAGIC.as_slice(), &bytes].concat();
            if let Ok(record) = KeyRecord::decode(KeyRef { usage: Usage::Mac, id: ID, blob: &blob }) {
                prop_assert_eq!(record.encode().0, blob);
            }
        }
    }
}
