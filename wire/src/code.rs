//! The closed set of error codes, and the problem document that carries one to a client.
//! Which condition gives which code is in `docs/api.md`.

use serde::{Deserialize, Serialize};

use crate::name::{KeyName, ProviderName};

/// What went wrong, in the words that clients may match on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// The request is not what the endpoint reads: JSON, fields, base64, envelope encoding.
    Malformed,
    /// A value is well formed and outside its range.
    Invalid,
    /// No configured provider can do this, or not with this key.
    Unsupported,
    /// The key has another usage.
    WrongUsage,
    /// The envelope, context and key do not belong together, or bytes were changed.
    Integrity,
    /// No rule allows this; also the answer for a key that the caller may not know of.
    Denied,
    /// There is no such key, version or endpoint.
    NotFound,
    /// The name is taken, or another change is under way.
    Conflict,
    /// The platform is not in the state that the key requires (PCR values).
    StateMismatch,
    /// The device is not the one that the key was made on.
    WrongDevice,
    /// A value, the body or the batch is over its limit.
    TooLarge,
    /// A queue or a limit per principal is full; try again soon.
    Busy,
    /// A fault in the host or a provider.
    Internal,
    /// The provider is not there now; nothing is lost.
    Unavailable,
    /// The device refuses authorisations for a while.
    LockedOut,
    /// The device did not answer within its deadline.
    Timeout,
}

impl Code {
    /// All codes, in the order of `docs/api.md`.
    pub const ALL: [Self; 16] = [
        Self::Malformed,
        Self::Invalid,
        Self::Unsupported,
        Self::WrongUsage,
        Self::Integrity,
        Self::Denied,
        Self::NotFound,
        Self::Conflict,
        Self::StateMismatch,
        Self::WrongDevice,
        Self::TooLarge,
        Self::Busy,
        Self::Internal,
        Self::Unavailable,
        Self::LockedOut,
        Self::Timeout,
    ];

    /// The code as it stands in a problem document and in the audit.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Invalid => "invalid",
            Self::Unsupported => "unsupported",
            Self::WrongUsage => "wrong_usage",
            Self::Integrity => "integrity",
            Self::Denied => "denied",
            Self::NotFound => "not_found",
            Self::Conflict => "conflict",
            Self::StateMismatch => "state_mismatch",
            Self::WrongDevice => "wrong_device",
            Self::TooLarge => "too_large",
            Self::Busy => "busy",
            Self::Internal => "internal",
            Self::Unavailable => "unavailable",
            Self::LockedOut => "locked_out",
            Self::Timeout => "timeout",
        }
    }

    /// The HTTP status that goes with the code.
    pub const fn http_status(self) -> u16 {
        match self {
            Self::Malformed
            | Self::Invalid
            | Self::Unsupported
            | Self::WrongUsage
            | Self::Integrity => 400,
            Self::Denied => 403,
            Self::NotFound => 404,
            Self::Conflict | Self::StateMismatch | Self::WrongDevice => 409,
            Self::TooLarge => 413,
            Self::Busy => 429,
            Self::Internal => 500,
            Self::Unavailable | Self::LockedOut => 503,
            Self::Timeout => 504,
        }
    }

    /// Whether the same request may succeed later without any change by the caller.
    pub const fn retryable(self) -> bool {
        matches!(self, Self::Busy | Self::Unavailable | Self::LockedOut | Self::Timeout)
    }

    /// One sentence for people, the same for every occurrence (RFC 9457 section 3.1.3).
    pub const fn title(self) -> &'static str {
        match self {
            Self::Malformed => "The request is malformed",
            Self::Invalid => "A value is out of range",
            Self::Unsupported => "No provider can do this",
            Self::WrongUsage => "The key has another usage",
            Self::Integrity => "The sealed value, context and key do not belong together",
            Self::Denied => "Not allowed",
            Self::NotFound => "Not found",
            Self::Conflict => "In conflict with what is there",
            Self::StateMismatch => "The platform is in another state than the key requires",
            Self::WrongDevice => "The device is not the one the key was made on",
            Self::TooLarge => "Over a limit",
            Self::Busy => "Busy, try again soon",
            Self::Internal => "Internal fault",
            Self::Unavailable => "The provider is not available now",
            Self::LockedOut => "The device is locked out for a while",
            Self::Timeout => "The device did not answer in time",
        }
    }
}

/// A code with one sentence about this occurrence, before it becomes a [`Problem`].
///
/// The detail names the thing, the limit and the value; it never holds a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {detail}", code.as_str())]
pub struct Fault {
    /// What went wrong.
    pub code: Code,
    /// One sentence, lower-case, without full stop.
    pub detail: String,
}

impl Fault {
    /// A fault of this code.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into() }
    }

    /// `too_large`, for a value of `bytes` where at most `limit` are allowed.
    pub(crate) fn over(what: &str, bytes: usize, limit: usize) -> Self {
        Self::new(Code::TooLarge, format!("{what} of {bytes} bytes exceeds limit of {limit}"))
    }
}

/// The problem document of an error reply, media type `application/problem+json`.
///
/// # Spec
/// RFC 9457 section 3; `docs/api.md`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// `urn:sealhost:error:` and the code.
    #[serde(rename = "type")]
    pub kind: String,
    /// One sentence, the same for every occurrence of the code.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// One sentence about this occurrence.
    pub detail: String,
    /// The request id, as in the audit.
    pub instance: String,
    /// The code to match on.
    pub code: Code,
    /// Whether the same request may succeed later.
    pub retryable: bool,
    /// When to try again, in milliseconds, where the host knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// The key concerned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<KeyName>,
    /// The provider concerned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<ProviderName>,
}

impl Problem {
    /// The problem of a fault met by the request with this id.
    pub fn new(fault: Fault, request_id: impl Into<String>) -> Self {
        let Fault { code, detail } = fault;
        Self {
            kind: format!("urn:sealhost:error:{}", code.as_str()),
            title: code.title().to_owned(),
            status: code.http_status(),
            detail,
            instance: request_id.into(),
            code,
            retryable: code.retryable(),
            retry_after_ms: None,
            key: None,
            provider: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_in_json_is_its_text() {
        for code in Code::ALL {
            assert_eq!(serde_json::to_string(&code).unwrap(), format!("\"{}\"", code.as_str()));
        }
    }

    #[test]
    fn problem_in_json_has_the_members_of_rfc_9457_and_ours() {
        let problem = Problem::new(Fault::new(Code::Busy, "queue of tpm is full"), "r-1");
        assert_eq!(
            serde_json::to_string(&problem).unwrap(),
            r#"{"type":"urn:sealhost:error:busy","title":"Busy, try again soon","status":429,"detail":"queue of tpm is full","instance":"r-1","code":"busy","retryable":true}"#
        );
    }

    #[test]
    fn problem_with_unknown_members_is_read() {
        let problem = Problem::new(Fault::new(Code::Denied, "no rule"), "r-2");
        let mut value = serde_json::to_value(&problem).unwrap();
        value["later"] = 1.into();
        assert_eq!(serde_json::from_value::<Problem>(value).unwrap(), problem);
    }
}
