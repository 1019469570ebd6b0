//! A counter that only goes up, kept where a restored file does not reach: in the TPM or in the
//! authenticated registry of the host.

use std::fmt;

use sealhost_client::{Client, Error};
use wire::api::CreateCounterRequest;
use wire::code::Code;
use wire::name::KeyName;

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

/// A counter of the host: in the TPM where there is one, else in the host's registry.
#[derive(Clone, Debug)]
pub struct HostCounter {
    client: Client,
    name: KeyName,
}

impl HostCounter {
    /// The counter `name` of the host that `client` reaches; it need not be there yet.
    #[must_use]
    pub const fn new(client: Client, name: KeyName) -> Self {
        Self { client, name }
    }
}

impl Counter for HostCounter {
    fn read(&self) -> Pending<'_, Result<Option<u64>, CounterError>> {
        Box::pin(async {
            match self.client.counter(&self.name).await {
                Ok(reply) => Ok(Some(reply.value)),
                Err(error) if error.code() == Some(Code::NotFound) => Ok(None),
                Err(error) => Err(of_client(&error)),
            }
        })
    }

    fn create(&self) -> Pending<'_, Result<u64, CounterError>> {
        Box::pin(async {
            let request = CreateCounterRequest::default();
            let created = self.client.create_counter(&self.name, &request).await;
            created.map(|reply| reply.value).map_err(|error| of_client(&error))
        })
    }

    fn increment(&self, from: u64) -> Pending<'_, Result<u64, CounterError>> {
        Box::pin(async move {
            match self.client.increment_counter(&self.name, Some(from)).await {
                Ok(reply) => Ok(reply.value),
                // One that was not answered happened after all.
                Err(error) if error.code() == Some(Code::Conflict) => {
                    let found = self.client.counter(&self.name).await;
                    let value = found.map_err(|error| of_client(&error))?.value;
                    (value > from)
                        .then_some(value)
                        .ok_or_else(|| CounterError(format!("it is at {value}, below {from}")))
                }
                Err(error) => Err(of_client(&error)),
            }
        })
    }
}

fn of_client(error: &Error) -> CounterError {
    CounterError(error.to_string())
}
