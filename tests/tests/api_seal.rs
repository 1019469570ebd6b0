//! Sealing, unsealing and rewrapping over the socket.
#![expect(clippy::tests_outside_test_module, reason = "an integration test")]

use serde_json::{Value, json};
use tests::{Sealhost, Setup, b64};
use wire::envelope::Envelope;

/// Seals and unseals with these contexts; the code of the refusal, or none when it opens.
#[track_caller]
fn check(sealed_with: &Value, opened_with: &Value, refused: Option<&str>) {
    let host = host_with_key();
    let body = json!({"plaintext": b64("text"), "context": sealed_with});
    let sealed = host.post("/v1/keys/a/seal", body).text("sealed");
    let body = json!({"sealed": sealed, "context": opened_with});
    let reply = host.post("/v1/keys/a/unseal", body);
    match refused {
        None => assert_eq!(reply.text("plaintext"), b64("text")),
        Some(code) => drop(reply.problem(400, code)),
    }
}

fn host_with_key() -> Sealhost {
    let host = Setup::soft().start();
    host.create("a", "seal", "soft");
    host
}

fn rewrap(host: &Sealhost, sealed: &str) -> tests::Response {
    host.post("/v1/keys/a/rewrap", json!({"sealed": sealed}))
}

#[test]
fn replies_say_what_was_used() {
    let host = host_with_key();
    let mut sealed = host.post("/v1/keys/a/seal", json!({"plaintext": b64("text")})).ok();
    let text = sealed["sealed"].take();
    assert!(text.as_str().unwrap().starts_with("sealhost:1:"), "{text}");
    let expected = json!({
        "sealed": null, "key": "a", "version": 1, "provider": "soft", "protection": "software",
        "origin": "generated", "fallback": false,
    });
    assert_eq!(sealed, expected);
    let unsealed = host.post("/v1/keys/a/unseal", json!({"sealed": text})).ok();
    let expected = json!({
        "plaintext": b64("text"), "key": "a", "version": 1, "provider": "soft",
        "protection": "software", "origin": "generated",
    });
    assert_eq!(unsealed, expected);
}

#[test]
fn empty_plaintext_is_sealed() {
    let host = host_with_key();
    let sealed = host.seal("a", "");
    assert_eq!(host.unseal("a", &sealed).text("plaintext"), "");
}

#[test]
fn equal_plaintexts_are_sealed_to_different_envelopes() {
    let host = host_with_key();
    assert_ne!(host.seal("a", "text"), host.seal("a", "text"));
}

#[test]
fn context_in_another_order_opens() {
    check(&json!({"app": "web", "env": "x"}), &json!({"env": "x", "app": "web"}), None);
}

#[test]
fn empty_context_is_no_context() {
    check(&json!({}), &Value::Null, None);
    check(&Value::Null, &json!({}), None);
}

#[test]
fn another_context_is_integrity() {
    check(&json!({"app": "web"}), &json!({"app": "mail"}), Some("integrity"));
    check(&json!({"app": "web"}), &json!({}), Some("integrity"));
    check(&json!({}), &json!({"app": "web"}), Some("integrity"));
    check(&json!({"app": "web"}), &json!({"app": "web", "more": ""}), Some("integrity"));
    check(&json!({"ab": "c"}), &json!({"a": "bc"}), Some("integrity"));
}

#[test]
fn envelope_of_another_key_is_invalid_and_tells_nothing() {
    let host = host_with_key();
    host.create("b", "seal", "soft");
    let sealed = host.seal("a", "text");
    let problem = host.unseal("b", &sealed).problem(400, "invalid");
    assert_eq!(problem["key"], "b");
}

#[test]
fn envelope_of_the_same_name_on_another_host_is_integrity() {
    let (host, other) = (host_with_key(), host_with_key());
    other.unseal("a", &host.seal("a", "text")).problem(400, "integrity");
}

#[test]
fn rewrap_moves_to_the_active_version_and_keeps_the_payload() {
    let host = host_with_key();
    let body = json!({"plaintext": b64("text"), "context": {"app": "web"}});
    let old = host.post("/v1/keys/a/seal", body).text("sealed");
    let _rotated = host.post("/v1/keys/a/rotate", json!({})).ok();
    let mut reply = rewrap(&host, &old).ok();
    let new = reply["sealed"].take();
    let expected = json!({
        "sealed": null, "key": "a", "version": 2, "provider": "soft", "protection": "software",
        "origin": "generated", "fallback": false,
    });
    assert_eq!(reply, expected);
    let opened = json!({"sealed": new, "context": {"app": "web"}});
    let opened = host.post("/v1/keys/a/unseal", opened).ok();
    assert_eq!((&opened["plaintext"], &opened["version"]), (&json!(b64("text")), &json!(2)));
    host.post("/v1/keys/a/unseal", json!({"sealed": new})).problem(400, "integrity");

    let (old, new) = (Envelope::parse_text(&old), Envelope::parse_text(new.as_str().unwrap()));
    let (old, new) = (old.unwrap().encode(), new.unwrap().encode());
    // Nonce, ciphertext and tag: all but the 34 bytes of the header MAC at the end.
    let payload =
        |envelope: &[u8]| envelope[envelope.len() - 34 - 34..envelope.len() - 34].to_vec();
    assert_eq!(payload(&old), payload(&new));
    assert_ne!(old, new);
}

#[test]
fn rewrap_of_the_active_version_wraps_anew() {
    let host = host_with_key();
    let old = host.seal("a", "text");
    let new = rewrap(&host, &old).text("sealed");
    assert_ne!(old, new);
    assert_eq!(host.unseal("a", &new).text("plaintext"), b64("text"));
    assert_eq!(host.unseal("a", &old).text("plaintext"), b64("text"));
}

/// A key whose first version is on a provider stated to be hardware, the second in software.
fn host_with_lower_active_version() -> (Sealhost, String) {
    let high = "name = \"high\"\nplugin = \"provider_soft\"\nprotection = \"hardware\"\n";
    let setup = Setup::soft().with_provider(high).with_order(&["high", "soft"]);
    let mut host = setup.start();
    let created = host.post("/v1/keys/a", json!({"usage": "seal"})).ok();
    assert_eq!(created["versions"][0]["protection"], "hardware");
    let sealed = host.seal("a", "text");
    host.reconfigure(|setup| setup.with_order(&["soft", "high"]));
    host.restart();
    let rotated = host.post("/v1/keys/a/rotate", json!({})).ok();
    assert_eq!(rotated["versions"][1]["protection"], "software");
    (host, sealed)
}

#[test]
fn rewrap_to_lower_protection_is_conflict_unless_allowed() {
    let (host, sealed) = host_with_lower_active_version();
    rewrap(&host, &sealed).problem(409, "conflict");
    let refused = json!({"sealed": sealed, "allow_lower": false});
    host.post("/v1/keys/a/rewrap", refused).problem(409, "conflict");
    let allowed = json!({"sealed": sealed, "allow_lower": true});
    let moved = host.post("/v1/keys/a/rewrap", allowed).ok();
    assert_eq!((&moved["version"], &moved["protection"]), (&json!(2), &json!("software")));
    assert_eq!(host.unseal("a", &sealed).ok()["protection"], "hardware");
}

#[test]
fn rewrap_to_higher_protection_needs_no_leave() {
    let (mut host, _sealed) = host_with_lower_active_version();
    let low = host.seal("a", "text");
    host.reconfigure(|setup| setup.with_order(&["high", "soft"]));
    host.restart();
    let _rotated = host.post("/v1/keys/a/rotate", json!({})).ok();
    assert_eq!(rewrap(&host, &low).ok()["protection"], "hardware");
}

#[test]
fn rewrap_of_an_envelope_of_another_key_is_invalid() {
    let host = host_with_key();
    host.create("b", "seal", "soft");
    let sealed = host.seal("b", "text");
    rewrap(&host, &sealed).problem(400, "invalid");
}
