//! Names of keys and providers. A value of these types is a valid name; there is no other way to
//! make one. Internal keys, whose names start with `.`, are therefore not expressible.
#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};

use crate::code::{Code, Fault};
use crate::limits::{KEY_NAME_MAX_BYTES, PROVIDER_NAME_MAX_BYTES};

/// Name of a key: segments `[A-Za-z0-9_][A-Za-z0-9._-]*` joined by `/`.
///
/// # Limits
/// 1 to 128 bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct KeyName(Box<str>);

impl KeyName {
    /// Reads a name.
    ///
    /// # Errors
    /// `NameError`: the first rule that the text breaks.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        check_length(text, KEY_NAME_MAX_BYTES)?;
        for segment in text.split('/') {
            let first = segment.bytes().next().ok_or(NameError::Segment)?;
            if matches!(first, b'.' | b'-') {
                return Err(NameError::Segment);
            }
            if !segment.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)) {
                return Err(NameError::Character);
            }
        }
        Ok(Self(text.into()))
    }

    /// Reads a name from one raw segment of a URL path, where a slash is written `%2F`.
    ///
    /// No other escape is accepted, because no other character of a name needs one.
    ///
    /// # Errors
    /// `NameError`: a bare slash, another escape, or a rule of [`KeyName::parse`].
    pub fn from_path_segment(segment: &str) -> Result<Self, NameError> {
        check_length(segment, KEY_NAME_MAX_BYTES.saturating_mul(3))?;
        if segment.contains('/') {
            return Err(NameError::Character);
        }
        let text = segment.replace("%2F", "/").replace("%2f", "/");
        if text.contains('%') {
            return Err(NameError::Escape);
        }
        Self::parse(&text)
    }

    /// Writes the name as one segment of a URL path.
    pub fn to_path_segment(&self) -> String {
        self.0.replace('/', "%2F")
    }

    /// A name that its maker has put together of what was checked.
    pub(crate) fn from_checked(text: String) -> Self {
        Self(text.into())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Name of a configured provider instance: a lower-case letter, then lower-case letters, digits,
/// `-` and `_`.
///
/// # Limits
/// 1 to 32 bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct ProviderName(Box<str>);

impl ProviderName {
    /// Reads a name.
    ///
    /// # Errors
    /// `NameError`: the first rule that the text breaks.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        check_length(text, PROVIDER_NAME_MAX_BYTES)?;
        if !text.starts_with(|c: char| c.is_ascii_lowercase()) {
            return Err(NameError::Segment);
        }
        if !text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_".contains(&b))
        {
            return Err(NameError::Character);
        }
        Ok(Self(text.into()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why a text is not a name. The text is not repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// There are no bytes.
    #[error("a name has at least one byte")]
    Empty,
    /// The text is over the limit.
    #[error("name of {bytes} bytes exceeds limit of {limit}")]
    TooLong {
        /// Length of the text.
        bytes: usize,
        /// Greatest length.
        limit: usize,
    },
    /// A segment is empty or starts with a character that may only follow.
    #[error("a name or segment starts with a character that is not allowed first")]
    Segment,
    /// A character that no name has.
    #[error("a name has a character that is not allowed")]
    Character,
    /// A percent escape other than `%2F`.
    #[error("only a slash is percent-encoded in a name")]
    Escape,
}

impl From<NameError> for Fault {
    fn from(error: NameError) -> Self {
        Self::new(Code::Invalid, error.to_string())
    }
}

macro_rules! text_of {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::parse(text)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                Self::parse(&text).map_err(|error| serde::de::Error::custom(Fault::from(error)))
            }
        }
    };
}

text_of!(KeyName);
text_of!(ProviderName);

fn check_length(text: &str, limit: usize) -> Result<(), NameError> {
    match text.len() {
        0 => Err(NameError::Empty),
        bytes if bytes > limit => Err(NameError::TooLong { bytes, limit }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key_refused(text: &str, error: NameError) {
        assert_eq!(KeyName::parse(text), Err(error), "{text}");
    }

    fn provider_refused(text: &str, error: NameError) {
        assert_eq!(ProviderName::parse(text), Err(error), "{text}");
    }

    #[test]
    fn key_name_at_limit_is_accepted() {
        assert!(KeyName::parse(&"k".repeat(KEY_NAME_MAX_BYTES)).is_ok());
    }

    #[test]
    fn key_name_one_past_limit_is_refused() {
        key_refused(&"k".repeat(129), NameError::TooLong { bytes: 129, limit: 128 });
    }

    #[test]
    fn key_name_without_bytes_is_refused() {
        key_refused("", NameError::Empty);
    }

    #[test]
    fn key_name_with_empty_segment_is_refused() {
        for text in ["/a", "a/", "a//b", "/"] {
            key_refused(text, NameError::Segment);
        }
    }

    #[test]
    fn internal_or_option_like_key_name_is_refused() {
        for text in [".root", "a/.b", "..", "a/../b", "-a", "a/-b"] {
            key_refused(text, NameError::Segment);
        }
    }

    #[test]
    fn key_name_with_other_characters_is_refused() {
        for text in ["a b", "a\n", "a\0", "ä", "a*", "a%2Fb", "a\\b", "a:b"] {
            key_refused(text, NameError::Character);
        }
    }

    #[test]
    fn path_segment_with_bare_slash_is_refused() {
        assert_eq!(KeyName::from_path_segment("a/b"), Err(NameError::Character));
    }

    #[test]
    fn path_segment_with_other_or_double_escape_is_refused() {
        for text in ["%61", "a%252Fb", "a%2", "%2E%2E"] {
            assert_eq!(KeyName::from_path_segment(text), Err(NameError::Escape), "{text}");
        }
    }

    #[test]
    fn path_segment_with_lower_case_escape_is_the_same_name() {
        assert_eq!(KeyName::from_path_segment("a%2fb"), KeyName::parse("a/b"));
    }

    #[test]
    fn longest_key_name_of_slashes_passes_through_a_path() {
        let name = KeyName::parse(&format!("{}ab", "a/".repeat(63))).unwrap();
        assert_eq!(name.as_str().len(), KEY_NAME_MAX_BYTES);
        assert_eq!(KeyName::from_path_segment(&name.to_path_segment()), Ok(name));
    }

    #[test]
    fn provider_name_at_limit_is_accepted() {
        assert!(ProviderName::parse(&"p".repeat(PROVIDER_NAME_MAX_BYTES)).is_ok());
    }

    #[test]
    fn provider_name_one_past_limit_is_refused() {
        provider_refused(&"p".repeat(33), NameError::TooLong { bytes: 33, limit: 32 });
    }

    #[test]
    fn provider_name_that_starts_otherwise_is_refused() {
        for text in ["1a", "-a", "_a", "A", ".a"] {
            provider_refused(text, NameError::Segment);
        }
    }

    #[test]
    fn provider_name_with_other_characters_is_refused() {
        for text in ["aB", "a.b", "a/b", "a b", "aé"] {
            provider_refused(text, NameError::Character);
        }
    }

    #[test]
    fn bad_name_in_json_is_refused() {
        assert!(serde_json::from_str::<KeyName>("\".x\"").is_err());
        assert!(serde_json::from_str::<ProviderName>("\"X\"").is_err());
    }

    proptest! {
        #[test]
        fn key_name_round_trips(text in "[A-Za-z0-9_][A-Za-z0-9._-]{0,20}(/[A-Za-z0-9_][A-Za-z0-9._-]{0,20}){0,4}") {
            let name = KeyName::parse(&text).unwrap();
            prop_assert_eq!(name.as_str(), &text);
            prop_assert_eq!(KeyName::from_path_segment(&name.to_path_segment()), Ok(name.clone()));
            let json = serde_json::to_string(&name).unwrap();
            prop_assert_eq!(serde_json::from_str::<KeyName>(&json).unwrap(), name);
        }

        #[test]
        fn accepted_text_is_never_internal(text in ".{0,40}") {
            if let Ok(name) = KeyName::parse(&text) {
                prop_assert!(name.as_str().split('/').all(|s| !s.is_empty() && !s.starts_with('.')));
            }
        }
    }
}
