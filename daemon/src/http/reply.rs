//! From what a request came to, to the response that carries it.

use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};
use serde::Serialize;
use wire::code::Problem;

use super::Whole;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const PROBLEM: HeaderValue = HeaderValue::from_static("application/problem+json");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Encodes a reply as JSON.
///
/// # Errors
/// The encoder's, for a value that JSON cannot carry.
///
/// # Secrets
/// The body holds what the value does; it is wiped only by an allocator that wipes.
pub fn json(
    status: StatusCode,
    value: &impl Serialize,
    request_id: &str,
) -> serde_json::Result<Whole> {
    let body = serde_json::to_vec(value)?;
    Ok(response(status, JSON, Full::from(body), request_id))
}

/// Encodes a problem document: its status, its id, and when to try again where it says so, in
/// whole seconds and at least one.
///
/// # Spec
/// RFC 9457; RFC 9110 section 10.2.3, `Retry-After`.
#[must_use]
pub fn problem(problem: &Problem) -> Whole {
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let body = serde_json::to_vec(problem).unwrap_or_default();
    let mut response = response(status, PROBLEM, Full::from(body), &problem.instance);
    if let Some(after_ms) = problem.retry_after_ms {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from((after_ms / 1000).max(1)));
    }
    response
}

/// Puts a body of any kind, a stream too, under a head with status, content type and request id.
pub fn response<B>(
    status: StatusCode,
    content_type: HeaderValue,
    body: B,
    request_id: &str,
) -> Response<B> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, content_type);
    if let Ok(id) = HeaderValue::from_str(request_id) {
        headers.insert(REQUEST_ID, id);
    }
    response
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderMap;
    use wire::code::{Code, Fault};

    use super::*;

    fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
        headers.get(name).map(|value| value.to_str().unwrap())
    }

    #[track_caller]
    fn check(retry_after_ms: Option<u64>, seconds: Option<&str>) {
        let mut document = Problem::new(Fault::new(Code::Busy, "no room"), "r-1");
        document.retry_after_ms = retry_after_ms;
        let response = problem(&document);
        assert_eq!(response.status(), 429);
        assert_eq!(header(response.headers(), "retry-after"), seconds);
        assert_eq!(header(response.headers(), "x-request-id"), Some("r-1"));
        assert_eq!(header(response.headers(), "content-type"), Some("application/problem+json"));
    }

    #[test]
    fn problem_says_in_whole_seconds_when_to_try_again() {
        check(None, None);
        check(Some(0), Some("1"));
        check(Some(1_999), Some("1"));
        check(Some(60_000), Some("60"));
    }

    #[test]
    fn value_that_json_cannot_carry_is_an_error() {
        let keyed_by_list = std::collections::BTreeMap::from([(vec![1], 1)]);
        assert!(json(StatusCode::OK, &keyed_by_list, "r-1").is_err());
        assert_eq!(json(StatusCode::CREATED, &1, "r-1").unwrap().status(), 201);
    }
}
