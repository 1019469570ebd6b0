//! HTTP/1.1 and JSON on the daemon's socket (`docs/secrets.md` section 7).

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod reply;
mod route;
mod watch;

use std::sync::Arc;

use daemon::http::Dialect;
use daemon::limit::{Busy, Caller};
use daemon::peer::Principal;
use daemon::shutdown::Shutdown;
use http_body_util::{Either, Full};
use hyper::Response;
use hyper::body::Bytes;
use hyper::http::request::Parts;
use wire::code::Fault;

use self::route::Endpoint;
use self::watch::Events;
use super::error::ServeError;
use super::line::Manager;
use super::request::Unread;

/// A whole document, or a stream of changes.
pub(crate) type Body = Either<Full<Bytes>, Events>;

/// What answers requests.
#[derive(Clone, Debug)]
pub(crate) struct Native {
    pub(crate) manager: Arc<Manager>,
    /// Ends the streams, so that the daemon need not wait for their readers.
    pub(crate) shutdown: Shutdown,
}

impl Dialect for Native {
    type Admitted = Endpoint;
    type Body = Body;

    async fn admit(&self, caller: &Arc<Caller>, head: &Parts) -> Result<Endpoint, Response<Body>> {
        let unread = match self.endpoint(caller, head) {
            Ok(endpoint) => return Ok(endpoint),
            Err(unread) => unread,
        };
        Err(self.encode(self.manager.answer(caller, Err(unread)).await))
    }

    async fn answer(
        &self,
        caller: &Arc<Caller>,
        endpoint: Endpoint,
        body: Result<Bytes, Fault>,
    ) -> Response<Body> {
        let (operation, name) = (endpoint.operation(), endpoint.name().cloned());
        let decoded = body.map_err(ServeError::from).and_then(|body| endpoint.decode(&body));
        let asked = decoded.map_err(|error| Unread { operation: Some(operation), name, error });
        self.encode(self.manager.answer(caller, asked).await)
    }

    fn turn_away(&self, principal: &Principal, busy: Busy) -> Response<Body> {
        self.encode(self.manager.turn_away(principal, busy))
    }

    fn unreadable(&self, principal: &Principal) {
        self.manager.note_unreadable(principal);
    }
}

impl Native {
    /// Finds the endpoint, and asks whether its body is worth reading.
    fn endpoint(&self, caller: &Caller, head: &Parts) -> Result<Endpoint, Unread> {
        let endpoint = route::endpoint(&head.method, head.uri.path(), head.uri.query());
        let endpoint = endpoint.map_err(|error| Unread { operation: None, name: None, error })?;
        let (operation, name) = (endpoint.operation(), endpoint.name());
        match self.manager.permits(caller, operation, name) {
            Ok(()) => Ok(endpoint),
            Err(error) => Err(Unread { operation: Some(operation), name: name.cloned(), error }),
        }
    }

    fn encode(&self, answered: super::line::Answered) -> Response<Body> {
        reply::encode(answered, &self.shutdown)
    }
}
