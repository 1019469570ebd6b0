//! What the endpoints of the secret manager read.

use serde::{Deserialize, Deserializer, Serialize};

use super::SECRET_VALUE_MAX_BYTES;
use super::date::Date;
use super::tags::Tags;
use super::text::{ContentType, SecretName, SecretVersion};
use crate::api::{Request, SecretBase64, Strict};
use crate::code::{Code, Fault};
use crate::limits::BATCH_MAX_ITEMS;

/// `PUT /v1/secrets/{name}`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PutRequest {
    /// The value, at most 1 MiB; may be empty. Text is given as its bytes.
    pub value: SecretBase64<SECRET_VALUE_MAX_BYTES>,
    /// The version; `default` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<SecretVersion>,
    /// From when it is active; since ever when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activation: Option<Date>,
    /// From when it is no longer active; never when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expiration: Option<Date>,
    /// What the value is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<ContentType>,
    /// Notes; none when absent.
    #[serde(default, skip_serializing_if = "Tags::is_empty", deserialize_with = "tags_or_null")]
    pub tags: Tags,
}

impl Request for PutRequest {
    fn check(&self) -> Result<(), Fault> {
        let activation = self.activation.unwrap_or(Date::MIN);
        if activation >= self.expiration.unwrap_or(Date::NEVER) {
            return Err(Fault::new(Code::Invalid, "activation is not before expiration"));
        }
        Ok(())
    }
}

/// One secret of a [`BatchRequest`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GetItem {
    /// The name.
    pub name: SecretName,
    /// The version; the active one with the latest activation when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<SecretVersion>,
    /// The time at which it must be active; now when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Date>,
}

/// `POST /v1/batch`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BatchRequest {
    /// The secrets, 1 to 256.
    #[serde(deserialize_with = "objects")]
    pub items: Vec<GetItem>,
    /// Whether to ask the remote source even for what is stored. False when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub force: Option<bool>,
}

impl Request for BatchRequest {
    fn check(&self) -> Result<(), Fault> {
        match self.items.len() {
            0 => Err(Fault::new(Code::Invalid, "batch has no items")),
            items if items > BATCH_MAX_ITEMS => {
                let detail = format!("batch exceeds limit of {BATCH_MAX_ITEMS} items");
                Err(Fault::new(Code::TooLarge, detail))
            }
            _ => Ok(()),
        }
    }
}

fn objects<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<GetItem>, D::Error> {
    let items = Vec::<Strict<GetItem>>::deserialize(deserializer)?;
    Ok(items.into_iter().map(|Strict(item)| item).collect())
}

fn tags_or_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Tags, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::decode;

    fn refused<T: Request + std::fmt::Debug>(body: &str, fault: &str) {
        let error = decode::<T>(body.as_bytes()).unwrap_err().to_string();
        assert!(error.starts_with(fault), "{error}");
    }

    fn batch_of(items: usize) -> String {
        format!(r#"{{"items":[{}]}}"#, vec![r#"{"name":"a"}"#; items].join(","))
    }

    #[test]
    fn put_with_every_field_is_read_and_written_alike() {
        let body = r#"{"value":"AAE=","version":"v1","activation":"2026-01-01T00:00:00.000000000Z","expiration":"2027-01-01T00:00:00.000000000Z","content_type":"text/plain","tags":{"a":"b"}}"#;
        let request: PutRequest = decode(body.as_bytes()).unwrap();
        assert_eq!(serde_json::to_string(&request).unwrap(), body);
    }

    #[test]
    fn put_of_a_value_alone_has_defaults() {
        let request: PutRequest = decode(br#"{"value":"","tags":null}"#).unwrap();
        assert!(request.version.is_none() && request.tags.is_empty());
    }

    #[test]
    fn put_that_is_never_active_is_invalid() {
        refused::<PutRequest>(
            r#"{"value":"","activation":"2026-01-01T00:00:00Z","expiration":"2026-01-01T00:00:00Z"}"#,
            "invalid: activation is not before expiration",
        );
    }

    #[test]
    fn put_value_one_past_limit_is_too_large() {
        let value = SecretBase64::<{ 2 * SECRET_VALUE_MAX_BYTES }>::new(
            vec![0; SECRET_VALUE_MAX_BYTES + 1].into(),
        );
        let value = serde_json::to_string(&value.unwrap()).unwrap();
        refused::<PutRequest>(&format!(r#"{{"value":{value}}}"#), "too_large: ");
    }

    #[test]
    fn put_with_unknown_field_or_bad_value_is_refused() {
        refused::<PutRequest>(r#"{"value":"","name":"x"}"#, "malformed: unknown field");
        refused::<PutRequest>(r#"{"value":"","version":""}"#, "invalid: version has no bytes");
        refused::<PutRequest>(r#"{"value":"","expiration":"tomorrow"}"#, "invalid: a date");
        refused::<PutRequest>(r#"{"value":"x"}"#, "malformed: ");
        refused::<PutRequest>("{}", "malformed: missing field");
    }

    #[test]
    fn batch_at_limit_is_read() {
        let request: BatchRequest = decode(batch_of(BATCH_MAX_ITEMS).as_bytes()).unwrap();
        assert_eq!(request.items.len(), BATCH_MAX_ITEMS);
    }

    #[test]
    fn batch_past_limits_is_refused() {
        refused::<BatchRequest>(&batch_of(BATCH_MAX_ITEMS + 1), "too_large: batch exceeds");
        refused::<BatchRequest>(&batch_of(0), "invalid: batch has no items");
        refused::<BatchRequest>(r#"{"items":[["a"]]}"#, "malformed: ");
    }
}
