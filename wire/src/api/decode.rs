//! From a request body to a value, or to a fault with the code that says why not. A fault repeats
//! words at most that could be names of fields, never a value.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, Deserializer, MapAccess, Visitor};

use crate::code::{Code, Fault};
use crate::limits::BODY_MAX_BYTES;

const DETAIL_MAX_CHARS: usize = 200;
/// Longest unknown word that is repeated; longer ones may be a secret in the wrong place.
const WORD_MAX_CHARS: usize = 24;

/// A request body. What serde cannot say about its values is said by `check`.
pub trait Request: DeserializeOwned {
    /// Checks what the types leave open.
    ///
    /// # Errors
    /// `invalid`: a value out of its range, which the detail names.
    fn check(&self) -> Result<(), Fault> {
        Ok(())
    }
}

/// Reads a request body. An empty body is read as `{}`.
///
/// # Limits
/// 4 MiB; one past it is `too_large`.
///
/// # Errors
/// `malformed`: not JSON, or not the fields of the request. `invalid`, `too_large`: a value is
/// out of its range.
pub fn decode<T: Request>(body: &[u8]) -> Result<T, Fault> {
    if body.len() > BODY_MAX_BYTES {
        return Err(Fault::over("body", body.len(), BODY_MAX_BYTES));
    }
    let body = if body.is_empty() { b"{}" } else { body };
    let Strict(request) = serde_json::from_slice::<Strict<T>>(body).map_err(|e| fault(&e))?;
    request.check()?;
    Ok(request)
}

/// Reads a struct from an object only; serde would take an array for it too.
pub(super) fn object<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    deserializer.deserialize_map(ObjectVisitor(PhantomData))
}

/// A value read by [`object`].
pub(crate) struct Strict<T>(pub(crate) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Strict<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        object(deserializer).map(Self)
    }
}

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map))
    }
}

/// Our own `Deserialize` impls give a [`Fault`] to serde as text, so its code leads the message.
/// Messages of serde that could repeat a value are replaced.
fn fault(error: &serde_json::Error) -> Fault {
    let text = error.to_string();
    if !error.is_data() {
        return Fault::new(Code::Malformed, format!("body is not JSON: {text}"));
    }
    let (message, place) = text.rsplit_once(" at line ").unwrap_or((&text, "?"));
    let named = [Code::Malformed, Code::Invalid, Code::TooLarge]
        .into_iter()
        .find_map(|code| Some((code, message.strip_prefix(code.as_str())?.strip_prefix(": ")?)));
    let (code, message) = named.unwrap_or_else(|| match message.split(' ').next() {
        Some("unknown") if message.starts_with("unknown variant") => (Code::Invalid, message),
        Some("unknown" | "missing" | "duplicate") => (Code::Malformed, message),
        _ => (Code::Malformed, "a value has another type than the field takes"),
    });
    let message = without_stranger(message);
    let short: String = message.chars().take(DETAIL_MAX_CHARS).collect();
    Fault::new(code, format!("{short} at line {place}"))
}

/// Takes an unknown word out of serde's message, ``unknown field `WORD`, expected ...``, unless it
/// looks like a word of ours that was misspelt.
fn without_stranger(message: &str) -> String {
    let whole = || message.to_owned();
    let Some((begin, rest)) = message.split_once(" `") else { return whole() };
    if !begin.starts_with("unknown") {
        return whole();
    }
    // The word is the caller's and may hold anything; what follows it is serde's.
    let Some((word, end)) = rest.split_once("`, expected ") else { return begin.to_owned() };
    let is_ours = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
    if word.chars().count() <= WORD_MAX_CHARS && word.chars().all(is_ours) {
        return whole();
    }
    format!("{begin}, expected {end}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{CreateRequest, RandomRequest, RotateRequest};

    fn check(body: &str, fault: &str) {
        assert_eq!(decode::<RandomRequest>(body.as_bytes()).unwrap_err().to_string(), fault);
    }

    #[test]
    fn body_that_is_not_json_is_malformed() {
        check("{", "malformed: body is not JSON: EOF while parsing an object at line 1 column 1");
    }

    #[test]
    fn body_with_trailing_bytes_is_malformed() {
        check(
            r#"{"bytes":1} x"#,
            "malformed: body is not JSON: trailing characters at line 1 column 13",
        );
    }

    #[test]
    fn unknown_field_is_malformed_and_named() {
        check(
            r#"{"byte":1}"#,
            "malformed: unknown field `byte`, expected `bytes` at line 1 column 7",
        );
    }

    #[test]
    fn missing_field_is_malformed_and_named() {
        check("{}", "malformed: missing field `bytes` at line 1 column 2");
    }

    #[test]
    fn duplicate_field_is_malformed_and_named() {
        check(r#"{"bytes":1,"bytes":1}"#, "malformed: duplicate field `bytes` at line 1 column 18");
    }

    #[test]
    fn array_for_an_object_is_malformed() {
        check("[1]", "malformed: a value has another type than the field takes at line 1 column 0");
    }

    #[test]
    fn value_of_another_type_is_malformed_and_not_repeated() {
        check(
            r#"{"bytes":"marker"}"#,
            "malformed: a value has another type than the field takes at line 1 column 17",
        );
    }

    #[test]
    fn unknown_word_is_invalid_and_named() {
        let fault = decode::<CreateRequest>(br#"{"usage":"open"}"#).unwrap_err();
        assert_eq!(
            fault.to_string(),
            "invalid: unknown variant `open`, expected one of `seal`, `mac`, `sign`, `aead`, `rsa` at line 1 column 15"
        );
    }

    #[test]
    fn bad_provider_name_is_invalid() {
        let fault =
            decode::<CreateRequest>(br#"{"usage":"seal","providers":["TPM"]}"#).unwrap_err();
        assert_eq!(fault.code, Code::Invalid);
    }

    #[test]
    fn array_for_a_nested_object_is_malformed() {
        let fault = decode::<CreateRequest>(br#"{"usage":"seal","pcrs":[[7]]}"#).unwrap_err();
        assert_eq!(fault.code, Code::Malformed);
    }

    #[test]
    fn field_name_cannot_choose_the_code() {
        let fault = decode::<RandomRequest>(br#"{"too_large: x":1}"#).unwrap_err();
        assert_eq!(fault.code, Code::Malformed);
    }

    #[test]
    fn field_name_that_could_be_a_secret_is_not_repeated() {
        for name in ["Qk1a", "a b", "0123456789abcdef012345678", "X`, expected y", "\\u00e4"] {
            let body = format!(r#"{{"{name}":1}}"#);
            let fault = decode::<RandomRequest>(body.as_bytes()).unwrap_err().to_string();
            assert!(fault.starts_with("malformed: unknown field, expected "), "{fault}");
            assert!(!fault.contains(name), "{fault}");
        }
    }

    #[test]
    fn field_name_at_limit_is_repeated() {
        let name = "a".repeat(WORD_MAX_CHARS);
        let fault = decode::<RandomRequest>(format!(r#"{{"{name}":1}}"#).as_bytes()).unwrap_err();
        assert!(fault.detail.contains(&name), "{fault}");
    }

    #[test]
    fn long_field_name_is_cut() {
        let body = format!("{{\"{}\":1}}", "x".repeat(10_000));
        assert!(decode::<RandomRequest>(body.as_bytes()).unwrap_err().detail.len() < 300);
    }

    #[test]
    fn empty_body_is_an_empty_object() {
        assert_eq!(decode(b""), Ok(RotateRequest {}));
        assert!(decode::<RandomRequest>(b"").is_err());
    }

    #[test]
    fn body_at_limit_is_read() {
        let mut body = br#"{"bytes":1}"#.to_vec();
        body.resize(BODY_MAX_BYTES, b' ');
        assert_eq!(decode(&body), Ok(RandomRequest { bytes: 1 }));
    }

    #[test]
    fn body_one_past_limit_is_too_large() {
        let mut body = br#"{"bytes":1}"#.to_vec();
        body.resize(BODY_MAX_BYTES + 1, b' ');
        assert_eq!(decode::<RandomRequest>(&body).unwrap_err().code, Code::TooLarge);
    }
}
