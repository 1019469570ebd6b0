//! Client library for Sealhost, async ([`Client`]) and blocking ([`blocking::Client`]).
//!
//! A client speaks the API of `docs/api.md` over the host's Unix socket. It connects when it is
//! first used, keeps connections for the next request, and finds the host again after a restart.
//! Before it sends anything it asks the kernel who listens, so that a program of another user
//! cannot pose as the host.
//!
//! What a request can be stands once, in [`Call`]; both clients send it. The methods of the
//! clients are a call, sent, and the value of its reply.
//!
//! # Secrets
//! Plaintexts, keys, messages and MACs are encoded into, and read from, buffers that are wiped
//! when they are freed; no other copy is made. A [`Reply`] and the values in it are wiped when
//! dropped. What a program does with the bytes is its own affair.

pub mod blocking;

mod buffer;
mod call;
mod client;
mod connection;
mod error;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod head;
mod keyd;
mod pool;
mod sas;
mod secrets;

pub use self::call::{Call, Reply};
pub use self::client::Client;
pub use self::error::{ConnectError, ConnectReason, Error, ProtocolError};
pub use self::keyd::{KeyHandle, KeydCiphertext, KeydSignature, KeydUsage};
