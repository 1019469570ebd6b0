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

pub mod cache;
pub mod connection;
pub mod encode;
pub mod host;
pub mod issued;
pub mod key;
pub mod mac;
pub mod parse;
pub mod resource;
pub mod rules;
pub mod scope;
pub mod signer;
pub mod slots;
pub mod token;
pub mod verify;
