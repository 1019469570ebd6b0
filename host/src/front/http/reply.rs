//! From a reply or an error to bytes. A reply is encoded only with the proof that it is recorded.

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};
use serde::Serialize;
use wire::api::{ItemResult, OneOrResults};
use wire::code::Problem;

use crate::error::{Failure, HostError};
use crate::pipeline::Answered;
use crate::reply::{Batch, Reply};

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const PROBLEM: HeaderValue = HeaderValue::from_static("application/problem+json");
const METRICS: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The response to an answered request.
pub(super) fn encode(answered: Answered) -> Response<Full<Bytes>> {
    let Answered { request_id, outcome } = answered;
    let encoded = outcome.and_then(|(reply, _recorded)| encode_reply(reply, &request_id));
    encoded.unwrap_or_else(|error| problem(&error, &request_id))
}

fn encode_reply(reply: Reply, id: &str) -> Result<Response<Full<Bytes>>, HostError> {
    match reply {
        Reply::Created(record) => json(StatusCode::CREATED, &record, id),
        Reply::Key(record) => json(StatusCode::OK, &record, id),
        Reply::Keys(keys) => json(StatusCode::OK, &keys, id),
        Reply::Destroyed(destroyed) => json(StatusCode::OK, &destroyed, id),
        Reply::Sealed(batch) => json(StatusCode::OK, &results(batch, id), id),
        Reply::Unsealed(batch) => json(StatusCode::OK, &results(batch, id), id),
        Reply::Rewrapped(batch) => json(StatusCode::OK, &results(batch, id), id),
        Reply::Macs(batch) => json(StatusCode::OK, &results(batch, id), id),
        Reply::Verified(verified) => json(StatusCode::OK, &verified, id),
        Reply::Signed(signed) => json(StatusCode::OK, &signed, id),
        Reply::Public(public) => json(StatusCode::OK, &public, id),
        Reply::Random(random) => json(StatusCode::OK, &random, id),
        Reply::Status(status) => json(StatusCode::OK, &status, id),
        Reply::Providers(providers) => json(StatusCode::OK, &providers, id),
        Reply::Provider(provider) => json(StatusCode::OK, &provider, id),
        Reply::Metrics(text) => Ok(response(StatusCode::OK, METRICS, text.into_bytes(), id)),
    }
}

fn results<T>(batch: Batch<T>, request_id: &str) -> OneOrResults<T> {
    match batch {
        Batch::One(reply) => OneOrResults::One(reply),
        Batch::Items(items) => {
            let item = |item: Result<T, HostError>| match item {
                Ok(reply) => ItemResult::Done(reply),
                Err(error) => ItemResult::Failed(problem_of(&error, request_id)),
            };
            OneOrResults::Items(items.into_iter().map(item).collect())
        }
    }
}

fn json(
    status: StatusCode,
    value: &impl Serialize,
    request_id: &str,
) -> Result<Response<Full<Bytes>>, HostError> {
    let body = serde_json::to_vec(value)
        .map_err(|_unencodable| Failure::Bug("a reply cannot be encoded"))?;
    Ok(response(status, JSON, body, request_id))
}

fn problem(error: &HostError, request_id: &str) -> Response<Full<Bytes>> {
    let problem = problem_of(error, request_id);
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let body = serde_json::to_vec(&problem).unwrap_or_default();
    let mut response = response(status, PROBLEM, body, request_id);
    if let Some(after) = error.retry_after() {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(after.as_secs().max(1)));
    }
    response
}

fn problem_of(error: &HostError, request_id: &str) -> Problem {
    let mut problem = Problem::new(error.fault(), request_id);
    problem.retry_after_ms =
        error.retry_after().and_then(|after| u64::try_from(after.as_millis()).ok());
    problem.key.clone_from(&error.key);
    problem.provider.clone_from(&error.provider);
    problem
}

fn response(
    status: StatusCode,
    content_type: HeaderValue,
    body: Vec<u8>,
    request_id: &str,
) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, content_type);
    if let Ok(id) = HeaderValue::from_str(request_id) {
        headers.insert(REQUEST_ID, id);
    }
    response
}
