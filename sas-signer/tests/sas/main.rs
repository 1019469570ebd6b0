//! The signer over a local HMAC: vectors, verification, tokens.
#![expect(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    reason = "an integration test is one module, and its helpers are tests too"
)]

mod local;
mod tokens;
mod vectors;
mod verification;
