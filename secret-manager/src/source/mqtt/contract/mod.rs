//! The JSON that device and cloud exchange (`docs/mqtt.md` section 3): what we ask, what comes, and
//! what we answer. Bytes to values and back; nothing here is sent.

mod decode;
mod encode;

use std::fmt;

pub(super) use self::decode::{Entry, Fault, Message, Named, decode_delete, decode_update};
pub use self::encode::REPORT_SECRETS_MAX;
pub(super) use self::encode::{Acknowledgement, acknowledgement, request, status};

/// Longest payload, in bytes: that of a direct method of IoT Hub.
pub const PAYLOAD_MAX_BYTES: usize = 128 * 1024;

/// Most secrets of one message.
pub const MESSAGE_SECRETS_MAX: usize = 256;

/// Longest id of a request, in bytes.
pub const REQUEST_ID_MAX_BYTES: usize = 64;

/// What pairs a response with its request: letters, digits and `-`. Ours are random UUIDs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RequestId(Box<str>);

impl RequestId {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let of_set = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
        let fits = (1..=REQUEST_ID_MAX_BYTES).contains(&text.len()) && text.bytes().all(of_set);
        fits.then(|| Self(text.into()))
    }

    /// A random UUID (RFC 9562 section 5.4) of 16 random bytes.
    pub(super) fn from_random(bytes: [u8; 16]) -> Self {
        const VERSION: u128 = 0xf000 << 64;
        const VARIANT: u128 = 0xc000 << 48;
        let number = u128::from_be_bytes(bytes) & !VERSION & !VARIANT;
        let hex = format!("{:032x}", number | (0x4000 << 64) | (0x8000 << 48));
        let groups =
            [hex.get(..8), hex.get(8..12), hex.get(12..16), hex.get(16..20), hex.get(20..)];
        Self(groups.map(Option::unwrap_or_default).join("-").into())
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How a message fared: the number that a method call of IoT Hub is answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    /// Taken; what became of each secret is said beside it.
    Accepted,
    /// Not JSON of the contract.
    Malformed,
    /// Nobody asked for it, and the configuration takes only what was asked for.
    Unasked,
    /// No request has this id.
    Unknown,
    /// The request of this id has its answer.
    Duplicate,
    /// Nobody waits for the answer any more.
    Late,
    /// Over a limit.
    TooLarge,
    /// Not one secret of it can be used.
    Unusable,
    /// It could not be stored or deleted.
    Failed,
    /// There is no such method.
    NoSuchMethod,
    /// Too much is waiting already.
    Busy,
}

impl Status {
    pub(super) const fn number(self) -> u16 {
        match self {
            Self::Accepted => 200,
            Self::Malformed => 400,
            Self::Unasked => 403,
            Self::Unknown => 404,
            Self::Duplicate => 409,
            Self::Late => 410,
            Self::TooLarge => 413,
            Self::Unusable => 422,
            Self::Failed => 500,
            Self::NoSuchMethod => 501,
            Self::Busy => 503,
        }
    }

    /// One word for logs and for the acknowledgement; none when all is well.
    pub(super) const fn reason(self) -> Option<&'static str> {
        match self {
            Self::Accepted => None,
            Self::Malformed => Some("malformed"),
            Self::Unasked => Some("not_asked_for"),
            Self::Unknown => Some("unknown_request"),
            Self::Duplicate => Some("already_answered"),
            Self::Late => Some("too_late"),
            Self::TooLarge => Some("too_large"),
            Self::Unusable => Some("unusable"),
            Self::Failed => Some("failed"),
            Self::NoSuchMethod => Some("no_such_method"),
            Self::Busy => Some("busy"),
        }
    }
}

/// What became of one secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Taken over.
    Delivered,
    /// Stored.
    Stored,
    /// Something later is stored here, or it was deleted here since.
    Outdated,
    /// Erased.
    Deleted,
    /// Asked for, and not in the response.
    Missing,
    /// In the message, and not usable.
    Refused(Refusal),
    /// It could not be stored or erased here.
    Failed,
}

/// Why a secret of a message is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Its name is none.
    Name,
    /// Its version is none.
    Version,
    /// A date is none.
    Date,
    /// It expires before it is active.
    Dates,
    /// Its value is over the limit.
    Value,
    /// Nobody asked for this one.
    NotAskedFor,
    /// It stands in the message twice.
    Repeated,
}

impl Outcome {
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Stored => "stored",
            Self::Outdated => "outdated",
            Self::Deleted => "deleted",
            Self::Missing => "missing",
            Self::Refused(_) => "refused",
            Self::Failed => "failed",
        }
    }

    pub(super) const fn reason(self) -> Option<&'static str> {
        match self {
            Self::Refused(Refusal::Name) => Some("name"),
            Self::Refused(Refusal::Version) => Some("version"),
            Self::Refused(Refusal::Date) => Some("date"),
            Self::Refused(Refusal::Dates) => Some("dates"),
            Self::Refused(Refusal::Value) => Some("value"),
            Self::Refused(Refusal::NotAskedFor) => Some("not_asked_for"),
            Self::Refused(Refusal::Repeated) => Some("repeated"),
            Self::Delivered
            | Self::Stored
            | Self::Outdated
            | Self::Deleted
            | Self::Missing
            | Self::Failed => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_id_is_a_random_uuid() {
        let id = RequestId::from_random([0xff; 16]).to_string();
        assert_eq!(id, "ffffffff-ffff-4fff-bfff-ffffffffffff");
        let id = RequestId::from_random([0; 16]).to_string();
        assert_eq!(id, "00000000-0000-4000-8000-000000000000");
    }

    #[test]
    fn request_id_at_limit_is_one_and_one_past_it_is_none() {
        assert!(RequestId::parse(&"r".repeat(REQUEST_ID_MAX_BYTES)).is_some());
        assert!(RequestId::parse(&"r".repeat(REQUEST_ID_MAX_BYTES + 1)).is_none());
        assert!(["", "a b", "a/b", "\u{e9}"].into_iter().all(|id| RequestId::parse(id).is_none()));
    }
}
