//! Key changes that their device did not carry through: the caller hears of the device, and the
//! key is as if nothing had been asked, but for its number.
#![expect(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    reason = "integration tests, and what they share"
)]

use serde_json::{Value, json};
use swtpm_fixtures::Swtpm;
use tests::{Sealhost, Setup};

/// Asks for a change of key `a` while the device is silent: `timeout`, in the audit too. Then the
/// device comes back; returns the host when its provider is open again.
#[track_caller]
fn check(prepare: impl FnOnce(&Sealhost), target: &str, body: Value) -> (Sealhost, Swtpm) {
    let mut swtpm = Swtpm::start().unwrap();
    let provider = format!(
        "name = \"tpm\"\nplugin = \"provider_tpm\"\n[provider.settings]\ntcti = \"{}\"\n\
         [provider.deadlines]\ngenerate = \"3s\"\n",
        swtpm.tcti()
    );
    let host = Setup::default().with_provider(&provider).start();
    prepare(&host);
    swtpm.suspend().unwrap();
    let reply = host.post(target, body);
    let problem = reply.problem(504, "timeout");
    assert_eq!((&problem["key"], &problem["provider"]), (&json!("a"), &json!("tpm")));
    assert_eq!(host.audit_of(reply.id())[1]["outcome"], "timeout");
    swtpm.resume().unwrap();
    host.wait_until("the way back", |host| host.provider("tpm")["state"] == "open");
    (host, swtpm)
}

fn numbers(record: &Value) -> Vec<u64> {
    let versions = record["versions"].as_array().unwrap().iter();
    versions.map(|version| version["version"].as_u64().unwrap()).collect()
}

#[test]
fn key_whose_making_timed_out_is_not_there_and_can_be_made() {
    let (host, _swtpm) = check(|_host| (), "/v1/keys/a", json!({"usage": "mac"}));
    host.get("/v1/keys/a").problem(404, "not_found");
    assert_eq!(numbers(&host.create("a", "mac", "tpm")), [1]);
    let recovered = |line: &Value| line["kind"] == "recovered" && line["key"] == "a";
    assert!(host.verified_audit().iter().any(recovered));
}

#[test]
fn key_whose_rotation_timed_out_goes_on_as_it_was() {
    let make = |host: &Sealhost| drop(host.create("a", "mac", "tpm"));
    let (host, _swtpm) = check(make, "/v1/keys/a/rotate", json!({}));
    assert_eq!(numbers(&host.get("/v1/keys/a").ok()), [1]);
    assert_eq!(host.post("/v1/keys/a/mac", json!({"message": ""})).ok()["version"], 1);
    assert_eq!(numbers(&host.post("/v1/keys/a/rotate", json!({})).ok()).len(), 2);
}

#[test]
fn numbers_of_a_destroyed_key_are_not_used_again_after_a_failed_making() {
    let make_and_destroy = |host: &Sealhost| {
        host.create("a", "mac", "tpm");
        let _gone = host.delete("/v1/keys/a?confirm=a").ok();
    };
    let (host, _swtpm) = check(make_and_destroy, "/v1/keys/a", json!({"usage": "mac"}));
    let again = host.create("a", "mac", "tpm");
    assert!(numbers(&again)[0] > 1, "version 1 is another key's: {again}");
}
