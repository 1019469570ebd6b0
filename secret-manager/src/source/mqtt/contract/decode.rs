//! Reads what the cloud sends. Foreign bytes.
//!
//! Fields that the contract does not have are passed over, because the cloud's side sends more
//! than it documents; a field that stands twice, or has another type, is a fault of the message.
//! What is wrong with one secret alone is a fault of that secret.
#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::collections::BTreeSet;
use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use wire::secrets::{Date, SecretName, SecretVersion};
use zeroize::Zeroizing;

use super::{MESSAGE_SECRETS_MAX, PAYLOAD_MAX_BYTES, Refusal, RequestId, Status};
use crate::secret::{Draft, Value};
use crate::source::Removal;

/// Why a message is not one. It repeats nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(in super::super) enum Fault {
    /// Too long, or too many secrets.
    #[error("the message is over a limit")]
    TooLarge,
    /// Not JSON of the contract.
    #[error("the message is not JSON of the contract")]
    Malformed,
}

impl From<Fault> for Status {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::TooLarge => Self::TooLarge,
            Fault::Malformed => Self::Malformed,
        }
    }
}

/// A secret as a message names it. The name is there when it is one; the version when it is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Named {
    pub(in super::super) name: Option<SecretName>,
    pub(in super::super) version: Option<SecretVersion>,
}

/// One secret of a message, or why there is none. `None` for a secret without a value.
#[derive(Debug)]
pub(in super::super) struct Entry {
    pub(in super::super) named: Named,
    pub(in super::super) draft: Result<Option<Draft>, Refusal>,
}

/// A message from the cloud: which request it answers, when it was made, and what it is about.
#[derive(Debug)]
pub(in super::super) struct Message<T> {
    pub(in super::super) request_id: Option<RequestId>,
    pub(in super::super) created: Option<Date>,
    pub(in super::super) secrets: Vec<T>,
}

/// Reads an UpdateSecrets message.
///
/// # Secrets
/// The values, in the result; wiped when dropped. serde_json keeps a value with escaped characters
/// in a buffer of its own, which is freed and not wiped here.
pub(in super::super) fn decode_update(payload: &[u8]) -> Result<Message<Entry>, Fault> {
    let mut seen = BTreeSet::new();
    decode(payload, |raw: RawSecret| raw.check(&mut seen))
}

/// One secret of a message that deletes, or what is wrong with it.
pub(in super::super) type RemovalOrNot = Result<Removal, (Named, Refusal)>;

/// Reads a DeleteSecrets message: names, and versions where not all are meant.
pub(in super::super) fn decode_delete(payload: &[u8]) -> Result<Message<RemovalOrNot>, Fault> {
    decode(payload, |raw: RawName| match raw.check() {
        (Named { name: Some(name), version }, None) => Ok(Removal { name, version }),
        (named, refusal) => Err((named, refusal.unwrap_or(Refusal::Name))),
    })
}

fn decode<R: DeserializeOwned, T>(
    payload: &[u8],
    check: impl FnMut(R) -> T,
) -> Result<Message<T>, Fault> {
    if payload.len() > PAYLOAD_MAX_BYTES {
        return Err(Fault::TooLarge);
    }
    let Object(raw) = serde_json::from_slice::<Object<RawMessage<R>>>(payload)
        .map_err(|_text_may_repeat_a_value| Fault::Malformed)?;
    if raw.secrets.len() > MESSAGE_SECRETS_MAX {
        return Err(Fault::TooLarge);
    }
    let request_id = raw.request_id.map(|text| RequestId::parse(&text).ok_or(Fault::Malformed));
    let created = raw.create_date.map(|text| Date::parse_legacy(&text));
    Ok(Message {
        request_id: request_id.transpose()?,
        created: created.transpose().map_err(|_form| Fault::Malformed)?,
        secrets: raw.secrets.into_iter().map(|Object(raw)| raw).map(check).collect(),
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", bound = "T: DeserializeOwned")]
struct RawMessage<T> {
    request_id: Option<String>,
    create_date: Option<String>,
    secrets: Vec<Object<T>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RawName {
    name: String,
    version: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RawSecret {
    name: String,
    version: Option<String>,
    value: Option<SecretText>,
    activation_date: Option<String>,
    expiration_date: Option<String>,
}

impl RawName {
    fn check(&self) -> (Named, Option<Refusal>) {
        let name = SecretName::parse(&self.name).ok();
        let version = self.version.as_deref().map(SecretVersion::parse);
        let refusal = match (&name, &version) {
            (None, _) => Some(Refusal::Name),
            (Some(_), Some(Err(_))) => Some(Refusal::Version),
            (Some(_), None | Some(Ok(_))) => None,
        };
        (Named { name, version: version.and_then(Result::ok) }, refusal)
    }
}

impl RawSecret {
    fn check(self, seen: &mut BTreeSet<(SecretName, SecretVersion)>) -> Entry {
        let (named, refusal) = RawName { name: self.name, version: self.version }.check();
        let draft = match (refusal, named.name.clone()) {
            (Some(refusal), _) => Err(refusal),
            (None, None) => Err(Refusal::Name),
            (None, Some(name)) => {
                let value = self.value.map(|SecretText(value)| value);
                let dates = (self.activation_date, self.expiration_date);
                draft(name, named.version.clone(), value, dates)
            }
        };
        let draft = draft.and_then(|draft| match draft {
            Some(draft) if !seen.insert((draft.name.clone(), draft.stored_version())) => {
                Err(Refusal::Repeated)
            }
            other => Ok(other),
        });
        Entry { named, draft }
    }
}

/// The dates are those of edge-secrets: in UTC where they name no offset, absent for ever.
fn draft(
    name: SecretName,
    version: Option<SecretVersion>,
    value: Option<Zeroizing<Vec<u8>>>,
    (activation, expiration): (Option<String>, Option<String>),
) -> Result<Option<Draft>, Refusal> {
    let date = |text: Option<String>, default| {
        text.map_or(Ok(default), |text| Date::parse_legacy(&text).map_err(|_form| Refusal::Date))
    };
    let activation = date(activation, Date::MIN)?;
    let expiration = date(expiration, Date::NEVER)?;
    if activation >= expiration {
        return Err(Refusal::Dates);
    }
    let Some(value) = value else { return Ok(None) };
    let value = Value::new(value).map_err(|_too_large| Refusal::Value)?;
    Ok(Some(Draft { activation, expiration, ..Draft::new(name, version, value) }))
}

/// The value of a secret: text, kept as bytes that are wiped.
struct SecretText(Zeroizing<Vec<u8>>);

impl<'de> Deserialize<'de> for SecretText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(SecretTextVisitor)
    }
}

struct SecretTextVisitor;

impl Visitor<'_> for SecretTextVisitor {
    type Value = SecretText;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<SecretText, E> {
        Ok(SecretText(Zeroizing::new(text.as_bytes().to_vec())))
    }

    fn visit_string<E: serde::de::Error>(self, text: String) -> Result<SecretText, E> {
        Ok(SecretText(Zeroizing::new(text.into_bytes())))
    }
}

/// A struct read from an object only; serde would take an array for it too.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor(PhantomData)).map(Self)
    }
}

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map_err(A::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "3f2a5b60-0000-4000-8000-000000000001";

    fn update(secrets: &str) -> String {
        format!(r#"{{"RequestId":"{ID}","Secrets":{secrets}}}"#)
    }

    #[track_caller]
    fn check(secrets: &str, refusal: Refusal) {
        let message = decode_update(update(secrets).as_bytes()).unwrap();
        assert_eq!(message.secrets.last().unwrap().draft.as_ref().unwrap_err(), &refusal);
    }

    #[track_caller]
    fn check_malformed(message: &str) {
        assert_eq!(decode_update(message.as_bytes()).unwrap_err(), Fault::Malformed, "{message}");
    }

    #[track_caller]
    fn one(secrets: &str) -> Draft {
        let message = decode_update(update(secrets).as_bytes()).unwrap();
        message.secrets.into_iter().next().unwrap().draft.unwrap().unwrap()
    }

    #[test]
    fn fields_in_any_order_are_read() {
        let message = format!(
            r#"{{"Secrets":[{{"ExpirationDate":"2027-01-01T00:00:00Z","Value":"a\u002Bb",
            "ActivationDate":"2026-01-01T09:00:00+09:00","Version":"v1","Name":"db"}}],
            "RequestId":"{ID}"}}"#
        );
        let message = decode_update(message.as_bytes()).unwrap();
        assert_eq!(message.request_id.unwrap().to_string(), ID);
        let draft = message.secrets.into_iter().next().unwrap().draft.unwrap().unwrap();
        assert_eq!((draft.name.as_str(), draft.stored_version().as_str()), ("db", "v1"));
        assert_eq!(draft.value.as_bytes(), b"a+b");
        assert_eq!(draft.activation, Date::parse("2026-01-01T00:00:00Z").unwrap());
        assert_eq!(draft.expiration, Date::parse("2027-01-01T00:00:00Z").unwrap());
    }

    #[test]
    fn m11_secret_with_a_null_version_is_stored_as_default() {
        for secrets in
            [r#"[{"Name":"a","Value":"x"}]"#, r#"[{"Name":"a","Version":null,"Value":"x"}]"#]
        {
            assert_eq!(one(secrets).stored_version().as_str(), "default");
        }
    }

    #[test]
    fn absent_dates_are_those_of_edge_secrets() {
        for dates in ["", r#","ActivationDate":null,"ExpirationDate":null"#] {
            let draft = one(&format!(r#"[{{"Name":"a","Value":"x"{dates}}}]"#));
            assert_eq!((draft.activation, draft.expiration), (Date::MIN, Date::NEVER));
        }
    }

    #[test]
    fn date_without_an_offset_is_in_utc() {
        let draft = one(r#"[{"Name":"a","Value":"x","ActivationDate":"2026-01-01T00:00:00"}]"#);
        assert_eq!(draft.activation, Date::parse("2026-01-01T00:00:00Z").unwrap());
    }

    #[test]
    fn fields_that_the_contract_does_not_have_are_passed_over() {
        let secrets = r#"[{"Name":"a","Value":"x","Tags":{"b":[1]},"IsActive":true}]"#;
        assert_eq!(one(secrets).value.as_bytes(), b"x");
    }

    #[test]
    fn secret_without_a_value_is_no_draft() {
        for secrets in [r#"[{"Name":"a"}]"#, r#"[{"Name":"a","Value":null}]"#] {
            let message = decode_update(update(secrets).as_bytes()).unwrap();
            assert!(message.secrets[0].draft.as_ref().unwrap().is_none());
        }
    }

    #[test]
    fn fault_of_one_secret_leaves_the_others() {
        let secrets = r#"[{"Name":"a","Value":"x"},{"Name":"b c","Value":"y"}]"#;
        let message = decode_update(update(secrets).as_bytes()).unwrap();
        assert!(message.secrets[0].draft.is_ok());
        check(secrets, Refusal::Name);
    }

    #[test]
    fn fault_of_a_secret_has_its_own_reason() {
        check(r#"[{"Name":"","Value":"x"}]"#, Refusal::Name);
        check(r#"[{"Name":"a","Version":"v 1","Value":"x"}]"#, Refusal::Version);
        check(r#"[{"Name":"a","Value":"x","ExpirationDate":"soon"}]"#, Refusal::Date);
        let never =
            r#""ActivationDate":"2026-01-01T00:00:00","ExpirationDate":"2026-01-01T00:00:00Z""#;
        check(&format!(r#"[{{"Name":"a","Value":"x",{never}}}]"#), Refusal::Dates);
        check(
            r#"[{"Name":"a","Value":"x"},{"Name":"a","Version":"default","Value":"y"}]"#,
            Refusal::Repeated,
        );
    }

    #[test]
    fn message_that_is_not_of_the_contract_is_malformed() {
        check_malformed("");
        check_malformed("[]");
        check_malformed(r#"["id",[]]"#);
        check_malformed(r#"{"Secrets":[["a"]]}"#);
        check_malformed(r#"{"RequestId":"x"}"#);
        check_malformed(r#"{"RequestId":"a b","Secrets":[]}"#);
        check_malformed(r#"{"RequestId":"x","CreateDate":"now","Secrets":[]}"#);
        check_malformed(r#"{"Secrets":[{"Value":"x"}]}"#);
        check_malformed(r#"{"Secrets":[{"Name":"a","Value":5}]}"#);
        check_malformed(r#"{"Secrets":[{"Name":"a","Name":"b","Value":"x"}]}"#);
        check_malformed(r#"{"Secrets":[]} trailing"#);
        check_malformed(&"[".repeat(1000));
    }

    #[test]
    fn payload_at_limit_is_read_and_one_past_it_is_too_large() {
        let of = |length: usize| {
            let rest = update(r#"[{"Name":"a","Value":""}]"#).len();
            update(&format!(r#"[{{"Name":"a","Value":"{}"}}]"#, "x".repeat(length - rest)))
        };
        assert!(decode_update(of(PAYLOAD_MAX_BYTES).as_bytes()).is_ok());
        let fault = decode_update(of(PAYLOAD_MAX_BYTES + 1).as_bytes()).unwrap_err();
        assert_eq!(fault, Fault::TooLarge);
    }

    #[test]
    fn secrets_at_limit_are_read_and_one_past_it_is_too_large() {
        let of = |count: usize| {
            let secrets: Vec<_> = (0..count).map(|n| format!(r#"{{"Name":"a{n}"}}"#)).collect();
            update(&format!("[{}]", secrets.join(",")))
        };
        assert!(decode_update(of(MESSAGE_SECRETS_MAX).as_bytes()).is_ok());
        let fault = decode_update(of(MESSAGE_SECRETS_MAX + 1).as_bytes()).unwrap_err();
        assert_eq!(fault, Fault::TooLarge);
    }

    #[test]
    fn delete_names_secrets_and_versions() {
        let message = br#"{"Secrets":[{"Name":"a"},{"Name":"b","Version":"v1"},{"Name":"?"}]}"#;
        let message = decode_delete(message).unwrap();
        assert!(message.request_id.is_none());
        let [all, one, none] = message.secrets.try_into().unwrap();
        let (all, one) = (all.unwrap(), one.unwrap());
        assert_eq!((all.name.as_str(), all.version), ("a", None));
        assert_eq!(one.version.unwrap().as_str(), "v1");
        assert_eq!(none.unwrap_err().1, Refusal::Name);
    }
}
