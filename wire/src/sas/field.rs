//! The fields of resources. A value of these types is valid; there is no other way to make one.
//!
//! The signer puts fields between slashes and percent-encodes what stands there, once. No field
//! can therefore hold a slash, be a dot segment, or hold a character that a reader of the URI
//! takes for its end. Device ids are the hard case: IoT Hub allows `%` and `?` in them, and both
//! are one keystroke from a trick. They are taken, because devices with such names exist and
//! encoding makes both plain text; what is refused everywhere is `%` before two hexadecimal
//! digits, because a reader that decodes twice would turn `%2f` into a slash, or any `%41` into
//! another device's name. Where IoT Hub does not ask for them they are refused altogether.
#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};

use super::form::Slot;
use super::limits::{
    ENTITY_NAME_MAX_BYTES, HOST_LABEL_MAX_BYTES, HOST_NAME_MAX_BYTES, ID_MAX_CHARS,
    ID_SCOPE_MAX_BYTES, POLICY_NAME_MAX_BYTES, SAS_KEY_NAME_MAX_BYTES,
};
use crate::code::{Code, Fault};
use crate::name::KeyName;

/// What device and module ids have besides ASCII letters and digits.
const DEVICE_MARKS: &[u8] = b"-.%_*?!(),:=@$'";

/// Why a text is not a value of its field. The text is not repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FieldError {
    /// There are no bytes.
    #[error("{field} is empty")]
    Empty {
        /// The field.
        field: &'static str,
    },
    /// The text is over its limit.
    #[error("{field} of {length} exceeds limit of {limit}")]
    TooLong {
        /// The field.
        field: &'static str,
        /// Length of the text, in the unit of the limit.
        length: usize,
        /// Greatest length.
        limit: usize,
    },
    /// A character that the field does not have, or not in that place.
    #[error("{field} has a character that it cannot have there")]
    Character {
        /// The field.
        field: &'static str,
    },
    /// A percent sign before two hexadecimal digits.
    #[error("{field} has a percent escape, which a second decoding would change")]
    Escape {
        /// The field.
        field: &'static str,
    },
    /// The text is `.` or `..`.
    #[error("{field} is a dot segment")]
    Dots {
        /// The field.
        field: &'static str,
    },
}

impl From<FieldError> for Fault {
    fn from(error: FieldError) -> Self {
        Self::new(Code::Invalid, error.to_string())
    }
}

macro_rules! field {
    ($(#[$doc:meta])* $name:ident, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $name(Box<str>);

        impl $name {
            /// Reads a value.
            ///
            /// # Errors
            /// `FieldError`: the first rule that the text breaks.
            pub fn parse(text: &str) -> Result<Self, FieldError> {
                let check: fn(&str) -> Result<(), FieldError> = $check;
                check(text)?;
                Ok(Self(text.into()))
            }

            /// The value as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = FieldError;

            fn from_str(text: &str) -> Result<Self, FieldError> {
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

field! {
    /// Host name of a hub or namespace, without scheme and port: labels of ASCII letters, digits
    /// and inner hyphens, joined by dots. The case is kept, because it is part of what is signed.
    ///
    /// # Limits
    /// 1 to 253 bytes, 63 a label.
    ///
    /// # Spec
    /// RFC 1123 section 2.1.
    HostName, host_name
}

field! {
    /// Name of an event hub: ASCII letters, digits and inner `-`, `.`, `_`.
    ///
    /// # Limits
    /// 1 to 256 bytes.
    EntityName, entity_name
}

field! {
    /// Publisher of an event hub, commonly a device's name: any characters but controls, invisible
    /// ones, `/`, `\`, `?`, `#`, spaces at its ends, percent escapes and dot segments.
    ///
    /// # Limits
    /// 1 to 128 characters.
    PublisherId, publisher_id
}

field! {
    /// Id of a device or a module: ASCII letters, digits and `- . % _ * ? ! ( ) , : = @ $ '`, but
    /// no percent escapes and dot segments. The case matters.
    ///
    /// # Limits
    /// 1 to 128 characters.
    DeviceId, |text| {
        let known = |b: u8| b.is_ascii_alphanumeric() || DEVICE_MARKS.contains(&b);
        id("device or module id", text, known)
    }
}

field! {
    /// Registration id of the device provisioning service: ASCII letters, digits and `- . _ :`.
    ///
    /// # Limits
    /// 1 to 128 characters.
    RegistrationId, |text| {
        let known = |b: u8| b.is_ascii_alphanumeric() || b"-._:".contains(&b);
        id("registration id", text, known)
    }
}

field! {
    /// Id scope of a device provisioning service: ASCII letters and digits.
    ///
    /// # Limits
    /// 1 to 32 bytes.
    IdScope, |text| {
        length("id scope", text.len(), ID_SCOPE_MAX_BYTES)?;
        characters("id scope", text, |b| b.is_ascii_alphanumeric())
    }
}

field! {
    /// Name of a shared access policy (`skn`): ASCII letters, digits and `- . _`, so that it reads
    /// the same in every encoding.
    ///
    /// # Limits
    /// 1 to 64 bytes.
    PolicyName, |text| {
        length("policy name", text.len(), POLICY_NAME_MAX_BYTES)?;
        characters("policy name", text, |b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
    }
}

field! {
    /// Name of a key of the signer, by the rules of [`KeyName`]. In the host its two slots are
    /// `sas/{name}/primary` and `sas/{name}/secondary`.
    ///
    /// # Limits
    /// 1 to 114 bytes.
    SasKeyName, |text| {
        length("key name", text.len(), SAS_KEY_NAME_MAX_BYTES)?;
        KeyName::parse(text).map(drop).map_err(|_error| FieldError::Character { field: "key name" })
    }
}

impl SasKeyName {
    /// Reads a name from one raw segment of a URL path, where a slash is written `%2F`.
    ///
    /// # Errors
    /// `Fault`: as for [`KeyName::from_path_segment`], or over the limit.
    pub fn from_path_segment(segment: &str) -> Result<Self, Fault> {
        Ok(Self::parse(KeyName::from_path_segment(segment)?.as_str())?)
    }

    /// The host's key that is one slot of this key.
    pub fn host_key(&self, slot: Slot) -> KeyName {
        KeyName::from_checked(format!("sas/{self}/{}", slot.as_str()))
    }

    /// Writes the name as one segment of a URL path.
    pub fn to_path_segment(&self) -> String {
        self.0.replace('/', "%2F")
    }
}

fn host_name(text: &str) -> Result<(), FieldError> {
    const FIELD: &str = "host name";
    length(FIELD, text.len(), HOST_NAME_MAX_BYTES)?;
    for label in text.split('.') {
        length(FIELD, label.len(), HOST_LABEL_MAX_BYTES)?;
        characters(FIELD, label, |b| b.is_ascii_alphanumeric() || b == b'-')?;
        if label.starts_with('-') || label.ends_with('-') {
            return Err(FieldError::Character { field: FIELD });
        }
    }
    Ok(())
}

fn entity_name(text: &str) -> Result<(), FieldError> {
    const FIELD: &str = "event hub name";
    length(FIELD, text.len(), ENTITY_NAME_MAX_BYTES)?;
    characters(FIELD, text, |b| b.is_ascii_alphanumeric() || b"-._".contains(&b))?;
    let inner = |c: char| c.is_ascii_alphanumeric();
    if text.starts_with(inner) && text.ends_with(inner) {
        Ok(())
    } else {
        Err(FieldError::Character { field: FIELD })
    }
}

fn publisher_id(text: &str) -> Result<(), FieldError> {
    const FIELD: &str = "publisher id";
    length(FIELD, text.chars().count(), ID_MAX_CHARS)?;
    let refused = |c: char| {
        c.is_control() || is_invisible(c) || c != ' ' && c.is_whitespace() || "/\\?#".contains(c)
    };
    if text.contains(refused) || text.starts_with(' ') || text.ends_with(' ') {
        return Err(FieldError::Character { field: FIELD });
    }
    no_trick(FIELD, text)
}

/// Characters that show nothing or reorder what is shown, so that two different ids look alike.
fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{ad}'
            | '\u{34f}'
            | '\u{61c}'
            | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff0}'..='\u{ffff}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

fn id(field: &'static str, text: &str, known: impl Fn(u8) -> bool) -> Result<(), FieldError> {
    length(field, text.chars().count(), ID_MAX_CHARS)?;
    characters(field, text, known)?;
    no_trick(field, text)
}

fn length(field: &'static str, length: usize, limit: usize) -> Result<(), FieldError> {
    match length {
        0 => Err(FieldError::Empty { field }),
        length if length > limit => Err(FieldError::TooLong { field, length, limit }),
        _ => Ok(()),
    }
}

fn characters(
    field: &'static str,
    text: &str,
    known: impl Fn(u8) -> bool,
) -> Result<(), FieldError> {
    if text.bytes().all(known) { Ok(()) } else { Err(FieldError::Character { field }) }
}

fn no_trick(field: &'static str, text: &str) -> Result<(), FieldError> {
    if matches!(text, "." | "..") {
        return Err(FieldError::Dots { field });
    }
    if has_percent_escape(text) {
        return Err(FieldError::Escape { field });
    }
    Ok(())
}

/// Whether a percent sign stands before two hexadecimal digits, so that decoding changes the text.
pub fn has_percent_escape(text: &str) -> bool {
    text.as_bytes().windows(3).any(
        |three| matches!(three, [b'%', a, b] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit()),
    )
}

#[cfg(test)]
mod tests;
