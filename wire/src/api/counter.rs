//! Monotonic counters: what their endpoints read and answer.

use serde::{Deserialize, Serialize};

use super::decode::Request;
use super::request::{check_providers, invalid};
use super::types::Protection;
use crate::code::Fault;
use crate::name::{KeyName, ProviderName};

/// Where a counter's number is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CounterKind {
    /// In a device, which does not take it back whatever happens to the host's files.
    Device,
    /// In the host's registry, which notices when it alone is put back.
    Registry,
}

impl CounterKind {
    /// The word in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Device => "device",
            Self::Registry => "registry",
        }
    }
}

/// `POST /v1/counters/{name}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateCounterRequest {
    /// The one kind that will do; when absent a device, or the registry where no provider has
    /// counters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<CounterKind>,
    /// The providers to consider, in this order; the configured order when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub providers: Option<Vec<ProviderName>>,
    /// The least protection; `software` when absent, which the registry has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub floor: Option<Protection>,
}

impl Request for CreateCounterRequest {
    fn check(&self) -> Result<(), Fault> {
        if self.kind == Some(CounterKind::Registry) {
            if self.providers.is_some() {
                return Err(invalid("a counter in the registry has no providers"));
            }
            if self.floor.is_some_and(|floor| floor > Protection::Software) {
                return Err(invalid("a counter in the registry has protection software"));
            }
        }
        check_providers(self.providers.as_deref())
    }
}

/// `POST /v1/counters/{name}/increment`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IncrementRequest {
    /// The value that the counter must have; it is raised whatever it has when absent.
    ///
    /// So an increment that is carried out late, after its caller asked again or was started anew,
    /// does not raise the counter once more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<u64>,
}

impl Request for IncrementRequest {}

/// A counter with its value: what making, raising and reading one answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CounterReply {
    /// The name.
    pub name: KeyName,
    /// The value, at least 1. It rises, and no value is given to two raisings.
    pub value: u64,
    /// Where it is kept.
    pub kind: CounterKind,
    /// The provider whose device keeps it; absent for the registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<ProviderName>,
    /// What protects it there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protection: Option<Protection>,
    /// RFC 3339, UTC.
    pub created_at: String,
}

/// A counter without its value, for which a device would have to be asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CounterRecord {
    /// The name.
    pub name: KeyName,
    /// Where its number is kept.
    pub kind: CounterKind,
    /// The provider whose device keeps it; absent for the registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<ProviderName>,
    /// What protects it there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protection: Option<Protection>,
    /// RFC 3339, UTC.
    pub created_at: String,
}

/// `GET /v1/counters`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CounterList {
    /// The counters that the caller may know of, by name.
    pub counters: Vec<CounterRecord>,
}

/// `DELETE /v1/counters/{name}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DestroyCounterReply {
    /// The counter that is gone.
    pub counter: KeyName,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::decode;

    fn check(body: &str, fault: Option<&str>) {
        let read = decode::<CreateCounterRequest>(body.as_bytes());
        assert_eq!(read.err().map(|fault| fault.to_string()).as_deref(), fault, "{body}");
    }

    #[test]
    fn kinds_are_words() {
        for kind in [CounterKind::Device, CounterKind::Registry] {
            assert_eq!(serde_json::to_string(&kind).unwrap(), format!("\"{}\"", kind.as_str()));
        }
    }

    #[test]
    fn empty_body_asks_for_nothing_special() {
        check("", None);
        check(r#"{"kind":"device","providers":["tpm"],"floor":"hardware"}"#, None);
        check(r#"{"kind":"registry","floor":"software"}"#, None);
    }

    #[test]
    fn registry_excludes_providers_and_a_floor_above_it() {
        check(
            r#"{"kind":"registry","providers":["tpm"]}"#,
            Some("invalid: a counter in the registry has no providers"),
        );
        check(
            r#"{"kind":"registry","floor":"emulated"}"#,
            Some("invalid: a counter in the registry has protection software"),
        );
    }

    #[test]
    fn providers_none_or_twice_are_invalid() {
        for body in [r#"{"providers":[]}"#, r#"{"providers":["tpm","tpm"]}"#] {
            check(body, Some("invalid: providers has at least one name, each once"));
        }
    }
}
