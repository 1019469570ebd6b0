//! Importing HMAC keys over the socket.
#![expect(clippy::tests_outside_test_module, reason = "an integration test")]

use aws_lc_rs::hmac;
use serde_json::{Value, json};
use tests::{Response, Sealhost, Setup, b64};

/// Imports a key of so many bytes, and compares its MAC with that of another implementation.
#[track_caller]
fn check(host: &Sealhost, bytes: usize) {
    let key: Vec<_> = (1..=255).cycle().take(bytes).collect();
    let name = format!("/v1/keys/of-{bytes}");
    let imported = import(host, &name, json!({"usage": "mac", "key": b64(&key)}));
    assert_eq!(imported.status, 201, "{}", imported.json());
    let record = imported.ok();
    assert_eq!(record["versions"][0]["origin"], "imported-clear");
    assert_eq!(record["usage"], "mac");
    let mac = host.post(&format!("{name}/mac"), json!({"message": b64("message")})).ok();
    let expected = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), b"message");
    assert_eq!(mac["mac"], b64(expected));
    assert_eq!(mac["origin"], "imported-clear");
}

fn import(host: &Sealhost, key: &str, body: Value) -> Response {
    host.post(&format!("{key}/import"), body)
}

const KEY: &str = "/v1/keys/a";

#[test]
fn key_of_one_byte_is_imported() {
    check(&Setup::soft().start(), 1);
}

#[test]
fn key_of_a_block_and_one_byte_more_is_imported() {
    let host = Setup::soft().start();
    check(&host, 64);
    check(&host, 65);
}

#[test]
fn key_at_the_limit_is_imported_and_survives_a_restart() {
    let mut host = Setup::soft().start();
    check(&host, 1024);
    let mac = json!({"message": b64("message")});
    let before = host.post("/v1/keys/of-1024/mac", mac.clone()).text("mac");
    host.restart();
    assert_eq!(host.post("/v1/keys/of-1024/mac", mac).text("mac"), before);
}

#[test]
fn key_one_past_the_limit_is_too_large_and_without_bytes_invalid() {
    let host = Setup::soft().start();
    let body = |bytes| json!({"usage": "mac", "key": b64(vec![7; bytes])});
    import(&host, KEY, body(1025)).problem(413, "too_large");
    import(&host, KEY, body(0)).problem(400, "invalid");
    host.get(KEY).problem(404, "not_found");
}

#[test]
fn key_of_a_taken_name_is_conflict_unless_a_new_version_is_asked_for() {
    let host = Setup::soft().start();
    let _first = import(&host, KEY, json!({"usage": "mac", "key": b64([1; 32])})).ok();
    let second = json!({"usage": "mac", "key": b64([2; 32])});
    import(&host, KEY, second.clone()).problem(409, "conflict");
    let mut second = second;
    second["new_version"] = true.into();
    let reply = import(&host, KEY, second);
    assert_eq!(reply.status, 201);
    let states = [&reply.ok()["versions"][0]["state"], &reply.ok()["versions"][1]["state"]]
        .map(Value::to_string);
    assert_eq!(states, ["\"decrypt-only\"", "\"active\""]);
    let mac = host.post("/v1/keys/a/mac", json!({"message": ""})).ok();
    let expected = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &[2; 32]), b"");
    assert_eq!((mac["version"].as_u64(), &mac["mac"]), (Some(2), &json!(b64(expected))));
}

#[test]
fn new_version_of_a_generated_key_is_imported() {
    let host = Setup::soft().start();
    host.create("a", "mac", "soft");
    let body = json!({"usage": "mac", "key": b64([1; 32]), "new_version": true});
    let record = import(&host, KEY, body).ok();
    assert_eq!(record["versions"][0]["origin"], "generated");
    assert_eq!(record["versions"][1]["origin"], "imported-clear");
}

#[test]
fn new_version_of_no_key_is_not_found() {
    let host = Setup::soft().start();
    let body = json!({"usage": "mac", "key": b64([1; 32]), "new_version": true});
    import(&host, KEY, body).problem(404, "not_found");
}

#[test]
fn new_version_of_a_key_of_another_usage_is_wrong_usage() {
    let host = Setup::soft().start();
    for usage in ["seal", "sign"] {
        host.create(usage, usage, "soft");
        let body = json!({"usage": "mac", "key": b64([1; 32]), "new_version": true});
        import(&host, &format!("/v1/keys/{usage}"), body).problem(400, "wrong_usage");
    }
}

#[test]
fn import_of_a_usage_without_import_is_invalid() {
    let host = Setup::soft().start();
    for usage in ["seal", "sign"] {
        import(&host, KEY, json!({"usage": usage, "key": b64([1; 32])})).problem(400, "invalid");
    }
}

#[test]
fn floor_and_providers_of_a_key_that_is_there_are_invalid() {
    let host = Setup::soft().start();
    host.create("a", "mac", "soft");
    for (field, value) in [("floor", json!("software")), ("providers", json!(["soft"]))] {
        let mut body = json!({"usage": "mac", "key": b64([1; 32]), "new_version": true});
        body[field] = value;
        import(&host, KEY, body).problem(400, "invalid");
    }
}
