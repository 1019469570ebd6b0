//! What a user notes about a secret, for people and for filters.
#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::text::{TextError, check_length};
use crate::code::{Code, Fault};

/// Most tags of one secret.
pub const TAGS_MAX: usize = 16;

/// Longest name of a tag, in bytes.
pub const TAG_NAME_MAX_BYTES: usize = 64;

/// Longest value of a tag, in bytes.
pub const TAG_VALUE_MAX_BYTES: usize = 256;

/// A map from names, `[A-Za-z0-9._-]+`, to texts without control characters. Not secret.
///
/// # Limits
/// 16 tags; names of 1 to 64 bytes; values of at most 256 bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Tags(BTreeMap<String, String>);

impl Tags {
    /// Checks the entries.
    ///
    /// # Errors
    /// `invalid`: a name or value that is none. `too_large`: too many of them.
    pub fn new(entries: BTreeMap<String, String>) -> Result<Self, Fault> {
        if entries.len() > TAGS_MAX {
            let detail = format!("{} tags exceed limit of {TAGS_MAX}", entries.len());
            return Err(Fault::new(Code::TooLarge, detail));
        }
        entries.iter().try_for_each(|(name, value)| check(name, value))?;
        Ok(Self(entries))
    }

    /// The entries, by name.
    pub const fn entries(&self) -> &BTreeMap<String, String> {
        &self.0
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn check(name: &str, value: &str) -> Result<(), TextError> {
    check_length("tag name", name, TAG_NAME_MAX_BYTES)?;
    if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)) {
        return Err(TextError::Character("tag name"));
    }
    if !value.is_empty() {
        check_length("tag value", value, TAG_VALUE_MAX_BYTES)?;
    }
    if value.contains(char::is_control) { Err(TextError::Character("tag value")) } else { Ok(()) }
}

impl<'de> Deserialize<'de> for Tags {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(TagsVisitor)
    }
}

struct TagsVisitor;

impl<'de> Visitor<'de> for TagsVisitor {
    type Value = Tags;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of strings")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tags, A::Error> {
        let mut entries = BTreeMap::new();
        while let Some((name, value)) = map.next_entry::<String, String>()? {
            if entries.insert(name, value).is_some() {
                return Err(A::Error::custom("duplicate field in tags"));
            }
        }
        Tags::new(entries).map_err(A::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(tags: &[(&str, &str)], refusal: &str) {
        let entries = tags.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        match Tags::new(entries.collect()) {
            Ok(tags) => assert!(refusal.is_empty(), "{tags:?}"),
            Err(fault) => assert_eq!(fault.to_string(), refusal),
        }
    }

    fn many(tags: usize) -> BTreeMap<String, String> {
        (0..tags).map(|number| (format!("t{number}"), String::new())).collect()
    }

    #[test]
    fn tags_at_limits_are_accepted() {
        assert!(Tags::new(many(TAGS_MAX)).is_ok());
        check(&[(&"n".repeat(TAG_NAME_MAX_BYTES), &"v".repeat(TAG_VALUE_MAX_BYTES))], "");
        check(&[("owner", "Zoë's team"), ("empty", "")], "");
    }

    #[test]
    fn tags_one_past_limit_are_too_large() {
        let fault = Tags::new(many(TAGS_MAX + 1)).unwrap_err();
        assert_eq!(fault.to_string(), "too_large: 17 tags exceed limit of 16");
    }

    #[test]
    fn tag_name_past_its_rules_is_invalid() {
        check(&[(&"n".repeat(65), "")], "invalid: tag name of 65 bytes exceeds limit of 64");
        check(&[("", "")], "invalid: tag name has no bytes");
        check(&[("a b", "")], "invalid: tag name has a character that is not allowed there");
    }

    #[test]
    fn tag_value_past_its_rules_is_invalid() {
        check(
            &[("a", &"v".repeat(TAG_VALUE_MAX_BYTES + 1))],
            "invalid: tag value of 257 bytes exceeds limit of 256",
        );
        check(&[("a", "b\n")], "invalid: tag value has a character that is not allowed there");
    }

    #[test]
    fn tag_given_twice_is_refused() {
        let error = serde_json::from_str::<Tags>(r#"{"a":"1","\u0061":"2"}"#).unwrap_err();
        assert!(error.to_string().starts_with("duplicate field"), "{error}");
    }
}
