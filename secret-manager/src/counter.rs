//! A counter that only goes up, kept where a restored file does not reach: in the TPM or in the
//! authenticated registry of the host.

use std::fmt;

use crate::pending::Pending;

/// The counter of one store.
pub trait Counter: fmt::Debug + Send + Sync {
    /// The value; none when the counter was never made.
    ///
    /// # Errors
    /// It cannot be read now.
    fn read(&self) -> Pending<'_, Result<Option<u64>, CounterError>>;

    /// Makes the counter and tells where it begins.
    ///
    /// # Errors
    /// It cannot be made now, or exists.
    fn create(&self) -> Pending<'_, Result<u64, CounterError>>;

    /// Raises the counter, which was last known to be at `from`, and tells the new value.
    ///
    /// The new value is greater than `from`, and more than one greater when an increment that was
    /// not answered happened after all.
    ///
    /// # Errors
    /// It cannot be raised now, or nobody knows whether it was.
    fn increment(&self, from: u64) -> Pending<'_, Result<u64, CounterError>>;
}

/// Why a counter did not answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("counter: {0}")]
pub struct CounterError(pub String);
