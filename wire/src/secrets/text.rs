//! Short texts that say something about a secret. A value of these types is valid; there is no
//! other way to make one.
#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};

use crate::code::{Code, Fault};
use crate::limits::KEY_NAME_MAX_BYTES;
use crate::name::{KeyName, NameError};

/// Longest name of a secret, in bytes: as long as a key name.
pub const SECRET_NAME_MAX_BYTES: usize = KEY_NAME_MAX_BYTES;

/// Longest version of a secret, in bytes.
pub const VERSION_MAX_BYTES: usize = 64;

/// Longest content type, in bytes.
pub const CONTENT_TYPE_MAX_BYTES: usize = 128;

/// Longest author, in bytes.
pub const AUTHOR_MAX_BYTES: usize = 64;

/// Name of a secret: as the name of a key, segments `[A-Za-z0-9_][A-Za-z0-9._-]*` joined by `/`.
///
/// # Limits
/// 1 to 128 bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct SecretName(KeyName);

impl SecretName {
    /// Reads a name.
    ///
    /// # Errors
    /// The first rule that the text breaks.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        KeyName::parse(text).map(Self)
    }

    /// Reads a name from one raw segment of a URL path, where a slash is written `%2F`.
    ///
    /// # Errors
    /// As [`KeyName::from_path_segment`].
    pub fn from_path_segment(segment: &str) -> Result<Self, NameError> {
        KeyName::from_path_segment(segment).map(Self)
    }

    /// Writes the name as one segment of a URL path.
    pub fn to_path_segment(&self) -> String {
        self.0.to_path_segment()
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

/// Version of a secret: `[A-Za-z0-9_][A-Za-z0-9._-]*`.
///
/// # Limits
/// 1 to 64 bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct SecretVersion(Box<str>);

impl SecretVersion {
    /// The version of a secret that was given none: `default`.
    pub fn unnamed() -> Self {
        Self("default".into())
    }

    /// Reads a version.
    ///
    /// # Errors
    /// The first rule that the text breaks.
    pub fn parse(text: &str) -> Result<Self, TextError> {
        check_length("version", text, VERSION_MAX_BYTES)?;
        let starts_well = !text.starts_with(['.', '-']);
        let of_set = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
        if starts_well && text.bytes().all(of_set) {
            Ok(Self(text.into()))
        } else {
            Err(TextError::Character("version"))
        }
    }

    /// The version as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What the value of a secret is, in the words of its user, such as `text/plain`: printable ASCII.
///
/// # Limits
/// 1 to 128 bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct ContentType(Box<str>);

impl ContentType {
    /// Reads a content type.
    ///
    /// # Errors
    /// The first rule that the text breaks.
    pub fn parse(text: &str) -> Result<Self, TextError> {
        check_length("content type", text, CONTENT_TYPE_MAX_BYTES)?;
        if text.bytes().all(|b| b.is_ascii_graphic() || b == b' ') {
            Ok(Self(text.into()))
        } else {
            Err(TextError::Character("content type"))
        }
    }

    /// The content type as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Who made or changed a secret: `uid:` and a user id for a caller of the socket, `source:` and
/// a name for what a remote source delivered. Lower-case letters, digits, `:`, `.`, `_`, `-`.
///
/// # Limits
/// 1 to 64 bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Author(Box<str>);

impl Author {
    /// A caller of the socket.
    pub fn user(uid: u32) -> Self {
        Self(format!("uid:{uid}").into())
    }

    /// Reads an author.
    ///
    /// # Errors
    /// The first rule that the text breaks.
    pub fn parse(text: &str) -> Result<Self, TextError> {
        check_length("author", text, AUTHOR_MAX_BYTES)?;
        let of_set = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b":._-".contains(&b);
        if text.bytes().all(of_set) {
            Ok(Self(text.into()))
        } else {
            Err(TextError::Character("author"))
        }
    }

    /// The author as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why a text is not what it should be. The text is not repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// There are no bytes.
    #[error("{0} has no bytes")]
    Empty(&'static str),
    /// The text is over the limit.
    #[error("{what} of {bytes} bytes exceeds limit of {limit}")]
    TooLong {
        /// What it would be.
        what: &'static str,
        /// Length of the text.
        bytes: usize,
        /// Greatest length.
        limit: usize,
    },
    /// A character that is not allowed there.
    #[error("{0} has a character that is not allowed there")]
    Character(&'static str),
}

impl From<TextError> for Fault {
    fn from(error: TextError) -> Self {
        Self::new(Code::Invalid, error.to_string())
    }
}

macro_rules! text_of {
    ($name:ident, $error:ty) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = $error;

            fn from_str(text: &str) -> Result<Self, $error> {
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

text_of!(SecretName, NameError);
text_of!(SecretVersion, TextError);
text_of!(ContentType, TextError);
text_of!(Author, TextError);

pub(super) fn check_length(what: &'static str, text: &str, limit: usize) -> Result<(), TextError> {
    match text.len() {
        0 => Err(TextError::Empty(what)),
        bytes if bytes > limit => Err(TextError::TooLong { what, bytes, limit }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<T: FromStr<Err = E> + fmt::Debug, E: fmt::Debug + fmt::Display>(
        text: &str,
        refusal: &str,
    ) {
        match text.parse::<T>() {
            Ok(value) => assert!(refusal.is_empty(), "{value:?}"),
            Err(error) => assert_eq!(error.to_string(), refusal, "{text}"),
        }
    }

    #[test]
    fn version_at_limit_is_accepted() {
        check::<SecretVersion, _>(&"v".repeat(VERSION_MAX_BYTES), "");
    }

    #[test]
    fn version_one_past_limit_is_refused() {
        let refusal = "version of 65 bytes exceeds limit of 64";
        check::<SecretVersion, _>(&"v".repeat(VERSION_MAX_BYTES + 1), refusal);
    }

    #[test]
    fn m11_version_without_bytes_is_refused() {
        check::<SecretVersion, _>("", "version has no bytes");
    }

    #[test]
    fn version_with_other_characters_is_refused() {
        for text in ["a/b", "a b", ".a", "-a", "ä", "a%", "a\n", "*"] {
            check::<SecretVersion, _>(text, "version has a character that is not allowed there");
        }
    }

    #[test]
    fn versions_of_key_vault_and_of_edge_secrets_are_accepted() {
        for text in ["0123456789abcdef0123456789abcdef", "v1", "2026.01-rc_1", "default"] {
            check::<SecretVersion, _>(text, "");
        }
        check::<SecretVersion, _>(SecretVersion::unnamed().as_str(), "");
    }

    #[test]
    fn secret_name_at_limit_is_accepted() {
        check::<SecretName, _>(&"n".repeat(SECRET_NAME_MAX_BYTES), "");
    }

    #[test]
    fn secret_name_one_past_limit_is_refused() {
        let refusal = "name of 129 bytes exceeds limit of 128";
        check::<SecretName, _>(&"n".repeat(SECRET_NAME_MAX_BYTES + 1), refusal);
    }

    #[test]
    fn content_type_at_limit_is_accepted() {
        check::<ContentType, _>(&"c".repeat(CONTENT_TYPE_MAX_BYTES), "");
        check::<ContentType, _>("text/plain; charset=utf-8", "");
    }

    #[test]
    fn content_type_past_its_rules_is_refused() {
        let refusal = "content type of 129 bytes exceeds limit of 128";
        check::<ContentType, _>(&"c".repeat(CONTENT_TYPE_MAX_BYTES + 1), refusal);
        let refusal = "content type has a character that is not allowed there";
        check::<ContentType, _>("text/plain\n", refusal);
    }

    #[test]
    fn author_at_limit_is_accepted() {
        check::<Author, _>(&"a".repeat(AUTHOR_MAX_BYTES), "");
        check::<Author, _>(Author::user(u32::MAX).as_str(), "");
    }

    #[test]
    fn author_past_its_rules_is_refused() {
        let refusal = "author of 65 bytes exceeds limit of 64";
        check::<Author, _>(&"a".repeat(AUTHOR_MAX_BYTES + 1), refusal);
        check::<Author, _>("uid 1", "author has a character that is not allowed there");
    }

    #[test]
    fn bad_text_in_json_is_refused() {
        assert!(serde_json::from_str::<SecretName>("\".x\"").is_err());
        assert!(serde_json::from_str::<SecretVersion>("\"\"").is_err());
    }
}
