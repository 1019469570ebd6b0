//! The head of a reply. Read strictly: one length, no transfer coding, nothing that would leave
//! it open where the reply ends. The host always states the length.
//!
//! # Spec
//! RFC 9112 sections 4, 5 and 6.
#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use crate::error::ProtocolError;

/// Longest head of a reply, in bytes.
pub(crate) const HEAD_MAX_BYTES: usize = 8 * 1024;

const HEADERS_MAX: usize = 32;

/// What the head of a reply says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// Length of the head, in bytes.
    pub(crate) bytes: usize,
    /// The HTTP status: 200 or more.
    pub(crate) status: u16,
    /// Length of the body, in bytes.
    pub(crate) body_bytes: u64,
    /// Whether the host keeps the connection.
    pub(crate) keeps: bool,
    /// The request id.
    pub(crate) request_id: Option<String>,
}

/// Reads the head that `bytes` begin with; none, when it is not there as a whole yet.
pub(crate) fn parse(bytes: &[u8]) -> Result<Option<Head>, ProtocolError> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut reply = httparse::Response::new(&mut headers);
    let parsed = reply.parse(bytes).map_err(|error| ProtocolError::Head(words(error)))?;
    let httparse::Status::Complete(length) = parsed else { return Ok(None) };
    let status = match (reply.version, reply.code) {
        (Some(1), Some(status)) if status >= 200 => status,
        _ => return Err(ProtocolError::Head("another version, or an interim reply")),
    };
    let mut head = Head { bytes: length, status, body_bytes: 0, keeps: true, request_id: None };
    let mut stated = None;
    for header in reply.headers.iter() {
        let name = header.name;
        if name.eq_ignore_ascii_case("content-length") {
            if stated.replace(length_of(header.value)?).is_some() {
                return Err(ProtocolError::Head("two lengths"));
            }
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            return Err(ProtocolError::Head("a transfer coding"));
        } else if name.eq_ignore_ascii_case("connection") {
            head.keeps &= header.value.eq_ignore_ascii_case(b"keep-alive");
        } else if name.eq_ignore_ascii_case("x-request-id") {
            head.request_id = std::str::from_utf8(header.value).ok().map(str::to_owned);
        }
    }
    head.body_bytes = stated.ok_or(ProtocolError::Head("no length"))?;
    Ok(Some(head))
}

/// Digits only: `parse` of an integer would take a sign.
fn length_of(value: &[u8]) -> Result<u64, ProtocolError> {
    let digits = std::str::from_utf8(value).ok();
    let digits = digits.filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    digits.and_then(|text| text.parse().ok()).ok_or(ProtocolError::Head("a length"))
}

fn words(error: httparse::Error) -> &'static str {
    match error {
        httparse::Error::HeaderName => "a header name",
        httparse::Error::HeaderValue => "a header value",
        httparse::Error::NewLine => "a line end",
        httparse::Error::Status => "the status",
        httparse::Error::Token => "a token",
        httparse::Error::TooManyHeaders => "too many headers",
        httparse::Error::Version => "the version",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(lines: &str) -> Result<Option<Head>, ProtocolError> {
        parse(format!("{}\r\n\r\n", lines.replace('\n', "\r\n")).as_bytes())
    }

    fn refused(lines: &str, why: &'static str) {
        assert_eq!(check(lines), Err(ProtocolError::Head(why)), "{lines}");
    }

    #[test]
    fn head_of_a_reply_is_read() {
        let head = check("HTTP/1.1 201 Created\nContent-Length: 12\nX-Request-Id: r-1").unwrap();
        let request_id = Some("r-1".to_owned());
        let expected = Head { bytes: 63, status: 201, body_bytes: 12, keeps: true, request_id };
        assert_eq!(head, Some(expected));
    }

    #[test]
    fn head_that_is_not_whole_is_not_read_yet() {
        assert_eq!(parse(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n"), Ok(None));
        assert_eq!(parse(b""), Ok(None));
    }

    #[test]
    fn connection_is_kept_unless_the_reply_says_otherwise() {
        for (value, keeps) in [("close", false), ("keep-alive", true), ("Upgrade", false)] {
            let head = check(&format!("HTTP/1.1 200 OK\nContent-Length: 0\nConnection: {value}"));
            assert_eq!(head.unwrap().unwrap().keeps, keeps, "{value}");
        }
    }

    #[test]
    fn reply_whose_end_is_open_is_refused() {
        refused("HTTP/1.1 200 OK", "no length");
        refused("HTTP/1.1 200 OK\nTransfer-Encoding: chunked", "a transfer coding");
        refused(
            "HTTP/1.1 200 OK\nContent-Length: 1\nTransfer-Encoding: chunked",
            "a transfer coding",
        );
        refused("HTTP/1.1 200 OK\nContent-Length: 1\nContent-Length: 1", "two lengths");
        for length in ["-1", "+1", "1, 1", "", "0x1", "99999999999999999999"] {
            refused(&format!("HTTP/1.1 200 OK\nContent-Length: {length}"), "a length");
        }
    }

    #[test]
    fn reply_of_another_protocol_is_refused() {
        refused("HTTP/1.0 200 OK\nContent-Length: 0", "another version, or an interim reply");
        refused("HTTP/1.1 100 Continue", "another version, or an interim reply");
        refused("SSH-2.0-OpenSSH_9.2", "the version");
    }
}
