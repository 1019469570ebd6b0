//! TPM commands for each request, counted by a proxy through the whole host.
#![expect(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    reason = "integration tests, and what they share"
)]

use std::collections::BTreeMap;

use serde_json::{Value, json};
use swtpm_fixtures::{CommandCounter, Swtpm};
use tests::{Sealhost, Setup, b64};

/// Command codes (TPM 2.0 Part 2, table 12).
const HMAC: u32 = 0x155;
const SIGN: u32 = 0x15D;
const POLICY_PCR: u32 = 0x17F;

/// Makes a key, prepares a request with it, sends that once so that the key is loaded, and then
/// counts what two more take.
fn check(key: &Value, prepare: impl Fn(&Sealhost) -> (String, Value), expected: &[(u32, u64)]) {
    let swtpm = Swtpm::start().unwrap();
    let counter = CommandCounter::in_front_of(&swtpm).unwrap();
    let host = Setup::default().with_tpm_at(&counter.tcti()).with_soft().start();
    host.post("/v1/keys/a", key.clone()).done();
    let (target, body) = prepare(&host);
    host.post(&target, body.clone()).done();
    counter.reset();
    for _ in 0..2 {
        host.post(&target, body.clone()).done();
    }
    let expected: BTreeMap<_, _> =
        expected.iter().map(|&(command, count)| (command, 2 * count)).collect();
    assert_eq!(counter.counts(), expected);
}

fn seal(_: &Sealhost) -> (String, Value) {
    ("/v1/keys/a/seal".into(), json!({"plaintext": b64("x")}))
}

fn unseal(host: &Sealhost) -> (String, Value) {
    ("/v1/keys/a/unseal".into(), json!({"sealed": host.seal("a", "x")}))
}

fn rewrap(host: &Sealhost) -> (String, Value) {
    ("/v1/keys/a/rewrap".into(), json!({"sealed": host.seal("a", "x")}))
}

fn mac(_: &Sealhost) -> (String, Value) {
    ("/v1/keys/a/mac".into(), json!({"message": b64("x")}))
}

fn verify(host: &Sealhost) -> (String, Value) {
    let (target, body) = mac(host);
    let mac = host.post(&target, body).text("mac");
    ("/v1/keys/a/verify".into(), json!({"message": b64("x"), "mac": mac, "version": 1}))
}

fn sign(_: &Sealhost) -> (String, Value) {
    ("/v1/keys/a/sign".into(), json!({"digest": b64([1; 32])}))
}

#[test]
fn seal_is_one_command() {
    check(&json!({"usage": "seal"}), seal, &[(HMAC, 1)]);
}

#[test]
fn unseal_is_one_command() {
    check(&json!({"usage": "seal"}), unseal, &[(HMAC, 1)]);
}

#[test]
fn rewrap_is_two_commands() {
    check(&json!({"usage": "seal"}), rewrap, &[(HMAC, 2)]);
}

#[test]
fn mac_is_one_command() {
    check(&json!({"usage": "mac"}), mac, &[(HMAC, 1)]);
}

#[test]
fn verify_is_one_command() {
    check(&json!({"usage": "mac"}), verify, &[(HMAC, 1)]);
}

#[test]
fn sign_is_one_command() {
    check(&json!({"usage": "sign"}), sign, &[(SIGN, 1)]);
}

#[test]
fn bound_key_takes_one_command_more() {
    let seal_key = json!({"usage": "seal", "pcrs": {"sha256": [7, 11]}});
    check(&seal_key, seal, &[(HMAC, 1), (POLICY_PCR, 1)]);
    check(&seal_key, unseal, &[(HMAC, 1), (POLICY_PCR, 1)]);
    let mac_key = json!({"usage": "mac", "pcrs": {"sha256": [7]}});
    check(&mac_key, mac, &[(HMAC, 1), (POLICY_PCR, 1)]);
    let sign_key = json!({"usage": "sign", "pcrs": {"sha256": [7]}});
    check(&sign_key, sign, &[(SIGN, 1), (POLICY_PCR, 1)]);
}

#[test]
fn batch_takes_one_command_an_item() {
    let batch = |_: &Sealhost| {
        let items: Vec<_> = (0..10).map(|_| json!({"plaintext": b64("x")})).collect();
        ("/v1/keys/a/seal".into(), json!({"items": items}))
    };
    check(&json!({"usage": "seal"}), batch, &[(HMAC, 10)]);
}

#[test]
fn requests_that_need_no_key_take_no_command() {
    let swtpm = Swtpm::start().unwrap();
    let counter = CommandCounter::in_front_of(&swtpm).unwrap();
    let host = Setup::default().with_tpm_at(&counter.tcti()).start();
    host.create("a", "sign", "tpm");
    host.get("/v1/keys/a/public").done();
    let sealed = {
        host.create("b", "seal", "tpm");
        host.seal("b", "x")
    };
    counter.reset();
    for target in
        ["/v1/status", "/v1/providers", "/metrics", "/v1/keys", "/v1/keys/a", "/v1/keys/a/public"]
    {
        assert_eq!(host.get(target).status, 200, "{target}");
    }
    let refused = host.post("/v1/keys/a/seal", json!({"plaintext": b64("x")}));
    refused.problem(400, "wrong_usage");
    host.post("/v1/keys/nobody/seal", json!({"plaintext": b64("x")})).problem(404, "not_found");
    let cut = &sealed[..sealed.len() - 4];
    assert_eq!(host.unseal("b", cut).status, 400);
    assert_eq!(counter.counts(), BTreeMap::new());
}

#[test]
fn edited_envelope_takes_no_more_than_a_good_one() {
    let edited = |host: &Sealhost| {
        // Only the first is good, so that the loop above may load the key.
        ("/v1/keys/a/unseal".into(), {
            let sealed = host.seal("a", "x");
            let mut wrong = sealed.clone().into_bytes();
            let last = wrong.len() - 10;
            wrong[last] = if wrong[last] == b'A' { b'B' } else { b'A' };
            let wrong = String::from_utf8(wrong).unwrap();
            json!({"items": [{"sealed": sealed}, {"sealed": wrong}]})
        })
    };
    check(&json!({"usage": "seal"}), edited, &[(HMAC, 2)]);
}
