//! How a call can fail, by whose turn it is.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use wire::code::{Code, Fault, Problem};

/// Why a call has no result.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing was sent: the host is not there, or it is not the host that answers.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// Nothing was sent: a value is over its limit.
    #[error("{}", .0.detail)]
    Limit(Fault),
    /// The host refused the request.
    #[error("{}", .0.detail)]
    Refused(Box<Problem>),
    /// The host closed the connection without a reply. The request may have been done; where it
    /// changes a key, look before trying again.
    #[error("the daemon closed the connection before it replied")]
    Unanswered {
        /// Whether the request was one that changes a key.
        is_change: bool,
    },
    /// No reply came in time. The request may have been done; where it changes a key, look
    /// before trying again.
    #[error("no reply within {} s", .after.as_secs_f64())]
    Timeout {
        /// How long the client waited.
        after: Duration,
    },
    /// The reply is not one of the API.
    #[error("the reply is not one of the API")]
    Protocol(#[from] ProtocolError),
}

impl Error {
    /// The code that the host gave, or would have given for [`Error::Limit`].
    pub fn code(&self) -> Option<Code> {
        match self {
            Self::Refused(problem) => Some(problem.code),
            Self::Limit(fault) => Some(fault.code),
            Self::Connect(_)
            | Self::Unanswered { .. }
            | Self::Timeout { .. }
            | Self::Protocol(_) => None,
        }
    }

    /// Whether the same call may succeed later without a change by the caller.
    ///
    /// After [`Error::Timeout`], and after a refusal with [`Code::Timeout`], a change of a key
    /// may have happened: look before trying again.
    pub fn retryable(&self) -> bool {
        match self {
            Self::Connect(error) => matches!(error.reason, ConnectReason::Io(_)),
            Self::Refused(problem) => problem.retryable,
            Self::Unanswered { is_change } => !is_change,
            Self::Timeout { .. } => true,
            Self::Limit(_) | Self::Protocol(_) => false,
        }
    }

    /// When to try again, where the host said so.
    pub fn retry_after(&self) -> Option<Duration> {
        self.problem()?.retry_after_ms.map(Duration::from_millis)
    }

    /// The request id, as in the audit, where the host replied.
    pub fn request_id(&self) -> Option<&str> {
        self.problem().map(|problem| problem.instance.as_str())
    }

    /// The problem document of a refusal.
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Refused(problem) => Some(problem),
            Self::Connect(_)
            | Self::Limit(_)
            | Self::Unanswered { .. }
            | Self::Timeout { .. }
            | Self::Protocol(_) => None,
        }
    }
}

/// Why there is no connection to the host.
#[derive(Debug, thiserror::Error)]
#[error("cannot reach the daemon at {}", .socket.display())]
pub struct ConnectError {
    /// The socket.
    pub socket: PathBuf,
    /// What happened.
    #[source]
    pub reason: ConnectReason,
}

/// What happened when connecting.
#[derive(Debug, thiserror::Error)]
pub enum ConnectReason {
    /// The operating system said no: no socket there, nobody listens, no permission; or the
    /// host closed the connection before it took anything.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The process that listens runs as a user that is not expected.
    #[error("the process that listens there runs as uid {uid}, which is not expected")]
    UnexpectedServer {
        /// Its user id.
        uid: u32,
    },
}

/// What is wrong with a reply.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// It is not HTTP/1.1.
    #[error("not HTTP/1.1: {0}")]
    Head(&'static str),
    /// Its head is too long.
    #[error("head of the reply exceeds limit of {limit} bytes")]
    HeadTooLarge {
        /// Greatest length.
        limit: usize,
    },
    /// Its body is too long.
    #[error("reply of {bytes} bytes exceeds limit of {limit}")]
    TooLarge {
        /// The length it declares.
        bytes: u64,
        /// Greatest length.
        limit: usize,
    },
    /// The connection ended inside it.
    #[error("the reply is cut off")]
    Truncated,
    /// More bytes came than it declares.
    #[error("bytes after the reply")]
    TrailingBytes,
    /// Reading or writing failed while it was under way.
    #[error("the connection failed: {0}")]
    Io(io::ErrorKind),
    /// Its body is not what the endpoint answers. The body is not repeated.
    #[error("the body is not what the endpoint answers, at line {line} column {column}")]
    Body {
        /// Line in the body, from 1; 0 when the body has another number of items than asked for.
        line: usize,
        /// Column in the line.
        column: usize,
    },
    /// An error without a problem document.
    #[error("status {status} without a problem document")]
    Status {
        /// The HTTP status.
        status: u16,
    },
}
