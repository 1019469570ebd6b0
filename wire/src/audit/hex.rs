//! 32 bytes as the audit writes them: hashes and MACs.
#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::fmt;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// 32 bytes, written as 64 lower-case hex digits and in no other way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hex32(pub [u8; 32]);

impl Hex32 {
    /// Reads 64 digits; none for any other text.
    pub fn parse(text: &str) -> Option<Self> {
        let mut digits = text.bytes();
        let mut bytes = [0; 32];
        for byte in &mut bytes {
            let (high, low) = (nibble(digits.next()?)?, nibble(digits.next()?)?);
            *byte = (high << 4) | low;
        }
        digits.next().is_none().then_some(Self(bytes))
    }
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => digit.checked_sub(b'0'),
        b'a'..=b'f' => digit.checked_sub(b'a').and_then(|it| it.checked_add(10)),
        _ => None,
    }
}

impl fmt::Display for Hex32 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Serialize for Hex32 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Hex32 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| D::Error::custom("not 64 lower-case hex digits"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Option<[u8; 32]>) {
        assert_eq!(Hex32::parse(text), expected.map(Hex32), "{text}");
    }

    #[test]
    fn sixty_four_lower_case_digits_are_read_as_they_are_written() {
        let bytes = std::array::from_fn(|at| u8::try_from(at * 8 + 3).unwrap());
        check(&Hex32(bytes).to_string(), Some(bytes));
        check(&"0".repeat(64), Some([0; 32]));
        check(&"f".repeat(64), Some([0xff; 32]));
    }

    #[test]
    fn any_other_text_is_refused() {
        for text in ["", "0", &"0".repeat(63), &"0".repeat(65), &"A".repeat(64), &"g".repeat(64)] {
            check(text, None);
        }
    }
}
