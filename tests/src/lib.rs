//! The harness of the end-to-end tests: the built daemon on a private directory, real emulators
//! behind it, and a plain HTTP client in front, so that tests can also say what no library would.
//!
//! `cargo build --workspace` comes first; the tests use the binaries beside themselves.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    reason = "a harness that cannot go on has failed its test"
)]

pub mod audit;
mod dice;
pub mod faults;
pub mod http;
mod in_front;
pub mod keyd;
pub mod ledger;
mod process;
mod rounds;
pub mod sealhost;
pub mod secrets;
pub mod shim;
pub mod traces;
pub mod user;

pub use dice::Dice;
pub use http::{Response, b64};
pub use rounds::rounds;
pub use sealhost::{Sealhost, Setup};
pub use secrets::{SecretManager, SecretSetup};
pub use shim::Shim;
pub use user::User;
