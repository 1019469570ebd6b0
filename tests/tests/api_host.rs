//! What the host tells of itself over the socket: random, status, providers, retry, metrics.
#![expect(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    reason = "integration tests, and what they share"
)]

use serde_json::{Value, json};
use tests::http::bytes;
use tests::{Sealhost, Setup};

/// Draws so many bytes and looks at how many came.
#[track_caller]
fn check(host: &Sealhost, length: usize) {
    let mut reply = host.post("/v1/random", json!({"bytes": length})).ok();
    assert_eq!(bytes(&reply["random"].take()).len(), length);
    assert_eq!(reply, json!({"random": null, "provider": "soft", "protection": "software"}));
}

fn counted(host: &Sealhost, line: &str) -> bool {
    let metrics = host.get("/metrics");
    let text = String::from_utf8(metrics.body).unwrap();
    text.lines().any(|found| found == line)
}

#[test]
fn random_bytes_at_the_limits_are_drawn() {
    let host = Setup::soft().start();
    check(&host, 1);
    check(&host, 1024);
    let draw = || host.post("/v1/random", json!({"bytes": 32})).text("random");
    assert_ne!(draw(), draw());
}

#[test]
fn random_bytes_past_the_limits_are_refused() {
    let host = Setup::soft().start();
    host.post("/v1/random", json!({"bytes": 0})).problem(400, "invalid");
    host.post("/v1/random", json!({"bytes": 1025})).problem(413, "too_large");
    for bytes in [json!(-1), json!(1.5), json!("16"), Value::Null] {
        host.post("/v1/random", json!({"bytes": bytes})).problem(400, "malformed");
    }
}

#[test]
fn random_bytes_come_from_the_first_open_provider_of_the_order() {
    let setup = Setup::soft().with_soft_worker("worker").with_order(&["worker", "soft"]);
    let host = setup.start();
    assert_eq!(host.post("/v1/random", json!({"bytes": 1})).ok()["provider"], "worker");
}

#[test]
fn status_has_version_order_floor_and_providers() {
    let setup = Setup::soft().with_soft_worker("worker").with_order(&["worker", "soft"]);
    let host = setup.start();
    let status = host.get("/v1/status").ok();
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(
        (&status["order"], &status["floor"]),
        (&json!(["worker", "soft"]), &json!("software"))
    );
    assert!(status["started_at"].as_str().unwrap().ends_with('Z'));
    assert_eq!(status["providers"].as_array().unwrap().len(), 2);
    assert_eq!(status["providers"], host.get("/v1/providers").ok()["providers"]);
    for provider in status["providers"].as_array().unwrap() {
        assert_eq!((&provider["state"], &provider["kind"]), (&json!("open"), &json!("soft")));
        assert_eq!(provider["protection"], "software");
        assert_eq!(provider["fallback_active"], false);
        for capability in ["seal", "mac", "import-mac", "sign"] {
            let known = provider["capabilities"].as_array().unwrap();
            assert!(known.contains(&json!(capability)), "{provider}");
        }
    }
}

#[test]
fn generation_rises_with_each_key_change_and_with_nothing_else() {
    let host = Setup::soft().start();
    let generation = || host.get("/v1/status").ok()["generation"].as_u64().unwrap();
    let first = generation();
    host.create("a", "seal", "soft");
    let second = generation();
    assert!(second > first);
    let sealed = host.seal("a", "text");
    let _opened = host.unseal("a", &sealed).ok();
    host.post("/v1/keys/a", json!({"usage": "seal"})).problem(409, "conflict");
    assert_eq!(generation(), second);
    let _gone = host.delete("/v1/keys/a?confirm=a").ok();
    assert!(generation() > second);
}

#[test]
fn protection_stated_by_the_operator_is_told_as_stated() {
    let stated = "name = \"chip\"\nplugin = \"provider_soft\"\nprotection = \"hardware\"\n";
    let host = Setup::default().with_provider(stated).with_floor("hardware").start();
    let provider = host.provider("chip");
    assert_eq!(provider["protection"], "hardware");
    let notes = provider["notes"].as_array().unwrap();
    assert!(notes.iter().any(|note| note.as_str().unwrap().contains("configuration")), "{notes:?}");
}

#[test]
fn retry_of_an_open_provider_tells_its_state() {
    let host = Setup::soft().start();
    let reply = host.post("/v1/providers/soft/retry", json!({})).ok();
    assert_eq!(reply, host.provider("soft"));
}

#[test]
fn retry_of_an_unknown_provider_is_not_found_and_of_a_bad_name_invalid() {
    let host = Setup::soft().start();
    host.post("/v1/providers/tpm/retry", json!({})).problem(404, "not_found");
    host.post("/v1/providers/TPM/retry", json!({})).problem(400, "invalid");
}

#[test]
fn metrics_count_what_was_done_and_how_it_ended() {
    let host = Setup::soft().start();
    host.create("a", "seal", "soft");
    let sealed = host.seal("a", "text");
    let _other = host.seal("a", "text");
    let _opened = host.unseal("a", &sealed).ok();
    host.unseal("b", &sealed).problem(404, "not_found");
    host.get("/v1/nothing").problem(404, "not_found");
    let metrics = host.get("/metrics");
    assert_eq!(metrics.status, 200);
    assert!(metrics.header("content-type").unwrap().contains("openmetrics-text"));
    for line in [
        "sealhost_requests_total{api=\"native\",operation=\"create\",outcome=\"ok\"} 1",
        "sealhost_requests_total{api=\"native\",operation=\"seal\",outcome=\"ok\"} 2",
        "sealhost_requests_total{api=\"native\",operation=\"unseal\",outcome=\"ok\"} 1",
        "sealhost_requests_total{api=\"native\",operation=\"unseal\",outcome=\"not_found\"} 1",
        "sealhost_requests_total{api=\"native\",operation=\"none\",outcome=\"not_found\"} 1",
        "sealhost_request_duration_seconds_count{api=\"native\",operation=\"seal\"} 2",
        "sealhost_provider_up{provider=\"soft\"} 1",
        "sealhost_fallback_versions_total 0",
        "sealhost_audit_write_failures_total 0",
        "# EOF",
    ] {
        assert!(counted(&host, line), "no {line} in\n{}", text_of(&host));
    }
}

fn text_of(host: &Sealhost) -> String {
    String::from_utf8(host.get("/metrics").body).unwrap()
}

#[test]
fn metrics_name_no_key_and_no_caller() {
    let host = Setup::soft().start();
    host.create("marker", "seal", "soft");
    let _sealed = host.seal("marker", "text");
    assert!(!text_of(&host).contains("marker"));
    assert!(!text_of(&host).contains("uid"));
}

#[test]
fn unknown_endpoint_or_method_is_not_found() {
    let host = Setup::soft().start();
    host.create("a", "seal", "soft");
    for (method, target) in [
        ("GET", "/"),
        ("GET", "/v1"),
        ("GET", "/v2/status"),
        ("GET", "//v1/status"),
        ("POST", "/v1/status"),
        ("DELETE", "/v1/keys"),
        ("PUT", "/v1/keys/a"),
        ("PATCH", "/v1/keys/a"),
        ("OPTIONS", "/v1/keys/a"),
        ("GET", "/v1/keys/a/seal"),
        ("POST", "/v1/keys/a/open"),
        ("POST", "/v1/keys/a/public"),
        ("POST", "/v1/keys/a/seal/"),
    ] {
        let reply = tests::http::request(&host.socket(), method, target, b"");
        reply.problem(404, "not_found");
    }
}

#[test]
fn body_where_none_is_read_is_malformed() {
    let host = Setup::soft().start();
    host.create("a", "sign", "soft");
    for (method, target) in [
        ("GET", "/v1/status"),
        ("GET", "/v1/keys"),
        ("GET", "/v1/keys/a"),
        ("GET", "/v1/keys/a/public"),
        ("DELETE", "/v1/keys/a?confirm=a"),
        ("GET", "/metrics"),
    ] {
        let reply = tests::http::request(&host.socket(), method, target, b"{}");
        reply.problem(400, "malformed");
    }
}
