//! One connection, one request at a time.

use std::path::Path;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::load::is_complete;

/// A connection to the host.
pub(super) struct Line {
    stream: UnixStream,
    reply: Vec<u8>,
}

impl Line {
    pub(super) async fn open(socket: &Path) -> Self {
        let stream = UnixStream::connect(socket).await.unwrap();
        Self { stream, reply: Vec::with_capacity(8192) }
    }

    /// Sends a request and reads its reply.
    pub(super) async fn ask(&mut self, request: &[u8]) -> (u16, Value) {
        self.stream.write_all(request).await.unwrap();
        self.reply.clear();
        while !is_complete(&self.reply) {
            let read = self.stream.read_buf(&mut self.reply).await.unwrap();
            assert_ne!(read, 0, "the host hung up: {}", String::from_utf8_lossy(&self.reply));
        }
        let text = std::str::from_utf8(&self.reply).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, serde_json::from_str(body).unwrap())
    }

    /// Sends a part of a request, and goes away.
    pub(super) async fn abandon(mut self, part: &[u8]) {
        self.stream.write_all(part).await.unwrap();
    }
}

/// A request as it goes over the socket.
pub(super) fn post(target: &str, body: &Value) -> Vec<u8> {
    raw("POST", target, body.to_string().as_bytes())
}

pub(super) fn raw(method: &str, target: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "{method} {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n"
    );
    [head.as_bytes(), body].concat()
}
