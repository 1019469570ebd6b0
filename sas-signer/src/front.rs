//! HTTP/1.1 and JSON on a Unix stream socket (`docs/sas.md`): from bytes to a request, and from a
//! reply to bytes.

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;

use std::sync::Arc;

use daemon::http::{self, Dialect, Query, Whole, segments};
use daemon::limit::{Busy, Caller};
use daemon::peer::Principal;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::HeaderValue;
use hyper::http::request::Parts;
use hyper::{Method, StatusCode};
use serde::Serialize;
use wire::api::decode;
use wire::code::{Code, Fault, Problem};
use wire::name::KeyName;
use wire::sas::SasKeyName;

use crate::pipeline::{Answered, Daemon, Unread, denied};
use crate::request::{Reply, Request};

const METRICS: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");

/// What answers requests.
#[derive(Clone, Debug)]
pub(crate) struct Front(pub(crate) Arc<Daemon>);

/// Where a request goes, by its head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    Token,
    Verify,
    Import(SasKeyName),
    Rotate(SasKeyName),
    Show(SasKeyName),
    List,
    Status,
    Metrics,
}

impl Dialect for Front {
    type Admitted = Endpoint;
    type Body = Full<Bytes>;

    async fn admit(&self, caller: &Arc<Caller>, head: &Parts) -> Result<Endpoint, Whole> {
        let found = endpoint(&head.method, head.uri.path(), head.uri.query());
        let unread = match found {
            Ok(endpoint) if self.permits(&caller.principal, &endpoint) => return Ok(endpoint),
            Ok(endpoint) => endpoint.unread(denied()),
            Err(fault) => Unread { operation: None, key: None, fault },
        };
        Err(encode(self.0.answer(caller, Err(unread)).await))
    }

    async fn answer(
        &self,
        caller: &Arc<Caller>,
        endpoint: Endpoint,
        body: Result<Bytes, Fault>,
    ) -> Whole {
        let asked =
            body.and_then(|body| endpoint.decode(&body)).map_err(|fault| endpoint.unread(fault));
        encode(self.0.answer(caller, asked).await)
    }

    fn turn_away(&self, principal: &Principal, busy: Busy) -> Whole {
        encode(self.0.refuse(principal, self.0.busy(busy)))
    }

    fn unreadable(&self, principal: &Principal) {
        let fault = Fault::new(Code::Malformed, "what came is no request");
        let _nobody_asked = self.0.refuse(principal, fault);
    }
}

impl Front {
    /// Whether the body is worth reading: that of a caller without permission is not. Where the
    /// key is in the body, it is enough that some key is allowed. No proof: the line authorizes
    /// every request itself.
    fn permits(&self, principal: &Principal, endpoint: &Endpoint) -> bool {
        let access = self.0.access.current();
        let operation = endpoint.operation();
        match endpoint {
            Endpoint::Token | Endpoint::Verify => access.allows_some(principal, operation),
            Endpoint::Import(key) | Endpoint::Rotate(key) | Endpoint::Show(key) => {
                access.authorize(principal, operation, Some(key.as_str())).is_ok()
            }
            Endpoint::List | Endpoint::Status | Endpoint::Metrics => {
                access.authorize(principal, operation, None).is_ok()
            }
        }
    }
}

fn endpoint(method: &Method, path: &str, query: Option<&str>) -> Result<Endpoint, Fault> {
    let (get, post) = (method == Method::GET, method == Method::POST);
    let found = match segments::<4>(path) {
        Some([Some("v1"), Some("tokens"), None, None]) if post => Endpoint::Token,
        Some([Some("v1"), Some("tokens"), None, None]) if get => Endpoint::List,
        Some([Some("v1"), Some("verify"), None, None]) if post => Endpoint::Verify,
        Some([Some("v1"), Some("status"), None, None]) if get => Endpoint::Status,
        Some([Some("metrics"), None, None, None]) if get => Endpoint::Metrics,
        Some([Some("v1"), Some("keys"), Some(key), None]) if get => {
            Endpoint::Show(SasKeyName::from_path_segment(key)?)
        }
        Some([Some("v1"), Some("keys"), Some(key), Some("import")]) if post => {
            Endpoint::Import(SasKeyName::from_path_segment(key)?)
        }
        Some([Some("v1"), Some("keys"), Some(key), Some("rotate")]) if post => {
            Endpoint::Rotate(SasKeyName::from_path_segment(key)?)
        }
        _ => {
            let detail = "there is no such endpoint; see docs/sas.md";
            return Err(Fault::new(Code::NotFound, detail));
        }
    };
    Query::parse(query)?.only(&[])?;
    Ok(found)
}

impl Endpoint {
    const fn operation(&self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Verify => "verify",
            Self::Import(_) => "import",
            Self::Rotate(_) => "rotate",
            Self::Show(_) => "show",
            Self::List => "list",
            Self::Status => "status",
            Self::Metrics => "metrics",
        }
    }

    fn unread(&self, fault: Fault) -> Unread {
        let key = match self {
            Self::Import(key) | Self::Rotate(key) | Self::Show(key) => Some(key.clone()),
            Self::Token | Self::Verify | Self::List | Self::Status | Self::Metrics => None,
        };
        Unread { operation: Some(self.operation()), key, fault }
    }

    fn decode(&self, body: &[u8]) -> Result<Request, Fault> {
        match self {
            Self::Token => Ok(Request::Token(decode(body)?)),
            Self::Verify => Ok(Request::Verify(decode(body)?)),
            Self::Import(key) => Ok(Request::Import(key.clone(), decode(body)?)),
            Self::Rotate(key) => Ok(Request::Rotate(key.clone(), decode(body)?)),
            Self::Show(key) => bodiless(body, Request::Show(key.clone())),
            Self::List => bodiless(body, Request::List),
            Self::Status => bodiless(body, Request::Status),
            Self::Metrics => bodiless(body, Request::Metrics),
        }
    }
}

fn bodiless(body: &[u8], request: Request) -> Result<Request, Fault> {
    if body.is_empty() {
        return Ok(request);
    }
    Err(Fault::new(Code::Malformed, "this endpoint takes no body"))
}

fn encode(answered: Answered) -> Whole {
    let Answered { request_id, key, outcome } = answered;
    let encoded = outcome.and_then(|(reply, _recorded)| encode_reply(reply, &request_id));
    encoded.unwrap_or_else(|fault| {
        let retry_after_ms = match fault.code {
            Code::Busy | Code::Unavailable => Some(1_000),
            Code::LockedOut => Some(60_000),
            Code::Malformed
            | Code::Invalid
            | Code::Unsupported
            | Code::WrongUsage
            | Code::Integrity
            | Code::Denied
            | Code::NotFound
            | Code::Conflict
            | Code::StateMismatch
            | Code::WrongDevice
            | Code::TooLarge
            | Code::Internal
            | Code::Timeout => None,
        };
        let key = key.and_then(|key| KeyName::parse(key.as_str()).ok());
        http::problem(&Problem { retry_after_ms, key, ..Problem::new(fault, request_id) })
    })
}

fn encode_reply(reply: Reply, id: &str) -> Result<Whole, Fault> {
    match reply {
        Reply::Token(reply) => json(StatusCode::OK, &reply, id),
        Reply::Verified(reply) => json(StatusCode::OK, &reply, id),
        Reply::Imported(reply) => json(StatusCode::CREATED, &reply, id),
        Reply::Rotated(reply) => json(StatusCode::OK, &reply, id),
        Reply::Key(reply) => json(StatusCode::OK, &reply, id),
        Reply::Issued(reply) => json(StatusCode::OK, &reply, id),
        Reply::Status(reply) => json(StatusCode::OK, &reply, id),
        Reply::Metrics(text) => Ok(http::response(StatusCode::OK, METRICS, Full::from(text), id)),
    }
}

fn json(status: StatusCode, value: &impl Serialize, id: &str) -> Result<Whole, Fault> {
    http::json(status, value, id).map_err(|_unencodable| {
        Fault::new(Code::Internal, "a reply cannot be encoded; please report")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    #[expect(clippy::needless_pass_by_value, reason = "so that cases are short")]
    fn check(method: &Method, target: &str, expected: Result<Endpoint, Code>) {
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (target, None),
        };
        let found = endpoint(method, path, query).map_err(|fault| fault.code);
        assert_eq!(found, expected, "{target}");
    }

    #[test]
    fn slash_in_a_name_is_escaped() {
        let key: SasKeyName = "a/b".parse().unwrap();
        check(&Method::POST, "/v1/keys/a%2Fb/rotate", Ok(Endpoint::Rotate(key)));
        check(&Method::POST, "/v1/keys/a/b/rotate", Err(Code::NotFound));
    }

    #[test]
    fn internal_name_is_invalid() {
        check(&Method::GET, "/v1/keys/.a", Err(Code::Invalid));
        check(&Method::GET, "/v1/keys/", Err(Code::Invalid));
    }

    #[test]
    fn other_method_path_or_query_is_refused() {
        check(&Method::PUT, "/v1/tokens", Err(Code::NotFound));
        check(&Method::DELETE, "/v1/keys/a", Err(Code::NotFound));
        check(&Method::GET, "/v1/keys", Err(Code::NotFound));
        check(&Method::GET, "/v1/keys/a/import/x", Err(Code::NotFound));
        check(&Method::GET, "/v1/status?x=1", Err(Code::Invalid));
    }
}
