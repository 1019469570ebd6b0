//! Whether a full registry or token makes single requests slower.

use std::time::Duration;

use serde_json::json;
use swtpm_fixtures::SoftHsm;
use tests::{Sealhost, b64};

use crate::load;

/// Keys in the registry.
const KEYS: usize = 10_000;
/// Objects in the token.
const OBJECTS: usize = 1_000;
const CONNECTIONS: usize = 16;

/// Measures one key among few, then among many.
pub(crate) fn measure(host: &Sealhost, hsm: &SoftHsm, time: Duration) {
    let seal = json!({"plaintext": b64([7; 64])});
    let mac = json!({"message": b64([7; 64])});
    let measure = || {
        let soft = load::run(host, "/v1/keys/soft-seal/seal", &seal, CONNECTIONS, time);
        let token = load::run(host, "/v1/keys/hsm-mac/mac", &mac, CONNECTIONS, time);
        (soft.per_second, token.per_second)
    };
    let (soft_few, token_few) = measure();
    for number in 0..OBJECTS {
        host.create(&format!("grown-hsm-{number}"), "mac", "hsm");
    }
    for number in 0..KEYS - OBJECTS {
        host.create(&format!("grown-soft-{number}"), "seal", "soft");
    }
    let (soft_many, token_many) = measure();
    println!(
        "\n| growth, {CONNECTIONS} connections | few | {KEYS} keys, {OBJECTS} objects | ratio |"
    );
    println!("|---|---|---|---|");
    println!("| soft seal | {soft_few:.0}/s | {soft_many:.0}/s | {:.2} |", soft_many / soft_few);
    println!(
        "| token mac | {token_few:.0}/s | {token_many:.0}/s | {:.2} |",
        token_many / token_few
    );
    println!("objects in the token: {}", hsm.objects().unwrap());
}
