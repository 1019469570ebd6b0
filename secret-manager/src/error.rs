//! How things fail, by the part that failed. No message holds a value, and none a name of a
//! secret, so that they can be logged.

use std::path::PathBuf;

use wire::code::{Code, Fault};

use crate::counter::CounterError;

/// Why the host did not seal or unseal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// Sealed value, context and key do not belong together.
    #[error("a sealed value and what is known of it do not belong together")]
    Integrity,
    /// The host is not there now, or cannot now; later it may.
    #[error("the host cannot seal or unseal now: {0}")]
    Unavailable(String),
    /// The host refuses; somebody has to change something first.
    #[error("the host refuses: {0}")]
    Refused(Fault),
}

/// Why a store did not do what was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// By the host.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// By the file.
    #[error("store {store}: {reason}; check its directory, the space there and its owner")]
    File {
        /// The store.
        store: String,
        /// What SQLite or the system said.
        reason: String,
    },
    /// By its bounds.
    #[error("store {store} is full: {limit}; delete secrets, or raise the bound")]
    Full {
        /// The store.
        store: String,
        /// The bound that is reached.
        limit: String,
    },
    /// The change is stored, but an older file would not be noticed until the counter is raised,
    /// which the next change does first.
    #[error("the change is stored, but not yet counted: {0}")]
    Uncounted(CounterError),
    /// An earlier change is not counted yet, so that nothing more is stored.
    #[error("an earlier change could not be counted yet: {0}")]
    CountFirst(CounterError),
    /// What cannot happen.
    #[error("{0}; this is a fault of the secret manager, please report it")]
    Bug(&'static str),
}

/// Why a file store cannot be opened. Each message ends with what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file cannot be read or made.
    #[error("store {path}: {reason}; check its directory, the space there and its owner")]
    File {
        /// The file.
        path: PathBuf,
        /// What SQLite or the system said.
        reason: String,
    },
    /// Another process has it open.
    #[error("store {path} is in use by another process; stop that one first")]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// It is of a later version of this program.
    #[error("store {path} has layout {layout}, which is of a later version; use that version")]
    Layout {
        /// The file.
        path: PathBuf,
        /// The number of the layout.
        layout: i64,
    },
    /// A row does not say what rows say.
    #[error("store {path} has an unreadable row ({reason}); {WHAT_TO_DO}")]
    Row {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Rows were edited, removed or put back.
    #[error("store {path} was altered: its seal does not fit its rows; {WHAT_TO_DO}")]
    Altered {
        /// The file.
        path: PathBuf,
    },
    /// An older file was put in its place.
    #[error(
        "store {path} is an older copy: it has state {state}, and its counter is at {counter}; \
         {WHAT_TO_DO}"
    )]
    Older {
        /// The file.
        path: PathBuf,
        /// The number of its state.
        state: u64,
        /// What the counter says.
        counter: u64,
    },
    /// An older file was put in its place, or the file lost what was written to it.
    #[error(
        "store {path} is an older copy: it has state {state}, and the audit has seen {recorded}; \
         {WHAT_TO_DO}"
    )]
    OlderThanAudit {
        /// The file.
        path: PathBuf,
        /// The number of its state; 0 where it has none.
        state: u64,
        /// The number of the last state that the audit has seen.
        recorded: u64,
    },
    /// The counter is not the one of this store.
    #[error(
        "store {path} has state {state}, and its counter is at {counter}, as if it were another \
         store's; check the name of the counter, or: {WHAT_TO_DO}"
    )]
    ForeignCounter {
        /// The file.
        path: PathBuf,
        /// The number of its state.
        state: u64,
        /// What the counter says; nothing where there is none.
        counter: String,
    },
    /// The host cannot be asked, or refuses.
    #[error(
        "store {path} cannot be verified: {reason}; see that the host serves its key; it is made once: sealctl key create KEY --usage seal"
    )]
    Seal {
        /// The file.
        path: PathBuf,
        /// What the host said.
        reason: SealError,
    },
    /// The counter cannot be asked.
    #[error("store {path} cannot be verified: {reason}; see that the host serves its counter")]
    Counter {
        /// The file.
        path: PathBuf,
        /// What happened.
        reason: CounterError,
    },
    /// The store cannot be written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

const WHAT_TO_DO: &str = "put back its newest copy, or accept what is there, docs/secrets.md \
                          section 5";

/// Why a source has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// It did not answer, as often as it was asked.
    #[error("source {source_label} does not answer: {reason}")]
    Silent {
        /// The source.
        source_label: String,
        /// What happened.
        reason: String,
    },
    /// Its answer is not one.
    #[error("source {source_label} gave an answer that is none: {reason}")]
    Malformed {
        /// The source.
        source_label: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// Why there is no secret.
#[derive(Clone, Debug, thiserror::Error)]
pub enum GetError {
    /// Neither the stores nor the source have it, or it was deleted.
    #[error("there is no such secret, or none that is active")]
    NotFound,
    /// It is there, and does not open; and the source has no other.
    #[error("the secret was altered, and there is no other copy of it")]
    Altered,
    /// It changed as often as it was looked at.
    #[error("the secret is being changed")]
    Busy,
    /// With those before it, it is more than may be asked for at once.
    #[error("values together exceed limit of {limit} bytes; ask for this one in another request")]
    TooMuch {
        /// The limit, in bytes.
        limit: usize,
    },
    /// It is not stored, and the source cannot be asked.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// It may be stored, and cannot be read.
    #[error(transparent)]
    Store(StoreError),
}

/// Why a secret was not changed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum PutError {
    /// A value or date is out of range.
    #[error("{}", .0.detail)]
    Invalid(Fault),
    /// The base did not take it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl SealError {
    /// Whether the sealed value will never open: it was altered, belongs to another key, or the
    /// key version that sealed it is destroyed.
    #[must_use]
    pub const fn is_lost(&self) -> bool {
        match self {
            Self::Integrity => true,
            Self::Unavailable(_) => false,
            Self::Refused(fault) => matches!(fault.code, Code::Invalid | Code::NotFound),
        }
    }

    /// The code that a client sees.
    #[must_use]
    pub const fn code(&self) -> Code {
        match self {
            Self::Integrity => Code::Integrity,
            Self::Unavailable(_) => Code::Unavailable,
            // What the host refuses us is our operator's affair, not the caller's.
            Self::Refused(_) => Code::Internal,
        }
    }
}

impl StoreError {
    /// The code that a client sees.
    #[must_use]
    pub const fn code(&self) -> Code {
        match self {
            Self::Seal(error) => error.code(),
            Self::File { .. } | Self::Bug(_) => Code::Internal,
            Self::Full { .. } | Self::Uncounted(_) | Self::CountFirst(_) => Code::Unavailable,
        }
    }
}

impl GetError {
    /// The code that a client sees.
    #[must_use]
    pub const fn code(&self) -> Code {
        match self {
            Self::NotFound => Code::NotFound,
            Self::Altered => Code::Integrity,
            Self::Busy => Code::Busy,
            Self::TooMuch { .. } => Code::TooLarge,
            Self::Source(SourceError::Silent { .. } | SourceError::Malformed { .. }) => {
                Code::Unavailable
            }
            Self::Store(error) => error.code(),
        }
    }
}

impl From<StoreError> for GetError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Seal(SealError::Integrity) => Self::Altered,
            StoreError::Seal(SealError::Unavailable(_) | SealError::Refused(_))
            | StoreError::File { .. }
            | StoreError::Full { .. }
            | StoreError::Uncounted(_)
            | StoreError::CountFirst(_)
            | StoreError::Bug(_) => Self::Store(error),
        }
    }
}

impl PutError {
    /// The code that a client sees.
    #[must_use]
    pub const fn code(&self) -> Code {
        match self {
            Self::Invalid(fault) => fault.code,
            Self::Store(error) => error.code(),
        }
    }
}
