//! What both sides of the Sealhost plugin boundary share: the contract of a crypto provider.
//!
//! A provider keeps long-term keys in one device. It knows nothing of sockets, principals,
//! envelopes or audit; the host knows nothing of TPMs or tokens. Between them stand:
//!
//! - [`Provider`], the trait that a provider written in Rust implements;
//! - [`key`], the names, numbers and limits that cross the boundary as plain data;
//! - [`needs`], what a provider asks of the machine;
//! - [`condition`], what a device says of failed authorizations;
//! - [`error`], the closed list of ways in which a call fails;
//! - [`abi`], the same contract as C types (`sealhost_provider.h`, `docs/abi.md`), with
//!   [`export`] on the plugin's side and [`call`] on the caller's;
//! - [`conformance`], one function that runs the whole contract against a provider.
//!
//! Nothing here touches files, sockets, threads, the clock or a crypto library.

pub mod abi;
pub mod call;
pub mod condition;
pub mod conformance;
pub mod error;
pub mod export;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod key;
pub mod needs;
pub mod provider;
pub mod secret;
pub mod settings;

pub use condition::{Condition, Standing};
pub use error::{ErrorKind, ProviderError, Result};
pub use key::{
    AeadInput, Algorithm, AuthSubject, Capabilities, CounterRef, Identity, Info, KeyBlob, KeyId,
    KeyRef, KeySpec, Mac, Protection, PublicKey, RsaModulus, RsaResult, Signature, StateBinding,
    Usage,
};
pub use needs::{Need, Needs};
pub use provider::Provider;
pub use secret::SecretBytes;
pub use settings::{Secrets, Settings};

#[doc(hidden)]
pub use zeroizing_alloc::ZeroAlloc;
