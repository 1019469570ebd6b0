// Reads bytes as the requests of one connection, as the daemons do. Included by the bodies of the
// fuzz targets of each daemon.

use std::convert::Infallible;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use daemon::http::HEAD_MAX_BYTES;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::http::request::Parts;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use wire::limits::BODY_MAX_BYTES;

/// Hands out each request whose head is whole, with the body as far as it came.
pub(super) fn requests(data: &[u8], take: fn(&Parts, &[u8])) {
    let service = service_fn(move |request: Request<Incoming>| async move {
        let (head, body) = request.into_parts();
        assert!(head.uri.path().len() <= HEAD_MAX_BYTES);
        if let Ok(body) = Limited::new(body, BODY_MAX_BYTES).collect().await {
            take(&head, &body.to_bytes());
        }
        Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
    });
    let stream = Stream { came: data.to_vec().into(), waits: data.len() };
    let serving = http1::Builder::new()
        .header_read_timeout(None)
        .max_buf_size(HEAD_MAX_BYTES)
        .max_header_size(HEAD_MAX_BYTES)
        .serve_connection(stream, service);
    let mut serving = pin!(serving);
    // All bytes are there, so that nothing is ever waited for but the next turn of hyper's own.
    for _ in 0..data.len().saturating_mul(2).saturating_add(64) {
        if serving.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() {
            return;
        }
    }
    assert!(data.is_empty(), "a connection that has ended is not left");
}

/// What came, and nobody who hears the answers. The end of it is seen so many turns later, because
/// hyper leaves a request whose client is gone before the body was handed out.
struct Stream {
    came: Bytes,
    waits: usize,
}

impl Read for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
        mut into: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if self.came.is_empty() && self.waits > 0 {
            self.waits = self.waits.saturating_sub(1);
            return Poll::Pending;
        }
        let length = self.came.len().min(into.remaining());
        into.put_slice(&self.came.split_to(length));
        Poll::Ready(Ok(()))
    }
}

impl Write for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        _context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
