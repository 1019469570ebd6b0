//! Bytes in JSON: base64 of the standard alphabet with padding (RFC 4648 section 4), one spelling
//! per value. The limit of each field is part of its type.
#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::{Error as _, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::{Zeroize, Zeroizing};

use crate::code::{Code, Fault};

/// Secret bytes, at most `MAX` of them, wiped when dropped and never shown by `Debug`.
pub struct SecretBase64<const MAX: usize>(Zeroizing<Vec<u8>>);

impl<const MAX: usize> SecretBase64<MAX> {
    /// Takes the bytes over.
    ///
    /// # Errors
    /// `too_large`: more than `MAX` bytes.
    pub fn new(bytes: Zeroizing<Vec<u8>>) -> Result<Self, Fault> {
        check_length::<MAX>(bytes.len())?;
        Ok(Self(bytes))
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Gives the bytes away, without a copy.
    pub fn into_bytes(self) -> Zeroizing<Vec<u8>> {
        self.0
    }
}

/// Bytes that are not secret, at most `MAX` of them.
#[derive(Clone, PartialEq, Eq)]
pub struct Base64Bytes<const MAX: usize>(Vec<u8>);

impl<const MAX: usize> Base64Bytes<MAX> {
    /// Takes the bytes over.
    ///
    /// # Errors
    /// `too_large`: more than `MAX` bytes.
    pub fn new(bytes: Vec<u8>) -> Result<Self, Fault> {
        check_length::<MAX>(bytes.len())?;
        Ok(Self(bytes))
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Exactly `N` bytes, wiped when dropped and never shown by `Debug`: MACs, which may serve as
/// credentials, and digests.
#[derive(Clone)]
pub struct Base64Array<const N: usize>([u8; N]);

impl<const N: usize> Base64Array<N> {
    /// Takes the bytes over.
    pub fn new(bytes: [u8; N]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8; N] {
        &self.0
    }
}

impl<const N: usize> Drop for Base64Array<N> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl<const MAX: usize> fmt::Debug for SecretBase64<MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretBase64({} bytes)", self.0.len())
    }
}

impl<const MAX: usize> fmt::Debug for Base64Bytes<MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Base64Bytes({} bytes)", self.0.len())
    }
}

impl<const N: usize> fmt::Debug for Base64Array<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Base64Array({N} bytes)")
    }
}

impl<const MAX: usize> Serialize for SecretBase64<MAX> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&encode(&self.0))
    }
}

impl<const MAX: usize> Serialize for Base64Bytes<MAX> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&encode(&self.0))
    }
}

impl<const N: usize> Serialize for Base64Array<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&encode(&self.0))
    }
}

impl<'de, const MAX: usize> Deserialize<'de> for SecretBase64<MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(deserializer.deserialize_str(Base64Visitor)?).map_err(D::Error::custom)
    }
}

impl<'de, const MAX: usize> Deserialize<'de> for Base64Bytes<MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut bytes = deserializer.deserialize_str(Base64Visitor)?;
        Self::new(std::mem::take(&mut *bytes)).map_err(D::Error::custom)
    }
}

impl<'de, const N: usize> Deserialize<'de> for Base64Array<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = deserializer.deserialize_str(Base64Visitor)?;
        bytes.as_slice().try_into().map(Self).map_err(|_error| {
            let detail = format!("value has {} bytes, not the {N} it must have", bytes.len());
            D::Error::custom(Fault::new(Code::Invalid, detail))
        })
    }
}

struct Base64Visitor;

impl Visitor<'_> for Base64Visitor {
    type Value = Zeroizing<Vec<u8>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a base64 string")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Zeroizing<Vec<u8>>, E> {
        // One allocation of the final size: growing would leave copies behind.
        let mut bytes = Zeroizing::new(vec![0; base64::decoded_len_estimate(text.len())]);
        let length = STANDARD.decode_slice(text, &mut bytes).map_err(|_error| {
            E::custom(Fault::new(Code::Malformed, "a string is not base64 with padding"))
        })?;
        bytes.truncate(length);
        Ok(bytes)
    }
}

/// The text is wiped too; its buffer has its final size from the start.
fn encode(bytes: &[u8]) -> Zeroizing<String> {
    Zeroizing::new(STANDARD.encode(bytes))
}

fn check_length<const MAX: usize>(bytes: usize) -> Result<(), Fault> {
    if bytes > MAX { Err(Fault::over("value", bytes, MAX)) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn refused(json: &str, reason: &str) {
        let error = serde_json::from_str::<SecretBase64<4>>(json).unwrap_err().to_string();
        assert!(error.starts_with(reason), "{error}");
    }

    #[test]
    fn bytes_at_limit_are_read() {
        let bytes = serde_json::from_str::<SecretBase64<4>>("\"AAECAw==\"").unwrap();
        assert_eq!(bytes.as_bytes(), [0, 1, 2, 3]);
    }

    #[test]
    fn bytes_one_past_limit_are_too_large() {
        refused("\"AAECAwQ=\"", "too_large: value of 5 bytes exceeds limit of 4");
    }

    #[test]
    fn other_spellings_of_base64_are_malformed() {
        for json in [
            "\"AAECAw\"",
            "\"AAECAw=\"",
            "\"AAECAx==\"",
            "\"AAEC\\nAw==\"",
            "\" AAEC\"",
            "\"AA-_\"",
            "\"AAECAw==AAEC\"",
            "\"=\"",
            "\"A\"",
        ] {
            refused(json, "malformed: ");
        }
    }

    #[test]
    fn escaped_slash_is_the_same_value() {
        let bytes = serde_json::from_str::<SecretBase64<4>>(r#""\/\/\/\u002f""#).unwrap();
        assert_eq!(bytes.as_bytes(), [255, 255, 255]);
    }

    #[test]
    fn value_that_is_not_a_string_is_refused() {
        refused("[0,1]", "invalid type");
        refused("null", "invalid type");
    }

    #[test]
    fn array_of_another_length_is_invalid() {
        for json in ["\"AAE=\"", "\"AAECAw==\""] {
            let error = serde_json::from_str::<Base64Array<3>>(json).unwrap_err().to_string();
            assert!(error.starts_with("invalid: "), "{error}");
        }
    }

    #[test]
    fn debug_shows_no_byte() {
        let secret = SecretBase64::<9>::new(Zeroizing::new(b"marker".to_vec())).unwrap();
        assert_eq!(format!("{secret:?}"), "SecretBase64(6 bytes)");
        assert_eq!(format!("{:?}", Base64Array::new([7; 3])), "Base64Array(3 bytes)");
    }

    proptest! {
        #[test]
        fn bytes_round_trip(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let secret = SecretBase64::<200>::new(Zeroizing::new(bytes.clone())).unwrap();
            let json = serde_json::to_string(&secret).unwrap();
            prop_assert!(serde_json::from_str::<SecretBase64<200>>(&json).unwrap().as_bytes() == bytes);
            prop_assert!(serde_json::from_str::<Base64Bytes<200>>(&json).unwrap().as_bytes() == bytes);
        }
    }
}
