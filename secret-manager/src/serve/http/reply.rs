//! From a reply or an error to bytes. A reply is encoded only with the proof that it is recorded.

use daemon::http;
use daemon::shutdown::Shutdown;
use http_body_util::{Either, Full};
use hyper::header::{CACHE_CONTROL, HeaderValue};
use hyper::{Response, StatusCode};
use serde::Serialize;

use super::Body;
use super::watch::Events;
use crate::serve::error::ServeError;
use crate::serve::line::Answered;
use crate::serve::request::Reply;

const METRICS: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const EVENTS: HeaderValue = HeaderValue::from_static("text/event-stream");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// The response to an answered request.
pub(super) fn encode(answered: Answered, shutdown: &Shutdown) -> Response<Body> {
    let Answered { request_id, outcome } = answered;
    let encoded = outcome.and_then(|(reply, _recorded)| encode_reply(reply, &request_id, shutdown));
    let mut response = encoded
        .unwrap_or_else(|error| http::problem(&error.problem(&request_id)).map(Either::Left));
    // Nothing of this is for any cache, whoever stands between.
    response.headers_mut().insert(CACHE_CONTROL, NO_STORE);
    response
}

fn encode_reply(reply: Reply, id: &str, shutdown: &Shutdown) -> Result<Response<Body>, ServeError> {
    match reply {
        Reply::Got(got) => json(&got, id),
        Reply::Put(put) => json(&put, id),
        Reply::Imported(imported) => json(&imported, id),
        Reply::Exported(mut text) => {
            // The bytes go to the socket from here; the allocator wipes them.
            let body = Full::from(std::mem::take(&mut *text));
            Ok(http::response(StatusCode::OK, JSON, Either::Left(body), id))
        }
        Reply::Deleted(deleted) => json(&deleted, id),
        Reply::Versions(versions) => json(&versions, id),
        Reply::List(list) => json(&list, id),
        Reply::Batch(batch) => json(&batch, id),
        Reply::Watch(watch) => {
            let events = Either::Right(Events::of(watch, shutdown.clone()));
            Ok(http::response(StatusCode::OK, EVENTS, events, id))
        }
        Reply::Status(status) => json(&status, id),
        Reply::Metrics(text) => {
            Ok(http::response(StatusCode::OK, METRICS, Either::Left(Full::from(text)), id))
        }
    }
}

fn json(value: &impl Serialize, id: &str) -> Result<Response<Body>, ServeError> {
    let encoded = http::json(StatusCode::OK, value, id);
    let encoded = encoded.map_err(|_unencodable| ServeError::Bug("a reply cannot be encoded"))?;
    Ok(encoded.map(Either::Left))
}
