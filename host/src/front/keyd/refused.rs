//! What the dialect itself refuses, with the statuses and words of the peer.

use std::borrow::Cow;

use hyper::StatusCode;
use wire::code::{Code, Fault};

/// Longest text of the caller's that a message repeats, characters.
const REPEATED_MAX_CHARS: usize = 32;

/// Why a request is none, or one that is not answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    NoVersion,
    UnknownVersion(String),
    NotFound,
    Method,
    MediaType,
    NoBody,
    SlowBody,
    /// The body is not what the endpoint takes, or too long.
    Body(Fault),
    Handle,
    /// The algorithm is not one for such a key.
    Mechanism,
    Id(&'static str),
    Reserved(String),
    /// A key pair is to be moved that is not there.
    NothingToMove,
    /// A parameter that the peer refuses too.
    Parameter(Cow<'static, str>),
    /// What was to be decrypted is not what was encrypted.
    Integrity,
}

impl Refused {
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::SlowBody => StatusCode::REQUEST_TIMEOUT,
            Self::Body(fault) if fault.code == Code::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Body(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Reserved(_) => StatusCode::UNAUTHORIZED,
            Self::NothingToMove => StatusCode::INTERNAL_SERVER_ERROR,
            Self::NoVersion
            | Self::UnknownVersion(_)
            | Self::Method
            | Self::NoBody
            | Self::Handle
            | Self::Mechanism
            | Self::Id(_)
            | Self::Parameter(_)
            | Self::Integrity => StatusCode::BAD_REQUEST,
        }
    }

    /// What the audit is told.
    pub(super) fn fault(&self) -> Fault {
        let code = match self {
            Self::NotFound | Self::NothingToMove => Code::NotFound,
            Self::Body(fault) => fault.code,
            Self::Reserved(_) => Code::Denied,
            Self::Mechanism => Code::WrongUsage,
            Self::Integrity => Code::Integrity,
            Self::Handle | Self::Id(_) | Self::Parameter(_) => Code::Invalid,
            Self::NoVersion
            | Self::UnknownVersion(_)
            | Self::Method
            | Self::MediaType
            | Self::NoBody
            | Self::SlowBody => Code::Malformed,
        };
        Fault::new(code, self.message(0))
    }

    pub(super) fn message(&self, uid: u32) -> String {
        match self {
            Self::NoVersion => "api-version not specified".into(),
            Self::UnknownVersion(version) => {
                let shown: String = version.chars().take(REPEATED_MAX_CHARS).collect();
                format!("invalid api-version {shown:?}")
            }
            Self::NotFound => "not found".into(),
            Self::Method => "method not allowed".into(),
            Self::MediaType => "request body must be application/json".into(),
            Self::NoBody => "missing request body".into(),
            Self::SlowBody => "deadline has elapsed".into(),
            Self::Body(fault) => fault.detail.clone(),
            Self::Handle => invalid("handle", "invalid handle"),
            Self::Mechanism => invalid("mechanism", "mechanism cannot be used with this key type"),
            Self::Id(why) => invalid("id", why),
            Self::NothingToMove => "internal error".into(),
            Self::Reserved(id) => unauthorized(uid, Some(id)),
            Self::Parameter(why) => format!("{A_PARAMETER}\ncaused by: {why}"),
            Self::Integrity => A_PARAMETER.into(),
        }
    }
}

/// What is said of a parameter without naming it: of a key that is not there and a text that does
/// not decrypt alike.
pub(super) const A_PARAMETER: &str = "a parameter has an invalid value";

pub(super) fn unauthorized(uid: u32, id: Option<&str>) -> String {
    match id {
        Some(id) => format!("user {uid} is not authorized to access the key {id}"),
        None => format!("user {uid} is not authorized to access any key"),
    }
}

fn invalid(parameter: &str, cause: &str) -> String {
    format!("parameter {parameter:?} has an invalid value\ncaused by: {cause}")
}
