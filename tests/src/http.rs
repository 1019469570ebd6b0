//! HTTP/1.1 over a Unix socket, one connection a request, byte by byte.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

/// What came back.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The head, as it came.
    pub head: String,
    /// The body, as it came.
    pub body: Vec<u8>,
}

impl Response {
    /// The body as JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&self.body)))
    }

    /// The JSON body of a reply that succeeded.
    #[must_use]
    #[track_caller]
    pub fn ok(&self) -> Value {
        assert!(self.status < 300, "{} {}", self.status, String::from_utf8_lossy(&self.body));
        self.json()
    }

    /// Asserts that it succeeded.
    #[track_caller]
    pub fn done(&self) {
        let _body = self.ok();
    }

    /// A text field of a reply that succeeded.
    #[must_use]
    #[track_caller]
    pub fn text(&self, field: &str) -> String {
        let json = self.ok();
        json[field].as_str().unwrap_or_else(|| panic!("no {field} in {json}")).to_owned()
    }

    /// Asserts that it is a problem document of this code, and returns it.
    #[track_caller]
    pub fn problem(&self, status: u16, code: &str) -> Value {
        let json = self.json();
        assert_eq!((self.status, json["code"].as_str()), (status, Some(code)), "{json}");
        assert!(self.head.contains("application/problem+json"), "{}", self.head);
        json
    }

    /// The request id that the head names.
    #[must_use]
    #[track_caller]
    pub fn id(&self) -> &str {
        self.header("x-request-id").unwrap_or_else(|| panic!("no request id in {}", self.head))
    }

    /// A header's value.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// Sends a request and reads the reply.
///
/// # Panics
/// When the connection fails.
#[must_use]
pub fn request(socket: &Path, method: &str, target: &str, body: &[u8]) -> Response {
    try_request(socket, method, target, body)
        .unwrap_or_else(|error| panic!("{method} {target}: {error}"))
}

/// Sends a request and reads the reply, if there is one.
///
/// # Errors
/// The connection's.
pub fn try_request(
    socket: &Path,
    method: &str,
    target: &str,
    body: &[u8],
) -> std::io::Result<Response> {
    let head = format!(
        "{method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    raw(socket, &[head.as_bytes(), body].concat())
}

/// Sends bytes and reads one reply to the end of the connection.
///
/// # Errors
/// The connection's; `InvalidData` when what came is no HTTP reply.
pub fn raw(socket: &Path, bytes: &[u8]) -> std::io::Result<Response> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(Duration::from_secs(150)))?;
    // The host may answer and close before it has read all of a request that it refuses.
    let written = stream.write_all(bytes);
    let mut reply = Vec::new();
    let read = stream.read_to_end(&mut reply);
    if reply.is_empty() {
        written?;
        read?;
    }
    parse(&reply).ok_or_else(|| {
        let seen = String::from_utf8_lossy(&reply).into_owned();
        std::io::Error::new(std::io::ErrorKind::InvalidData, format!("no reply: {seen:?}"))
    })
}

/// A connection that is kept for one request after the other.
#[derive(Debug)]
pub struct Kept(UnixStream);

impl Kept {
    /// Connects.
    ///
    /// # Errors
    /// The socket's.
    pub fn connect(socket: &Path) -> std::io::Result<Self> {
        let stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(Duration::from_secs(150)))?;
        Ok(Self(stream))
    }

    /// Sends a request and reads its reply.
    ///
    /// # Errors
    /// The connection's; `InvalidData` when it ended before a reply.
    pub fn request(
        &mut self,
        method: &str,
        target: &str,
        body: &[u8],
    ) -> std::io::Result<Response> {
        let head = format!(
            "{method} {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        self.0.write_all(&[head.as_bytes(), body].concat())?;
        let mut reply = Vec::new();
        let mut some = [0; 4096];
        loop {
            if let Some(response) = parse(&reply) {
                let length = response.header("content-length").and_then(|it| it.parse().ok());
                if length == Some(response.body.len()) {
                    return Ok(response);
                }
            }
            let read = self.0.read(&mut some)?;
            if read == 0 {
                return Err(std::io::ErrorKind::InvalidData.into());
            }
            reply.extend_from_slice(&some[..read]);
        }
    }
}

fn parse(reply: &[u8]) -> Option<Response> {
    let end = reply.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = String::from_utf8(reply.get(..end)?.to_vec()).ok()?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some(Response { status, head, body: reply.get(end + 4..)?.to_vec() })
}

/// The bytes of base64 of the standard alphabet.
#[must_use]
pub fn bytes(text: &Value) -> Vec<u8> {
    let bytes: wire::api::Base64Bytes<{ 8 * 1024 * 1024 }> =
        serde_json::from_value(text.clone()).unwrap();
    bytes.as_bytes().to_vec()
}

/// Base64 of the standard alphabet.
#[must_use]
pub fn b64(bytes: impl AsRef<[u8]>) -> String {
    let bytes = bytes.as_ref().to_vec();
    let text =
        serde_json::to_value(wire::api::Base64Bytes::<{ 8 * 1024 * 1024 }>::new(bytes).unwrap());
    text.unwrap().as_str().unwrap().to_owned()
}
