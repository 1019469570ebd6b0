//! From a listener to requests, and down again.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustix::net::{SendFlags, send};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;

use super::body::{self, Unread};
use super::patient::Patient;
use super::{Dialect, HEAD_MAX_BYTES, Timeouts};
use crate::limit::{Busy, Caller, Limiter, TurnedAway, Turns};
use crate::peer::{Peer, Principal, authenticate};
use crate::shutdown::Shutdown;

/// Pause after a failed accept, so that a lack of descriptors does not become a busy loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves connections until the daemon is asked to stop, then lets requests in flight finish.
///
/// # Limits
/// [`HEAD_MAX_BYTES`] and [`super::HEAD_MAX_FIELDS`] of head, `wire::limits::BODY_MAX_BYTES` of body, those of `timeouts` and
/// `limiter`. What is in flight when [`Timeouts::drain`] is over is cut.
pub async fn serve<D: Dialect>(
    listener: UnixListener,
    dialect: D,
    limiter: Limiter,
    timeouts: Timeouts,
    mut shutdown: Shutdown,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _address)) => {
                    if let Some((admitted, place)) = admit(&stream, &dialect, &limiter) {
                        let (dialect, shutdown) = (dialect.clone(), shutdown.clone());
                        let connection = Connection { dialect, admitted, timeouts };
                        connections.spawn(async move {
                            let _place = place;
                            match connection.turns() {
                                Some(turns) => turns.take(connection.serve(stream, shutdown)).await,
                                None => connection.serve(stream, shutdown).await,
                            }
                        });
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            _ = connections.join_next(), if !connections.is_empty() => {}
            () = shutdown.requested() => break,
        }
    }
    drop(listener);
    let drained = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(timeouts.drain, drained).await.is_err() {
        tracing::warn!(open = connections.len(), "connections were cut after the drain time");
    }
}

/// What somebody is told for whom there is not even room to be told in full.
const NO_ROOM: &[u8] = b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\n\
                         Connection: close\r\nContent-Length: 0\r\n\r\n";
/// How long somebody for whom there is no room waits until it is told so.
const PAUSE_BEFORE_BUSY: Duration = Duration::from_millis(50);
/// How long somebody for whom there is no room may take to ask.
const PATIENCE_WITH_NONE: Duration = Duration::from_secs(1);

/// Who is at the other end, and its place, or why it has none.
type Admitted = Result<Arc<Caller>, (Arc<Principal>, Busy)>;

/// Finds out who connected, and its place among the connections or among those that are told that
/// there is none. For whoever has neither, the connection ends here.
///
/// Done before the next connection is accepted: those that wait to be looked at would have
/// descriptors that nobody counts.
fn admit<D: Dialect>(
    stream: &UnixStream,
    dialect: &D,
    limiter: &Limiter,
) -> Option<(Admitted, Option<TurnedAway>)> {
    let principal = Peer::of(stream).map_err(Into::into).and_then(authenticate);
    let principal = match principal {
        Ok(principal) => principal,
        Err(error) => {
            tracing::warn!(%error, "connection of nobody");
            return None;
        }
    };
    let busy = match limiter.connection(principal.uid()) {
        Ok(permit) => return Some((Ok(Arc::new(Caller { principal, permit })), None)),
        Err(busy) => busy,
    };
    if let Some(place) = limiter.turn_away() {
        return Some((Err((Arc::new(principal), busy)), Some(place)));
    }
    // Recorded as every refusal is, and told in as few words as fit any socket.
    let _unread = dialect.turn_away(&principal, busy);
    // Not by the runtime, which does not know yet that the stream can be written.
    let _gone_already = send(stream, NO_ROOM, SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
    None
}

/// What the requests of one connection share.
#[derive(Clone, Debug)]
struct Connection<D> {
    dialect: D,
    admitted: Admitted,
    timeouts: Timeouts,
}

impl<D: Dialect> Connection<D> {
    /// Answers the requests of a stream until it or the daemon ends.
    async fn serve(self, stream: UnixStream, mut shutdown: Shutdown) {
        let Timeouts { head, write, .. } = self.timeouts;
        let refused = self.admitted.is_err();
        let head = if refused { head.min(PATIENCE_WITH_NONE) } else { head };
        let shared = self.clone();
        let service = service_fn(move |request| {
            let connection = shared.clone();
            async move { Ok::<_, Infallible>(connection.answer(request).await) }
        });
        let serving = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(head)
            .max_buf_size(HEAD_MAX_BYTES)
            .max_header_size(HEAD_MAX_BYTES)
            .keep_alive(!refused)
            .serve_connection(TokioIo::new(Patient::new(stream, write)), service);
        let mut serving = std::pin::pin!(serving);
        let ended = tokio::select! {
            ended = serving.as_mut() => ended,
            () = shutdown.requested() => {
                serving.as_mut().graceful_shutdown();
                serving.await
            }
        };
        if let Err(error) = ended {
            if error.is_parse() {
                self.dialect.unreadable(self.principal());
            }
            tracing::debug!(%error, "connection ended");
        }
    }

    /// The turns of a connection that has its place.
    fn turns(&self) -> Option<Turns> {
        self.admitted.as_ref().ok().map(|caller| caller.permit.turns())
    }

    fn principal(&self) -> &Principal {
        match &self.admitted {
            Ok(caller) => &caller.principal,
            Err((principal, _busy)) => principal,
        }
    }

    /// Answers a request; for which there is no room, after a pause, so that refusing a caller
    /// that asks again at once costs less than serving it would.
    async fn answer(&self, request: Request<Incoming>) -> Response<D::Body> {
        let response = self.answer_at_once(request).await;
        if response.status() == StatusCode::TOO_MANY_REQUESTS {
            tokio::time::sleep(PAUSE_BEFORE_BUSY).await;
        }
        response
    }

    async fn answer_at_once(&self, request: Request<Incoming>) -> Response<D::Body> {
        let caller = match &self.admitted {
            Ok(caller) => caller,
            Err((principal, busy)) => return self.dialect.turn_away(principal, *busy),
        };
        if let Err(busy) = caller.permit.begin() {
            return self.dialect.turn_away(&caller.principal, busy);
        }
        let (head, body) = request.into_parts();
        match self.dialect.admit(caller, &head).await {
            // Dropped unread, so that it costs no memory.
            Err(refused) => refused,
            Ok(admitted) => {
                let mut room = caller.permit.body();
                let body = match body::read(body, self.timeouts.body, &mut room).await {
                    Ok(body) => Ok(body),
                    Err(Unread::Fault(fault)) => Err(fault),
                    Err(Unread::Busy(busy)) => {
                        return self.dialect.turn_away(&caller.principal, busy);
                    }
                };
                self.dialect.answer(caller, admitted, body).await
            }
        }
    }
}

#[cfg(test)]
mod tests;
