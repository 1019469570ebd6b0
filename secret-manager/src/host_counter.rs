//! The counter of a store, kept by the host: in the TPM where there is one, else in its registry.

use sealhost_client::{Client, Error};
use wire::api::CreateCounterRequest;
use wire::code::Code;
use wire::name::KeyName;

use crate::counter::{Counter, CounterError};
use crate::pending::Pending;

/// A counter of the host that `client` reaches.
#[derive(Clone, Debug)]
pub struct HostCounter {
    client: Client,
    name: KeyName,
}

impl HostCounter {
    /// The counter of this name.
    #[must_use]
    pub const fn new(client: Client, name: KeyName) -> Self {
        Self { client, name }
    }

    async fn value(&self) -> Result<Option<u64>, CounterError> {
        match self.client.counter(&self.name).await {
            Ok(reply) => Ok(Some(reply.value)),
            Err(error) if error.code() == Some(Code::NotFound) => Ok(None),
            Err(error) => Err(failed(&error)),
        }
    }
}

impl Counter for HostCounter {
    fn read(&self) -> Pending<'_, Result<Option<u64>, CounterError>> {
        Box::pin(self.value())
    }

    fn create(&self) -> Pending<'_, Result<u64, CounterError>> {
        Box::pin(async {
            let request = CreateCounterRequest::default();
            let made = self.client.create_counter(&self.name, &request).await;
            Ok(made.map_err(|error| failed(&error))?.value)
        })
    }

    /// Between the look and the raise nobody else raises it: one daemon has the store, and a rule
    /// of the host lets that daemon alone raise its counter.
    fn increment(&self, from: u64) -> Pending<'_, Result<u64, CounterError>> {
        Box::pin(async move {
            match self.value().await? {
                Some(value) if value == from => {}
                Some(value) => {
                    return Err(CounterError(format!("it is at {value}, not at {from}")));
                }
                None => return Err(CounterError("it is not there".to_owned())),
            }
            let raised = self.client.increment_counter(&self.name).await;
            Ok(raised.map_err(|error| failed(&error))?.value)
        })
    }
}

fn failed(error: &Error) -> CounterError {
    CounterError(error.to_string())
}
