//! From a listener to requests, and down again.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;
use wire::code::{Code, Fault};
use wire::limits::BODY_MAX_BYTES;

use super::{Dialect, HEAD_MAX_BYTES, Timeouts};
use crate::limit::{Busy, Caller, Limiter};
use crate::peer::{Peer, Principal, authenticate};
use crate::shutdown::Shutdown;

/// Pause after a failed accept, so that a lack of descriptors does not become a busy loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves connections until the daemon is asked to stop, then lets requests in flight finish.
///
/// # Limits
/// [`HEAD_MAX_BYTES`] of head, `wire::limits::BODY_MAX_BYTES` of body, those of `timeouts` and
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

async fn connection<D: Dialect>(
    stream: UnixStream,
    dialect: D,
    limiter: Limiter,
    timeouts: Timeouts,
    mut shutdown: Shutdown,
) {
    let principal = Peer::of(&stream).map_err(Into::into).and_then(authenticate);
    let principal = match principal {
        Ok(principal) => principal,
        Err(error) => {
            tracing::warn!(%error, "connection of nobody");
            return;
        }
    };
    let admitted = match limiter.connection(principal.uid()) {
        Ok(permit) => Ok(Arc::new(Caller { principal, permit })),
        Err(busy) => Err((Arc::new(principal), busy)),
    };
    let refused = admitted.is_err();
    let connection = Connection { dialect, admitted, body_timeout: timeouts.body };
    let shared = connection.clone();
    let service = service_fn(move |request| {
        let connection = shared.clone();
        async move { Ok::<_, Infallible>(connection.answer(request).await) }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(timeouts.head)
        .max_buf_size(HEAD_MAX_BYTES)
        .max_header_size(HEAD_MAX_BYTES)
        .keep_alive(!refused)
        .serve_connection(TokioIo::new(stream), service);
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
            connection.dialect.unreadable(connection.principal());
        }
        tracing::debug!(%error, "connection ended");
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
    fn principal(&self) -> &Principal {
        match &self.admitted {
            Ok(caller) => &caller.principal,
            Err((principal, _busy)) => principal,
        }
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<D::Body> {
        let caller = match &self.admitted {
            Ok(caller) => caller,
            Err((principal, busy)) => return self.dialect.turn_away(principal, *busy),
        };
        let (head, body) = request.into_parts();
        match self.dialect.admit(caller, &head).await {
            // Dropped unread, so that it costs no memory.
            Err(refused) => refused,
            Ok(admitted) => {
                let body = read(body, self.body_timeout).await;
                self.dialect.answer(caller, admitted, body).await
            }
        }
    }
}

async fn read(body: Incoming, patience: Duration) -> Result<Bytes, Fault> {
    let body = Limited::new(body, BODY_MAX_BYTES).collect();
    match tokio::time::timeout(patience, body).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            Err(Fault::new(Code::TooLarge, format!("body exceeds limit of {BODY_MAX_BYTES}")))
        }
        Ok(Err(_broken)) => Err(Fault::new(Code::Malformed, "body was cut short")),
        Err(_elapsed) => Err(Fault::new(Code::Malformed, "body came too slowly")),
    }
}

#[cfg(test)]
mod tests;
