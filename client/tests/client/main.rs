//! The client over real Unix sockets, against servers that behave as `docs/api.md` says, and
//! against some that do not.
#![expect(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    clippy::panic,
    reason = "an integration test is one module, and its helpers are tests too"
)]

mod calls;
mod replies;
mod resend;
mod server;
