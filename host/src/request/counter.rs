//! What can be asked about one counter.

use wire::api::CreateCounterRequest;
use wire::name::KeyName;

/// What is to be done with a counter.
#[derive(Debug)]
pub enum CounterRequest {
    /// Make it.
    Create(CreateCounterRequest),
    /// Raise it; only from this value, where one is given.
    Increment(Option<u64>),
    /// Read it.
    Read,
    /// Destroy it; the name stands twice, so that a slip does not.
    Destroy(Option<KeyName>),
}

impl CounterRequest {
    /// The operation, as rules and audit call it.
    #[must_use]
    pub const fn operation(&self) -> &'static str {
        match self {
            Self::Create(_) => "create_counter",
            Self::Increment(_) => "increment_counter",
            Self::Read => "read_counter",
            Self::Destroy(_) => "destroy_counter",
        }
    }

    /// Whether it makes or destroys it, so that the audit says so before it is done.
    pub(super) const fn makes_or_destroys(&self) -> bool {
        match self {
            Self::Create(_) | Self::Destroy(_) => true,
            Self::Increment(_) | Self::Read => false,
        }
    }

    /// Whether it changes the device or the registry.
    pub(super) const fn changes(&self) -> bool {
        match self {
            Self::Create(_) | Self::Increment(_) | Self::Destroy(_) => true,
            Self::Read => false,
        }
    }
}
