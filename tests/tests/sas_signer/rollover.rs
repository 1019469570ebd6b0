//! Keys: import, the two slots, rotation (S9, S10).

use serde_json::{Value, json};

use crate::harness::{K1, K2, Signer};

fn valid(signer: &Signer, token: &Value) -> bool {
    signer.post("/v1/verify", json!({"token": token["token"], "key": "dev"})).ok()["valid"] == true
}

#[test]
fn import_says_where_the_key_went() {
    let signer = Signer::start_soft();
    let body =
        json!({"connection_string": format!("HostName=h.net;DeviceId=d;SharedAccessKey={K1}")});
    let reply = signer.post("/v1/keys/line1%2Fdev/import", body);
    let expected = json!({
        "key": "line1/dev", "slot": "primary", "active": "primary",
        "host_key": "sas/line1/dev/primary", "version": 1, "provider": "soft",
        "protection": "software", "origin": "imported-clear",
    });
    assert_eq!((reply.status, reply.ok()), (201, expected));
    let record = signer.get("/v1/keys/line1%2Fdev").ok();
    assert_eq!(
        (&record["active"], record["slots"].as_array().map(Vec::len)),
        (&json!("primary"), Some(1))
    );
}

#[test]
fn s9_key_of_iot_hub_that_is_no_base64_is_refused_and_taken_for_event_hubs() {
    let signer = Signer::start_soft();
    let body = |form: &str, key: &str| json!({"key": key, "form": form});
    for key in ["no base64!", "", "AAECAw=="] {
        signer.post("/v1/keys/k/import", body("decoded", key)).problem(400, "invalid");
    }
    signer.post("/v1/keys/k/import", body("raw", "")).problem(400, "invalid");
    signer.get("/v1/keys/k").problem(404, "not_found");
    signer.post("/v1/keys/k/import", body("raw", "no base64!")).done();
}

#[test]
fn s10_old_tokens_are_good_after_rotation_until_their_key_is_removed() {
    let signer = Signer::start_soft();
    signer.import("dev", K1, "primary");
    signer.import("dev", K2, "secondary");
    let old = signer.token("dev", json!({})).ok();
    let rotated = signer.post("/v1/keys/dev/rotate", json!({})).ok();
    assert_eq!(rotated, json!({"key": "dev", "active": "secondary"}));
    let new = signer.token("dev", json!({})).ok();
    assert_eq!((&old["slot"], &new["slot"]), (&json!("primary"), &json!("secondary")));
    assert_ne!(old["token"], new["token"]);
    assert!(valid(&signer, &old) && valid(&signer, &new));
    signer.host.delete("/v1/keys/sas%2Fdev%2Fprimary?confirm=sas%2Fdev%2Fprimary").done();
    assert!(!valid(&signer, &old) && valid(&signer, &new));
}

#[test]
fn s10_key_that_is_replaced_ends_its_tokens_and_its_cached_ones() {
    let signer = Signer::start_soft();
    signer.import("dev", K1, "primary");
    let old = signer.token("dev", json!({})).ok();
    let body = json!({"key": K2, "form": "decoded"});
    signer.post("/v1/keys/dev/import", body.clone()).problem(409, "conflict");
    assert!(valid(&signer, &old));
    let mut body = body;
    body["replace"] = true.into();
    assert_eq!(signer.post("/v1/keys/dev/import", body).ok()["version"], 2);
    let new = signer.token("dev", json!({})).ok();
    assert_eq!((&new["version"], &new["from_cache"]), (&json!(2), &json!(false)));
    assert!(!valid(&signer, &old) && valid(&signer, &new));
}

#[test]
fn rotation_to_a_slot_without_a_key_is_conflict_and_changes_nothing() {
    let signer = Signer::start_soft();
    signer.import("dev", K1, "primary");
    signer.post("/v1/keys/dev/rotate", json!({})).problem(409, "conflict");
    assert_eq!(signer.token("dev", json!({})).ok()["slot"], "primary");
    signer.post("/v1/keys/none/rotate", json!({})).problem(409, "conflict");
}

#[test]
fn rotation_to_a_named_slot_may_be_asked_twice() {
    let signer = Signer::start_soft();
    signer.import("dev", K1, "primary");
    signer.import("dev", K2, "secondary");
    for _ in 0..2 {
        let reply = signer.post("/v1/keys/dev/rotate", json!({"to": "secondary"})).ok();
        assert_eq!(reply["active"], "secondary");
    }
    assert_eq!(signer.post("/v1/keys/dev/rotate", json!({})).ok()["active"], "primary");
}

#[test]
fn rotation_survives_a_restart_and_a_kill() {
    let mut signer = Signer::start_soft();
    signer.import("dev", K1, "primary");
    signer.import("dev", K2, "secondary");
    signer.post("/v1/keys/dev/rotate", json!({})).done();
    assert!(signer.stop().success());
    signer.start();
    assert_eq!(signer.token("dev", json!({})).ok()["slot"], "secondary");
    signer.post("/v1/keys/dev/rotate", json!({})).done();
    signer.kill();
    signer.start();
    assert_eq!(signer.token("dev", json!({})).ok()["slot"], "primary");
}
