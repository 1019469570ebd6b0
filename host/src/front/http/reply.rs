//! From a reply or an error to bytes. A reply is encoded only with the proof that it is recorded.

use daemon::http::{self, Whole};
use http_body_util::Full;
use hyper::StatusCode;
use hyper::header::HeaderValue;
use serde::Serialize;
use wire::api::{ItemResult, OneOrResults};
use wire::code::Problem;

use crate::error::{Failure, HostError};
use crate::pipeline::Answered;
use crate::reply::{Batch, Reply};

const METRICS: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");

/// The response to an answered request.
pub(super) fn encode(answered: Answered) -> Whole {
    let Answered { request_id, outcome } = answered;
    let encoded = outcome.and_then(|(reply, _recorded)| encode_reply(reply, &request_id));
    encoded.unwrap_or_else(|error| http::problem(&problem_of(&error, &request_id)))
}

fn encode_reply(reply: Reply, id: &str) -> Result<Whole, HostError> {
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
        Reply::CounterCreated(counter) => json(StatusCode::CREATED, &counter, id),
        Reply::Counter(counter) => json(StatusCode::OK, &counter, id),
        Reply::Counters(counters) => json(StatusCode::OK, &counters, id),
        Reply::CounterDestroyed(destroyed) => json(StatusCode::OK, &destroyed, id),
        // No request of this dialect has one.
        Reply::Handle(_) | Reply::Held(_) => Err(Failure::Bug("a reply of another dialect").into()),
        Reply::Random(random) => json(StatusCode::OK, &random, id),
        Reply::Status(status) => json(StatusCode::OK, &status, id),
        Reply::Providers(providers) => json(StatusCode::OK, &providers, id),
        Reply::Provider(provider) => json(StatusCode::OK, &provider, id),
        Reply::AuditVerified(verified) => json(StatusCode::OK, &verified, id),
        Reply::Metrics(text) => Ok(http::response(StatusCode::OK, METRICS, Full::from(text), id)),
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

fn json(status: StatusCode, value: &impl Serialize, id: &str) -> Result<Whole, HostError> {
    let encoded = http::json(status, value, id);
    Ok(encoded.map_err(|_unencodable| Failure::Bug("a reply cannot be encoded"))?)
}

fn problem_of(error: &HostError, request_id: &str) -> Problem {
    let mut problem = Problem::new(error.fault(), request_id);
    problem.retry_after_ms =
        error.retry_after().and_then(|after| u64::try_from(after.as_millis()).ok());
    problem.key.clone_from(&error.key);
    problem.provider.clone_from(&error.provider);
    problem
}
