//! The native dialect: HTTP/1.1 and JSON on a Unix stream socket (`docs/api.md`).

mod reply;
mod route;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use daemon::limit::{Busy, Limiter};
use daemon::peer::{Peer, Principal, authenticate};
use daemon::shutdown::Shutdown;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;
use wire::code::{Code, Fault};
use wire::limits::BODY_MAX_BYTES;

use crate::error::{Failure, HostError};
use crate::pipeline::{Caller, Host};
use crate::request::Unread;

/// How long a peer may take over a request's head, and a connection may be idle.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a peer may take over a request's body.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest head, bytes.
const HEAD_MAX_BYTES: usize = 16 * 1024;
/// How long requests in flight may take once the host is asked to stop.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);
/// Pause after a failed accept, so that a lack of descriptors does not become a busy loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves connections until the host is asked to stop, then lets requests in flight finish.
pub async fn serve(
    listener: UnixListener,
    host: Arc<Host>,
    limiter: Limiter,
    mut shutdown: Shutdown,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _address)) => {
                    let (host, limiter) = (Arc::clone(&host), limiter.clone());
                    connections.spawn(serve_connection(stream, host, limiter, shutdown.clone()));
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
    if tokio::time::timeout(DRAIN_TIMEOUT, drained).await.is_err() {
        tracing::warn!(open = connections.len(), "connections were cut after the drain time");
    }
}

async fn serve_connection(
    stream: UnixStream,
    host: Arc<Host>,
    limiter: Limiter,
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
    let entered = limiter.connection(principal.uid());
    let admitted = match entered {
        Ok(permit) => Ok(Arc::new(Caller { principal, permit })),
        Err(busy) => Err((Arc::new(principal), busy)),
    };
    let refused = admitted.is_err();
    let service = Service { host, admitted };
    let service = service_fn(move |request| {
        let service = service.clone();
        async move { Ok::<_, Infallible>(service.answer(request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_MAX_BYTES.max(8192))
        .keep_alive(!refused)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = shutdown.requested() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended");
    }
}

/// What answers the requests of one connection.
#[derive(Clone, Debug)]
struct Service {
    host: Arc<Host>,
    admitted: Result<Arc<Caller>, (Arc<Principal>, Busy)>,
}

impl Service {
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let caller = match &self.admitted {
            Ok(caller) => caller,
            Err((principal, busy)) => {
                return reply::encode(self.host.turn_away(principal, *busy));
            }
        };
        let asked = self.read(caller, request).await;
        reply::encode(self.host.answer(caller, asked).await)
    }

    /// Reads a request to its end and decodes it. The body of a caller without permission is not
    /// read, so that it costs no memory.
    async fn read(
        &self,
        caller: &Caller,
        request: Request<Incoming>,
    ) -> Result<crate::request::Request, Unread> {
        let (head, body) = request.into_parts();
        let endpoint = route::endpoint(&head.method, head.uri.path(), head.uri.query());
        let endpoint = endpoint.map_err(|error| Unread { operation: None, error })?;
        let (operation, key) = (endpoint.operation(), endpoint.key().cloned());
        let decoded = match self.host.permits(caller, operation, key.as_ref()) {
            Ok(()) => read_body(body).await.and_then(|body| endpoint.decode(&body)),
            Err(denied) => Err(denied),
        };
        decoded.map_err(|error| {
            let error = match &key {
                Some(key) => error.of(key),
                None => error,
            };
            Unread { operation: Some(operation), error }
        })
    }
}

async fn read_body(body: Incoming) -> Result<Bytes, HostError> {
    let body = Limited::new(body, BODY_MAX_BYTES).collect();
    match tokio::time::timeout(BODY_TIMEOUT, body).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
            let detail = format!("body exceeds limit of {BODY_MAX_BYTES}");
            Err(Failure::Decode(Fault::new(Code::TooLarge, detail)).into())
        }
        Ok(Err(_broken)) => {
            Err(Failure::Decode(Fault::new(Code::Malformed, "body was cut short")).into())
        }
        Err(_elapsed) => {
            Err(Failure::Decode(Fault::new(Code::Malformed, "body came too slowly")).into())
        }
    }
}
