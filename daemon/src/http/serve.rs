//! From a listener to requests, and down again.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;

use super::body::{self, Unread};
use super::patient::Patient;
use super::{Dialect, HEAD_MAX_BYTES, Timeouts};
use crate::limit::{Busy, Caller, Limiter};
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
                    let (dialect, limiter) = (dialect.clone(), limiter.clone());
                    let shutdown = shutdown.clone();
                    connections.spawn(connection(stream, dialect, limiter, timeouts, shutdown));
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

async fn connection<D: Dialect>(
    stream: UnixStream,
    dialect: D,
    limiter: Limiter,
    timeouts: Timeouts,
    shutdown: Shutdown,
) {
    let principal = Peer::of(&stream).map_err(Into::into).and_then(authenticate);
    let principal = match principal {
        Ok(principal) => principal,
        Err(error) => {
            tracing::warn!(%error, "connection of nobody");
            return;
        }
    };
    match limiter.connection(principal.uid()) {
        Ok(permit) => {
            let admitted = Ok(Arc::new(Caller { principal, permit }));
            let connection = Connection { dialect, admitted, body_timeout: timeouts.body };
            connection.serve(stream, timeouts, shutdown).await;
        }
        Err(busy) => {
            let Some(_place) = limiter.turn_away() else {
                // Recorded as every refusal is, and told in as few words as fit any socket.
                let _unread = dialect.turn_away(&principal, busy);
                let _gone_already = stream.try_write(NO_ROOM);
                return;
            };
            let head = timeouts.head.min(PATIENCE_WITH_NONE);
            let admitted = Err((Arc::new(principal), busy));
            let connection = Connection { dialect, admitted, body_timeout: timeouts.body };
            connection.serve(stream, Timeouts { head, ..timeouts }, shutdown).await;
        }
    }
}

/// What the requests of one connection share.
#[derive(Clone, Debug)]
struct Connection<D> {
    dialect: D,
    admitted: Result<Arc<Caller>, (Arc<Principal>, Busy)>,
    body_timeout: Duration,
}

impl<D: Dialect> Connection<D> {
    /// Answers the requests of a stream until it or the daemon ends.
    async fn serve(self, stream: UnixStream, timeouts: Timeouts, mut shutdown: Shutdown) {
        let shared = self.clone();
        let service = service_fn(move |request| {
            let connection = shared.clone();
            async move { Ok::<_, Infallible>(connection.answer(request).await) }
        });
        let serving = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(timeouts.head)
            .max_buf_size(HEAD_MAX_BYTES)
            .max_header_size(HEAD_MAX_BYTES)
            .keep_alive(self.admitted.is_ok())
            .serve_connection(TokioIo::new(Patient::new(stream, timeouts.write)), service);
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
                let body = match body::read(body, self.body_timeout, &mut room).await {
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
