//! How a request fails, and the one table from there to the codes that clients see.

use std::time::Duration;

use daemon::limit::Busy;
use daemon::rules::Denied;
use wire::code::{Code, Fault, Problem};

use crate::error::{GetError, PutError, SealError, StoreError};

/// The stage and the way in which a request failed. No message holds a value.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServeError {
    /// Decode: the request is not one.
    #[error("{0}")]
    Decode(#[from] Fault),
    /// Authorize: no rule allows it.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// Limits: too much is under way.
    #[error("{0}")]
    Busy(Busy),
    /// Route: there is no such thing.
    #[error("{0}")]
    NotFound(&'static str),
    /// Perform: there is no secret.
    #[error(transparent)]
    Get(#[from] GetError),
    /// Perform: it was not stored.
    #[error(transparent)]
    Put(#[from] PutError),
    /// Perform: the base did not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Audit: it cannot be written, so nothing is done.
    #[error("audit: {0}")]
    Audit(String),
    /// What cannot happen.
    #[error("{0}; this is a fault of secret-manager, please report it")]
    Bug(&'static str),
}

impl ServeError {
    /// The code that the client sees.
    pub(crate) const fn code(&self) -> Code {
        match self {
            Self::Decode(fault) => fault.code,
            Self::Denied(_) => Code::Denied,
            Self::Busy(_) => Code::Busy,
            Self::NotFound(_) => Code::NotFound,
            Self::Get(error) => error.code(),
            Self::Put(error) => error.code(),
            Self::Store(error) => error.code(),
            Self::Audit(_) | Self::Bug(_) => Code::Internal,
        }
    }

    /// The document for the client; what the host or the disk said is for the log.
    pub(crate) fn problem(&self, request_id: &str) -> Problem {
        let code = self.code();
        let sentence = match self {
            Self::Decode(fault) => fault.detail.clone(),
            Self::Denied(_) | Self::Busy(_) | Self::NotFound(_) => self.to_string(),
            Self::Put(PutError::Invalid(fault)) => fault.detail.clone(),
            Self::Get(
                GetError::NotFound | GetError::Altered | GetError::Busy | GetError::TooMuch { .. },
            ) => self.to_string(),
            Self::Get(GetError::Source(_)) => {
                "it is not stored, and its source does not answer; see the log".into()
            }
            Self::Get(GetError::Store(error))
            | Self::Put(PutError::Store(error))
            | Self::Store(error) => sentence_of(error).into(),
            Self::Audit(_) => "the audit cannot be written; see the log".into(),
            Self::Bug(_) => "a fault of the secret manager; see its log".into(),
        };
        let mut problem = Problem::new(Fault::new(code, sentence), request_id);
        problem.retry_after_ms = self
            .retry_after()
            .map(|after| after.as_millis())
            .map(|ms| u64::try_from(ms).unwrap_or(u64::MAX));
        problem
    }

    const fn retry_after(&self) -> Option<Duration> {
        if self.code().retryable() { Some(Duration::from_secs(1)) } else { None }
    }
}

const fn sentence_of(error: &StoreError) -> &'static str {
    match error {
        StoreError::Seal(SealError::Integrity) => {
            "the secret was altered, and there is no other copy of it"
        }
        StoreError::Seal(SealError::Unavailable(_)) => "the host cannot seal or unseal now",
        StoreError::Seal(SealError::Refused(_)) => {
            "the host refuses to seal or unseal; see the log"
        }
        StoreError::File { .. } => "the store's file cannot be used; see the log",
        StoreError::Full { .. } => "the store is full",
        StoreError::Uncounted(_) => "the change is stored, but could not be counted yet",
        StoreError::CountFirst(_) => "an earlier change could not be counted yet",
        StoreError::Bug(_) => "a fault of the secret manager; see its log",
    }
}
