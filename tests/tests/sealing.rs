//! Sealing and unsealing through the socket, on each of the three providers.
#![expect(clippy::tests_outside_test_module, reason = "an integration test")]

use serde_json::json;
use swtpm_fixtures::{SoftHsm, Swtpm};
use tests::{Sealhost, Setup, b64};

/// Seals, restarts the host, unseals, on the key's provider.
fn check(host: &mut Sealhost, provider: &str, protection: &str) {
    host.create("a", "seal", provider);
    let body = json!({"plaintext": b64("correct horse"), "context": {"app": "web"}});
    let sealed = host.post("/v1/keys/a/seal", body).ok();
    assert_eq!(sealed["provider"], provider);
    assert_eq!(sealed["protection"], protection);
    assert_eq!(sealed["fallback"], false);
    host.restart();
    let body = json!({"sealed": sealed["sealed"], "context": {"app": "web"}});
    let unsealed = host.post("/v1/keys/a/unseal", body).ok();
    assert_eq!(unsealed["plaintext"], b64("correct horse"));
    assert_eq!(unsealed["protection"], protection);
}

#[test]
fn secret_sealed_in_software_unseals_after_a_restart() {
    check(&mut Setup::soft().start(), "soft", "software");
}

#[test]
fn secret_sealed_in_software_behind_a_worker_unseals_after_a_restart() {
    check(&mut Setup::default().with_soft_worker("soft").start(), "soft", "software");
}

#[test]
fn secret_sealed_by_a_tpm_unseals_after_a_restart() {
    let swtpm = Swtpm::start().unwrap();
    check(&mut Setup::default().with_tpm(&swtpm).start(), "tpm", "emulated");
}

#[test]
fn secret_sealed_by_a_token_unseals_after_a_restart() {
    let hsm = SoftHsm::start("edge", "1234").unwrap();
    check(&mut Setup::default().with_hsm(&hsm).start(), "hsm", "emulated");
}
