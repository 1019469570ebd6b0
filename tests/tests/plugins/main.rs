//! Plugins that misbehave, one fault each, and what the host makes of them; and the good one in C.
#![expect(clippy::unwrap_used, reason = "the helpers of a test fail it as it does itself")]
#![expect(clippy::tests_outside_test_module, reason = "an integration test is a test module")]

mod bench;
mod build;
mod calls;
mod conformance;
mod deaths;
mod files;
mod inline;
mod opening;
mod process;
mod table;
