//! What the endpoints of the secret manager answer.

use serde::{Deserialize, Serialize};

use super::SECRET_VALUE_MAX_BYTES;
use super::date::Date;
use super::tags::Tags;
use super::text::{Author, ContentType, SecretName, SecretVersion};
use crate::api::{ItemResult, Protection, SecretBase64};

/// Everything about one version of a secret but its value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretRecord {
    /// The name.
    pub name: SecretName,
    /// The version.
    pub version: SecretVersion,
    /// From when it is active.
    pub activation: Date,
    /// From when it is no longer active.
    pub expiration: Date,
    /// What the value is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<ContentType>,
    /// Notes.
    #[serde(default, skip_serializing_if = "Tags::is_empty")]
    pub tags: Tags,
    /// When this version was first stored here.
    pub created_at: Date,
    /// Who first stored it.
    pub created_by: Author,
    /// When it was last stored.
    pub updated_at: Date,
    /// Who last stored it.
    pub updated_by: Author,
}

/// `GET /v1/secrets/{name}`.
#[derive(Debug, Serialize, Deserialize)]
pub struct GetReply {
    /// What is known of it.
    pub secret: SecretRecord,
    /// The value.
    pub value: SecretBase64<SECRET_VALUE_MAX_BYTES>,
    /// Where the value came from: the label of a store or source.
    pub from: String,
    /// What protects the sealed form that was opened; absent when the value was in memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protection: Option<Protection>,
    /// Whether the clock is behind the last date on record, which stood in for it.
    pub clock_behind: bool,
}

/// `POST /v1/import`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportReply {
    /// What was stored, in the order of the file.
    pub secrets: Vec<SecretRecord>,
}

/// `PUT /v1/secrets/{name}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PutReply {
    /// What was stored.
    pub secret: SecretRecord,
}

/// `DELETE /v1/secrets/{name}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteReply {
    /// The name.
    pub name: SecretName,
    /// How many versions were stored and are erased.
    pub erased: usize,
}

/// `GET /v1/secrets/{name}/versions`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionsReply {
    /// The versions, latest activation first.
    pub versions: Vec<SecretRecord>,
}

/// `GET /v1/secrets`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListReply {
    /// Every version that the caller may know of, by name and version.
    pub secrets: Vec<SecretRecord>,
}

/// `POST /v1/batch`.
#[derive(Debug, Serialize, Deserialize)]
pub struct BatchReply {
    /// A reply or an error for each item, in order.
    pub items: Vec<ItemResult<GetReply>>,
}

/// One event of `GET /v1/watch`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// What happened.
    pub kind: ChangeKind,
    /// To which secret; absent when every stored value was erased.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<SecretName>,
    /// To which version; absent when to all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<SecretVersion>,
    /// When.
    pub at: Date,
}

/// What happened to a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChangeKind {
    /// It was stored.
    Put,
    /// It was deleted.
    Delete,
    /// Every stored value was erased.
    Clear,
}

/// `GET /v1/status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretStatus {
    /// Version of the daemon.
    pub version: String,
    /// When it started, RFC 3339.
    pub started_at: String,
    /// The stores, from the one asked first.
    pub stores: Vec<StoreStatus>,
    /// The remote source, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Whether the clock is behind the last date on record.
    pub clock_behind: bool,
}

/// One store of a [`SecretStatus`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreStatus {
    /// Its label.
    pub label: String,
    /// How many versions of secrets it holds.
    pub secrets: usize,
    /// What seals its values: a key of the host; absent when nothing does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: &str = r#"{"name":"db/password","version":"v1","activation":"0001-01-01T00:00:00.000000000Z","expiration":"9999-12-31T23:59:59.999999900Z","created_at":"2026-01-01T00:00:00.000000000Z","created_by":"uid:0","updated_at":"2026-01-01T00:00:00.000000000Z","updated_by":"uid:0"}"#;

    fn check<T: Serialize + for<'de> Deserialize<'de>>(json: &str) {
        let value: T = serde_json::from_str(json).unwrap();
        assert_eq!(serde_json::to_string(&value).unwrap(), json);
    }

    #[test]
    fn replies_are_read_and_written_alike() {
        check::<PutReply>(&format!(r#"{{"secret":{RECORD}}}"#));
        check::<VersionsReply>(&format!(r#"{{"versions":[{RECORD}]}}"#));
        check::<ListReply>(&format!(r#"{{"secrets":[{RECORD}]}}"#));
        check::<GetReply>(&format!(
            r#"{{"secret":{RECORD},"value":"AAE=","from":"file","protection":"hardware","clock_behind":false}}"#
        ));
        check::<Change>(r#"{"kind":"delete","name":"a","at":"2026-01-01T00:00:00.000000000Z"}"#);
    }

    #[test]
    fn debug_of_a_reply_shows_no_value() {
        let json = format!(
            r#"{{"secret":{RECORD},"value":"bWFya2Vy","from":"file","clock_behind":false}}"#
        );
        let reply = format!("{:?}", serde_json::from_str::<GetReply>(&json).unwrap());
        assert!(!reply.contains("marker") && !reply.contains("bWFya2Vy"), "{reply}");
    }
}
