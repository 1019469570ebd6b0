//! Secret texts: tokens, keys, connection strings.

use std::fmt;

use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

use crate::code::Fault;

/// A secret text of at most `MAX` bytes, wiped when dropped and never shown by `Debug`.
///
/// # Secrets
/// Read straight from the body. Where JSON escapes stand in the string, the JSON reader makes one
/// copy of it that only a wiping allocator wipes.
pub struct SecretText<const MAX: usize>(Zeroizing<String>);

impl<const MAX: usize> SecretText<MAX> {
    /// Takes the text over.
    ///
    /// # Errors
    /// `too_large`: more than `MAX` bytes.
    pub fn new(text: Zeroizing<String>) -> Result<Self, Fault> {
        if text.len() > MAX {
            return Err(Fault::over("value", text.len(), MAX));
        }
        Ok(Self(text))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<const MAX: usize> Clone for SecretText<MAX> {
    fn clone(&self) -> Self {
        Self(Zeroizing::new(self.as_str().to_owned()))
    }
}

impl<const MAX: usize> fmt::Debug for SecretText<MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretText({} bytes)", self.0.len())
    }
}

impl<const MAX: usize> Serialize for SecretText<MAX> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de, const MAX: usize> Deserialize<'de> for SecretText<MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(TextVisitor)
    }
}

struct TextVisitor<const MAX: usize>;

impl<const MAX: usize> Visitor<'_> for TextVisitor<MAX> {
    type Value = SecretText<MAX>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<SecretText<MAX>, E> {
        SecretText::new(Zeroizing::new(text.to_owned())).map_err(E::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_at_limit_is_read_and_one_past_it_refused() {
        let read = |json: &str| serde_json::from_str::<SecretText<4>>(json);
        assert_eq!(read("\"abcd\"").unwrap().as_str(), "abcd");
        let fault = read("\"abcde\"").unwrap_err().to_string();
        assert!(fault.starts_with("too_large: value of 5 bytes exceeds limit of 4"), "{fault}");
    }

    #[test]
    fn text_is_written_as_it_was_read_and_not_shown() {
        let text = serde_json::from_str::<SecretText<9>>("\"marker\\n\"").unwrap();
        assert_eq!(serde_json::to_string(&text).unwrap(), "\"marker\\n\"");
        assert_eq!(format!("{text:?}"), "SecretText(7 bytes)");
    }
}
