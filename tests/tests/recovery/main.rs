//! Devices, tokens and workers that go and come back under a running host, and secrets of
//! providers that are wrong, gone or sealed: a file for each family.
#![expect(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "integration tests, and what they share"
)]

mod cleared;
mod lockout;
mod pins;
mod roots;
mod sealed_pins;
mod token;
mod tpm;
mod worker;

use std::fs;

use serde_json::json;
use tests::{Response, Sealhost, b64};

fn mac(host: &Sealhost, key: &str) -> Response {
    host.post(&format!("/v1/keys/{key}/mac"), json!({"message": b64("x")}))
}

/// The workers, by the name of their provider.
fn worker_of(host: &Sealhost, provider: &str) -> Option<u32> {
    host.workers().into_iter().find(|pid| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).nth(2) == Some(provider.as_bytes())
    })
}

fn reason(host: &Sealhost, provider: &str) -> String {
    let status = host.provider(provider);
    status["reason"].as_str().unwrap_or_default().to_owned()
}
