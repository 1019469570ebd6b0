//! What Sealhost clients and the host share: API types, error codes, names and limits, and the
//! envelope and audit formats with their cryptography over values that the caller gives.
//!
//! Nothing here opens a file or a socket, starts a thread, reads a clock or draws randomness.
//! The formats are normative in `docs/envelope.md`, `docs/api.md` and `docs/audit.md`.

pub mod api;
pub mod audit;
pub mod code;
pub mod context;
pub mod envelope;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod keyd;
pub mod limits;
pub mod name;
pub mod sas;
pub mod secrets;

mod cbor;
mod stack;

pub use stack::burn_stack;
