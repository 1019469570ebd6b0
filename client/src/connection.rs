//! One connection to the host, and one request over it.
#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::io::{self, ErrorKind, IoSlice};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::io::Errno;
use rustix::net::RecvFlags;
use tokio::io::{AsyncReadExt as _, Interest};
use tokio::net::UnixStream;
use zeroize::Zeroizing;

use crate::error::{ConnectReason, ProtocolError};
use crate::head::{self, HEAD_MAX_BYTES, Head};

const ROOT: u32 = 0;

/// A request as it goes over the socket.
pub(crate) struct Message {
    pub(crate) head: String,
    pub(crate) body: Zeroizing<Vec<u8>>,
}

/// A reply as it came over the socket.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) request_id: Option<String>,
    pub(crate) body: Zeroizing<Vec<u8>>,
}

/// Why a request has no reply.
pub(crate) enum Broken {
    /// Not one byte of it was taken.
    NotSent(io::Error),
    /// The connection ended before the first byte of the reply.
    Unanswered,
    /// The reply is not one of the API.
    Protocol(ProtocolError),
}

impl From<ProtocolError> for Broken {
    fn from(error: ProtocolError) -> Self {
        Self::Protocol(error)
    }
}

/// A connection on which no request is under way.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: UnixStream,
}

impl Connection {
    /// Connects, and asks the kernel who listens.
    pub(crate) async fn open(socket: &Path, expected: Option<u32>) -> Result<Self, ConnectReason> {
        let stream = UnixStream::connect(socket).await?;
        let uid = stream.peer_cred()?.uid();
        let accepted = match expected {
            Some(expected) => uid == expected,
            None => {
                uid == ROOT
                    || uid == rustix::process::geteuid().as_raw()
                    || uid == std::fs::metadata(socket)?.uid()
            }
        };
        if !accepted {
            return Err(ConnectReason::UnexpectedServer { uid });
        }
        Ok(Self { stream })
    }

    /// Whether the host has neither closed the connection nor sent anything unasked.
    pub(crate) fn is_quiet(&self) -> bool {
        matches!(self.peek(), Err(Errno::AGAIN))
    }

    /// Sends a request and reads its reply. The connection comes back when it can be used again;
    /// when this future is dropped, the connection is closed.
    pub(crate) async fn exchange(
        mut self,
        message: &Message,
        reply_limit: usize,
    ) -> Result<(Answer, Option<Self>), Broken> {
        let (sent, failure) = self.write(message).await;
        let whole = failure.is_none() && sent == message.bytes();
        let unanswered = |failure: Option<io::Error>| {
            if sent == 0 {
                let ended = || ErrorKind::ConnectionAborted.into();
                return Broken::NotSent(failure.unwrap_or_else(ended));
            }
            Broken::Unanswered
        };
        // A host that refuses a connection replies before it closes; otherwise do not wait.
        if failure.is_some() && self.is_quiet() {
            return Err(unanswered(failure));
        }
        let (answer, keeps) = match self.read(reply_limit).await {
            Ok(read) => read,
            Err(Broken::Unanswered) => return Err(unanswered(failure)),
            Err(broken) => return Err(broken),
        };
        Ok((answer, (whole && keeps).then_some(self)))
    }

    /// Writes until all is written, the host replies early, or the connection fails; says how
    /// many bytes were taken. In each case a reply may be waiting.
    async fn write(&self, message: &Message) -> (usize, Option<io::Error>) {
        let mut sent = 0_usize;
        while sent < message.bytes() {
            match self.stream.try_write_vectored(&message.from(sent)) {
                Ok(bytes) => sent = sent.saturating_add(bytes),
                Err(error) if error.kind() == ErrorKind::WouldBlock => match self.wait().await {
                    Ok(Waited::CanWrite) => {}
                    Ok(Waited::ReplyOrEnd) => break,
                    Err(error) => return (sent, Some(error)),
                },
                Err(error) => return (sent, Some(error)),
            }
        }
        (sent, None)
    }

    /// Waits until more can be written. A host that refuses a long body replies and stops
    /// reading, so writing on would wait forever.
    async fn wait(&self) -> io::Result<Waited> {
        let ready = self.stream.ready(Interest::READABLE | Interest::WRITABLE).await?;
        if ready.is_readable() {
            let peeked =
                self.stream.try_io(Interest::READABLE, || self.peek().map_err(io::Error::from));
            match peeked {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Ok(_) | Err(_) => return Ok(Waited::ReplyOrEnd),
            }
        }
        Ok(Waited::CanWrite)
    }

    async fn read(&mut self, reply_limit: usize) -> Result<(Answer, bool), Broken> {
        let mut buffer = Zeroizing::new(vec![0; HEAD_MAX_BYTES]);
        let mut filled = 0_usize;
        let head = loop {
            if let Some(head) = head::parse(buffer.get(..filled).unwrap_or_default())? {
                break head;
            }
            let room = buffer.get_mut(filled..).unwrap_or_default();
            if room.is_empty() {
                return Err(ProtocolError::HeadTooLarge { limit: HEAD_MAX_BYTES }.into());
            }
            match self.stream.read(room).await {
                Ok(0) if filled == 0 => return Err(Broken::Unanswered),
                Err(error) if filled == 0 && is_end(&error) => return Err(Broken::Unanswered),
                Ok(0) => return Err(ProtocolError::Truncated.into()),
                Ok(bytes) => filled = filled.saturating_add(bytes),
                Err(error) => return Err(ProtocolError::Io(error.kind()).into()),
            }
        };
        let begun = buffer.get(head.bytes..filled).unwrap_or_default();
        let body = self.read_body(&head, begun, reply_limit).await?;
        let Head { status, request_id, keeps, bytes: _, body_bytes: _ } = head;
        Ok((Answer { status, request_id, body }, keeps))
    }

    async fn read_body(
        &mut self,
        head: &Head,
        begun: &[u8],
        limit: usize,
    ) -> Result<Zeroizing<Vec<u8>>, ProtocolError> {
        let bytes = head.body_bytes;
        let length = usize::try_from(bytes).ok().filter(|&length| length <= limit);
        let length = length.ok_or(ProtocolError::TooLarge { bytes, limit })?;
        let mut body = Zeroizing::new(vec![0; length]);
        let (first, rest) =
            body.split_at_mut_checked(begun.len()).ok_or(ProtocolError::TrailingBytes)?;
        first.copy_from_slice(begun);
        self.stream.read_exact(rest).await.map_err(|error| {
            if error.kind() == ErrorKind::UnexpectedEof {
                return ProtocolError::Truncated;
            }
            ProtocolError::Io(error.kind())
        })?;
        Ok(body)
    }

    /// Looks for a byte without taking it: `Ok(0)` is the end, `AGAIN` nothing yet.
    fn peek(&self) -> Result<usize, Errno> {
        let mut byte = [0_u8; 1];
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        rustix::net::recv(&self.stream, &mut byte, flags).map(|(_, bytes)| bytes)
    }
}

enum Waited {
    CanWrite,
    ReplyOrEnd,
}

impl Message {
    fn bytes(&self) -> usize {
        self.head.len().saturating_add(self.body.len())
    }

    /// What is left to write after `sent` bytes.
    fn from(&self, sent: usize) -> [IoSlice<'_>; 2] {
        let of_body = sent.saturating_sub(self.head.len());
        [
            IoSlice::new(self.head.as_bytes().get(sent..).unwrap_or_default()),
            IoSlice::new(self.body.get(of_body..).unwrap_or_default()),
        ]
    }
}

fn is_end(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe)
}
