//! Shared access signatures for Azure IoT Hub, Event Hubs and the device provisioning service,
//! signed by keys that stay in the TPM or HSM of a Sealhost.
//!
//! A request names a profile and its fields; the URI, the string to sign and the token are built
//! here, and only the HMAC is asked of the host. Each step takes what the one before made, and
//! only that step can make it:
//!
//! ```text
//! TokenRequest -> rules::Grant -> token::Unsigned -> (host: HMAC) -> token::Token
//! ```
//!
//! The formats are normative in `docs/sas.md`.
//!
//! # Secrets
//! A token is a secret until it expires, a key's text always. Both are held in memory that is
//! wiped when dropped, and nothing here shows them in `Debug`. The signer never holds a key but
//! while it is imported.
//!
//! The daemon `sas-signer` is in here too: read `pipeline` first, the line that every request
//! walks.

pub mod access;
pub mod cache;
pub mod config;
pub mod connection;
pub mod encode;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod host;
pub mod issued;
pub mod key;
pub mod mac;
pub mod parse;
pub mod resource;
pub mod rules;
pub mod run;
pub mod scope;
pub mod signer;
pub mod slots;
pub mod state;
pub mod token;
pub mod verify;

mod front;
mod metrics;
mod ops;
mod pipeline;
mod request;
