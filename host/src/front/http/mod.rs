//! The native dialect: HTTP/1.1 and JSON on a Unix stream socket (`docs/api.md`).

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod reply;
mod route;

use std::sync::Arc;

use daemon::http::{Dialect, Whole};
use daemon::limit::{Busy, Caller};
use daemon::peer::Principal;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::http::request::Parts;
use wire::code::Fault;
use wire::name::KeyName;

use crate::error::HostError;
use crate::pipeline::Host;
use crate::request::{Api, Unread};

use route::Endpoint;

/// What answers requests in this dialect.
#[derive(Clone, Debug)]
pub(crate) struct Native(pub(crate) Arc<Host>);

impl Dialect for Native {
    type Admitted = Endpoint;
    type Body = Full<Bytes>;

    async fn admit(&self, caller: &Arc<Caller>, head: &Parts) -> Result<Endpoint, Whole> {
        let unread = match self.endpoint(caller, head) {
            Ok(endpoint) => return Ok(endpoint),
            Err(unread) => unread,
        };
        Err(reply::encode(self.0.answer(caller, Api::Native, Err(unread)).await))
    }

    async fn answer(
        &self,
        caller: &Arc<Caller>,
        endpoint: Endpoint,
        body: Result<Bytes, Fault>,
    ) -> Whole {
        let (operation, key) = (endpoint.operation(), endpoint.key().cloned());
        let decoded = body.map_err(HostError::from).and_then(|body| endpoint.decode(&body));
        let asked = decoded.map_err(|error| unread(operation, key.as_ref(), error));
        reply::encode(self.0.answer(caller, Api::Native, asked).await)
    }

    fn turn_away(&self, principal: &Principal, busy: Busy) -> Whole {
        reply::encode(self.0.turn_away(principal, Api::Native, busy))
    }

    fn unreadable(&self, principal: &Principal) {
        self.0.note_unreadable(principal, Api::Native);
    }
}

impl Native {
    /// Finds the endpoint, and asks whether its body is worth reading: that of a caller without
    /// permission is not.
    fn endpoint(&self, caller: &Caller, head: &Parts) -> Result<Endpoint, Unread> {
        let endpoint = route::endpoint(&head.method, head.uri.path(), head.uri.query());
        let endpoint = endpoint.map_err(|error| Unread { operation: None, error })?;
        let (operation, key) = (endpoint.operation(), endpoint.key());
        match self.0.permits(caller, operation, key) {
            Ok(()) => Ok(endpoint),
            Err(denied) => Err(unread(operation, key, denied)),
        }
    }
}

fn unread(operation: &'static str, key: Option<&KeyName>, error: HostError) -> Unread {
    let error = match key {
        Some(key) => error.of(key),
        None => error,
    };
    Unread { operation: Some(operation), error }
}
