//! Whether a full registry or token makes single requests slower.

use std::time::Duration;

use serde_json::{Value, json};
use swtpm_fixtures::SoftHsm;
use tests::{Sealhost, b64};

use crate::{bare, load};

/// Keys in the registry.
const KEYS: usize = 10_000;
/// Objects in the token.
const OBJECTS: usize = 1_000;
const CONNECTIONS: usize = 16;

/// Requests a second, and what the bare loop makes of the same device in the same minute.
struct Figure {
    host: f64,
    /// CPU time of host and workers for each request, microseconds.
    cpu_us: f64,
    bare: f64,
}

impl Figure {
    /// The ratio of two shares of the bare loop, which a machine that drifts changes less.
    fn growth(&self, before: &Self) -> f64 {
        (self.host / self.bare) / (before.host / before.bare)
    }
}

/// Measures one key among few, then among many.
pub(crate) fn measure(host: &Sealhost, hsm: &SoftHsm, time: Duration) {
    let seal = json!({"plaintext": b64([7; 64])});
    let mac = json!({"message": b64([7; 64])});
    let figure = |bare: f64, target: &str, body: &Value| {
        let measured = load::run(host, target, body, CONNECTIONS, time);
        let cpu_us = measured.cpu_us.iter().sum();
        Figure { host: measured.per_second, cpu_us, bare }
    };
    let soft = || figure(bare::software(time), "/v1/keys/soft-seal/seal", &seal);
    let token = || figure(bare::token(hsm, bare::Work::Sign, time), "/v1/keys/hsm-mac/mac", &mac);
    let (soft_few, token_few) = (soft(), token());
    for number in 0..OBJECTS {
        host.create(&format!("grown-hsm-{number}"), "mac", "hsm");
    }
    for number in 0..KEYS - OBJECTS {
        host.create(&format!("grown-soft-{number}"), "seal", "soft");
    }
    let (soft_many, token_many) = (soft(), token());
    println!(
        "\n| growth, {CONNECTIONS} connections | few | {KEYS} keys, {OBJECTS} objects | ratio | CPU µs then and now | bare loop then and now | ratio of the shares |"
    );
    println!("|---|---|---|---|---|---|---|");
    for (what, few, many) in
        [("soft seal", &soft_few, &soft_many), ("token mac", &token_few, &token_many)]
    {
        println!(
            "| {what} | {:.0}/s | {:.0}/s | {:.2} | {:.1}, {:.1} | {:.0}/s, {:.0}/s | {:.2} |",
            few.host,
            many.host,
            many.host / few.host,
            few.cpu_us,
            many.cpu_us,
            few.bare,
            many.bare,
            many.growth(few),
        );
    }
    println!("objects in the token: {}", hsm.objects().unwrap());
}
