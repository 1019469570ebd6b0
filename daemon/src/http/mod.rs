//! HTTP/1.1 on the daemon's Unix socket: connections, who is at their other end, framing, limits
//! of size and time, and an orderly end.
//!
//! What requests mean, who may make them, and what the audit is told of them is a [`Dialect`]'s
//! matter. Of a request that is refused no more is read than its head.

mod body;
mod patient;
mod query;
mod reply;
mod serve;

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::Response;
use hyper::body::{Body, Bytes};
use hyper::http::request::Parts;
use wire::code::Fault;

use crate::limit::{Busy, Caller};
use crate::peer::Principal;

pub use body::BODY_TOO_SLOW;
pub use query::{Query, segments};
pub use reply::{json, problem, response};
pub use serve::serve;

/// Longest head of a request, in bytes; a longer one is answered 431, without a body.
pub const HEAD_MAX_BYTES: usize = 16 * 1024;

/// Most fields of a request's head; one more is answered 431, without a body. It is hyper's own
/// limit: another one would cost every request an allocation.
pub const HEAD_MAX_FIELDS: usize = 100;

/// A response whose body is whole before its first byte goes out.
pub type Whole = Response<Full<Bytes>>;

/// How long peers may take.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Timeouts {
    /// Over a request's head; a connection may be idle as long.
    pub head: Duration,
    /// Over a request's body.
    pub body: Duration,
    /// Over taking a reply.
    pub write: Duration,
    /// Over what is in flight when the daemon is asked to stop.
    pub drain: Duration,
}

impl Timeouts {
    /// Over a head.
    pub const HEAD: Duration = Duration::from_secs(60);
    /// Over a body: the longest one at 140 KB/s.
    pub const BODY: Duration = Duration::from_secs(30);
    /// Over taking a reply: the longest one at 200 KB/s.
    pub const WRITE: Duration = Duration::from_secs(30);
    /// Over what is in flight at the end.
    pub const DRAIN: Duration = Duration::from_secs(30);
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { head: Self::HEAD, body: Self::BODY, write: Self::WRITE, drain: Self::DRAIN }
    }
}

/// What a daemon makes of requests: the part between a head and a response.
///
/// Every response to a request comes from here, so that none goes out unrecorded. Bytes that are
/// not HTTP are no request: they get a bare status and the end of the connection, and are told to
/// [`Dialect::unreadable`].
///
/// A clone is taken for each request, and is to be cheap.
pub trait Dialect: Clone + Send + Sync + 'static {
    /// A request whose body may be read.
    type Admitted: Send;

    /// The body of a response. [`Full`] for a daemon whose replies are whole; a daemon that also
    /// streams takes an enum such as `http_body_util::Either`, and ends its streams itself when
    /// the daemon is asked to stop, or they are cut when [`Timeouts::drain`] is over.
    type Body: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static;

    /// Decides by a request's head whether its body is read.
    ///
    /// # Errors
    /// The response of a request that is refused, when it was recorded.
    fn admit(
        &self,
        caller: &Arc<Caller>,
        head: &Parts,
    ) -> impl Future<Output = Result<Self::Admitted, Response<Self::Body>>> + Send;

    /// Answers a request with its whole body, or with the reason why there is none: `too_large`
    /// past `wire::limits::BODY_MAX_BYTES`, `malformed` when it was cut short or came slower than
    /// [`Timeouts::body`].
    fn answer(
        &self,
        caller: &Arc<Caller>,
        admitted: Self::Admitted,
        body: Result<Bytes, Fault>,
    ) -> impl Future<Output = Response<Self::Body>> + Send;

    /// Answers a request for which, or for whose connection, there is no room.
    fn turn_away(&self, principal: &Principal, busy: Busy) -> Response<Self::Body>;

    /// Records that what came on a connection was not HTTP, or its head past
    /// [`HEAD_MAX_BYTES`]; nobody is left to be answered.
    fn unreadable(&self, principal: &Principal);
}
