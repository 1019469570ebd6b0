//! The SAS signer as a daemon, over a real host, through its real socket.
#![expect(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    clippy::panic,
    clippy::needless_pass_by_value,
    reason = "an integration test is one module, and its helpers are tests too"
)]

mod harness;

mod access;
mod audit;
mod bad_input;
mod faults;
mod lifecycle;
mod memory;
mod rollover;
mod sealctl;
mod tokens;
mod verification;
