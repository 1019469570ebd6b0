//! What one line says (`docs/audit.md` section 2). Never a secret, a context value or a token.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::checkpoint::CheckpointMac;
use crate::api::{Origin, Protection};
use crate::code::Code;

/// Why a line was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// The host started.
    Start,
    /// The host stopped after serving what was in flight.
    Stop,
    /// The access rules were read again.
    Reload,
    /// A request was answered.
    Request,
    /// A key is about to change.
    Intent,
    /// How the change with the same request id ended.
    Outcome,
    /// Requests beyond the recorded rate were refused; `repeated` says how many.
    Refused,
    /// A change that a crash left over was completed or undone.
    Recovered,
    /// Devices vouch for everything before this line.
    Checkpoint,
    /// The oldest files of a rotated log are about to be removed; `through` says how far.
    Removed,
}

/// Who asked, as the kernel says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Principal {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Process id, when the connection was made.
    pub pid: i32,
}

/// How a request ended: `ok`, or an error code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was done.
    Ok,
    /// It was not.
    Failed(Code),
}

impl Serialize for Outcome {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(match self {
            Self::Ok => "ok",
            Self::Failed(code) => code.as_str(),
        })
    }
}

impl<'de> Deserialize<'de> for Outcome {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text == "ok" {
            return Ok(Self::Ok);
        }
        let code = Code::ALL.into_iter().find(|code| code.as_str() == text);
        code.map(Self::Failed).ok_or_else(|| D::Error::custom("unknown outcome"))
    }
}

/// How the items of a batch ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counts {
    /// Items asked for.
    pub total: u32,
    /// Items answered with an error.
    pub failed: u32,
}

/// What the host writes; [`super::Chain`] adds sequence and hash.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Record<'a> {
    /// RFC 3339, UTC.
    pub time: &'a str,
    /// Why.
    pub kind: Kind,
    /// Generation of the key registry.
    pub generation: u64,
    /// The request id, as in the reply.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<&'a str>,
    /// Who asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub principal: Option<Principal>,
    /// The operation, as in the access rules.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation: Option<&'a str>,
    /// The key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<&'a str>,
    /// The version used or changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<u32>,
    /// The provider used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<&'a str>,
    /// What protects the version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protection: Option<Protection>,
    /// Where the version's key bytes came from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
    /// Whether another provider stood in for the key's own.
    #[serde(skip_serializing_if = "is_false")]
    pub fallback: bool,
    /// The secret that was read, stored or erased.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<&'a str>,
    /// Its version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_version: Option<&'a str>,
    /// The store or source that it came from; of a key that is moved, the name that it had.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<&'a str>,
    /// The unit of the service manager that got it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<&'a str>,
    /// What a signed token is for, decoded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource: Option<&'a str>,
    /// When a signed token expires, seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<u64>,
    /// How it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// From the first byte of the request to the record, in microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_us: Option<u64>,
    /// The items of a batch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub items: Option<Counts>,
    /// How many refusals this line stands for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repeated: Option<u64>,
    /// Length of an incomplete last line that was removed at this start, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub torn_bytes: Option<u64>,
    /// The MACs of a checkpoint, in the order of the instances' names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub macs: Option<&'a [CheckpointMac]>,
    /// Sequence of the last line that is removed with old files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub through: Option<u64>,
}

impl<'a> Record<'a> {
    /// A record with nothing but what every line has; set the other fields by struct update.
    pub fn new(kind: Kind, time: &'a str, generation: u64) -> Self {
        Self {
            time,
            kind,
            generation,
            request: None,
            principal: None,
            operation: None,
            key: None,
            version: None,
            provider: None,
            protection: None,
            origin: None,
            fallback: false,
            secret: None,
            secret_version: None,
            from: None,
            unit: None,
            resource: None,
            expires_at: None,
            outcome: None,
            duration_us: None,
            items: None,
            repeated: None,
            torn_bytes: None,
            macs: None,
            through: None,
        }
    }
}

/// A line as read: the fields of [`Record`] and what the chain added.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// From 1, without gaps.
    pub seq: u64,
    /// SHA-256 of the line before, in lower-case hex.
    pub prev: String,
    /// As in [`Record`].
    pub time: String,
    /// As in [`Record`].
    pub kind: Kind,
    /// As in [`Record`].
    pub generation: u64,
    /// As in [`Record`].
    pub request: Option<String>,
    /// As in [`Record`].
    pub principal: Option<Principal>,
    /// As in [`Record`].
    pub operation: Option<String>,
    /// As in [`Record`].
    pub key: Option<String>,
    /// As in [`Record`].
    pub version: Option<u32>,
    /// As in [`Record`].
    pub provider: Option<String>,
    /// As in [`Record`].
    pub protection: Option<Protection>,
    /// As in [`Record`].
    pub origin: Option<Origin>,
    /// As in [`Record`].
    #[serde(default)]
    pub fallback: bool,
    /// As in [`Record`].
    pub secret: Option<String>,
    /// As in [`Record`].
    pub secret_version: Option<String>,
    /// As in [`Record`].
    pub from: Option<String>,
    /// As in [`Record`].
    pub unit: Option<String>,
    /// As in [`Record`].
    pub resource: Option<String>,
    /// As in [`Record`].
    pub expires_at: Option<u64>,
    /// As in [`Record`].
    pub outcome: Option<Outcome>,
    /// As in [`Record`].
    pub duration_us: Option<u64>,
    /// As in [`Record`].
    pub items: Option<Counts>,
    /// As in [`Record`].
    pub repeated: Option<u64>,
    /// As in [`Record`].
    pub torn_bytes: Option<u64>,
    /// As in [`Record`].
    pub macs: Option<Vec<CheckpointMac>>,
    /// As in [`Record`].
    pub through: Option<u64>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_false(value: &bool) -> bool {
    !value
}
