//! The TPM provider on real emulators: what the contract does not say but the design does.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "the helpers of a test fail it as it does itself"
)]
#![expect(clippy::tests_outside_test_module, reason = "an integration test is a test module")]

mod aead;
mod bus;
mod commands;
mod counters;
mod import;
mod keys;
mod lockout;
mod persist;
mod recovery;
mod rsa;
mod srk;
mod state;
mod support;
