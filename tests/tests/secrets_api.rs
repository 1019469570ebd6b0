//! Secrets through the socket of the real daemon, over the real host: stored, read, found by date,
//! listed, erased.
#![expect(clippy::tests_outside_test_module, reason = "an integration test")]

use serde_json::{Value, json};
use swtpm_fixtures::Swtpm;
use tests::http::bytes;
use tests::{Sealhost, SecretManager, SecretSetup, Setup, b64};

/// A secret manager and the host that it cannot be without.
struct Both {
    manager: SecretManager,
    _host: Sealhost,
}

fn start(setup: SecretSetup) -> Both {
    let host = Setup::soft().start();
    Both { manager: setup.start(&host), _host: host }
}

/// Stores a value with all that may be said of it, and reads the same.
#[track_caller]
fn check(manager: &SecretManager, name: &str, value: &[u8]) {
    let put = manager.put(name, json!({"value": b64(value), "version": "v1"}));
    let record = put.ok()["secret"].clone();
    let got = manager.get(&format!("/v1/secrets/{name}")).ok();
    assert_eq!(got["secret"], record);
    assert_eq!(bytes(&got["value"]), value);
    assert_eq!(got["clock_behind"], false);
}

#[test]
fn value_of_any_bytes_comes_back_as_it_was() {
    let Both { manager, .. } = &start(SecretSetup::cached());
    check(manager, "web%2Fdb", b"correct horse");
    check(manager, "empty", b"");
    check(manager, "zero", &[0, 255, 10, 13, 0]);
    check(manager, &"n".repeat(128), b"x");
    check(manager, "large", &vec![7; 1 << 20]);
}

#[test]
fn record_says_who_stored_what_and_when() {
    let Both { manager, .. } = &start(SecretSetup::cached());
    let put = json!({
        "value": b64("x"), "version": "2026", "activation": "2026-01-01T09:00:00+09:00",
        "expiration": "9000-01-01T00:00:00Z", "content_type": "text/plain", "tags": {"team": "blue"}
    });
    let record = manager.put("a", put).ok()["secret"].clone();
    assert_eq!(record["version"], "2026");
    assert_eq!(record["activation"], "2026-01-01T00:00:00.000000000Z");
    assert_eq!(record["expiration"], "9000-01-01T00:00:00.000000000Z");
    assert_eq!(
        (&record["content_type"], &record["tags"]["team"]),
        (&"text/plain".into(), &"blue".into())
    );
    assert_eq!((&record["created_by"], &record["updated_by"]), (&"uid:0".into(), &"uid:0".into()));
    let again =
        manager.put("a", json!({"value": b64("y"), "version": "2026"})).ok()["secret"].clone();
    assert_eq!(again["created_at"], record["created_at"]);
    assert!(again["updated_at"].as_str() > record["updated_at"].as_str());
    // What is not said again is not kept.
    assert_eq!((&again["content_type"], &again["tags"]), (&Value::Null, &Value::Null));
}

#[test]
fn m11_secret_without_a_version_is_version_default() {
    let Both { manager, .. } = &start(SecretSetup::cached());
    assert_eq!(manager.put("a", json!({"value": ""})).ok()["secret"]["version"], "default");
    assert_eq!(manager.get("/v1/secrets/a?version=default").ok()["secret"]["version"], "default");
}

/// Reads at a date, and compares the version.
#[track_caller]
fn check_at(manager: &SecretManager, query: &str, version: Option<&str>) {
    let got = manager.get(&format!("/v1/secrets/a?{query}"));
    match version {
        Some(version) => assert_eq!(got.ok()["secret"]["version"], version, "{query}"),
        None => {
            got.problem(404, "not_found");
        }
    }
}

#[test]
fn m4_m5_m6_version_is_found_by_date() {
    let Both { manager, .. } = &start(SecretSetup::cached());
    let dated = |version: &str, from: &str, until: &str| {
        let body =
            json!({"value": "", "version": version, "activation": from, "expiration": until});
        manager.put("a", body).done();
    };
    dated("v1", "2026-01-01T00:00:00Z", "2026-03-01T00:00:00Z");
    dated("v2", "2026-02-01T00:00:00Z", "2026-04-01T00:00:00Z");
    check_at(manager, "at=2025-12-31T23:59:59.999999999Z", None);
    check_at(manager, "at=2026-01-01T00:00:00Z", Some("v1"));
    check_at(manager, "at=2026-02-01T00:00:00Z", Some("v2"));
    check_at(manager, "at=2026-02-01T00:00:00Z&version=v1", Some("v1"));
    check_at(manager, "at=2026-03-01T00:00:00Z&version=v1", None);
    check_at(manager, "at=2026-03-31T23:59:59.999999999Z", Some("v2"));
    check_at(manager, "at=2026-04-01T00:00:00Z", None);
    // Neither is active now.
    check_at(manager, "version=v1", None);
    check_at(manager, "force=false", None);
}

#[test]
fn m20_dates_of_any_zone_are_read_as_utc() {
    let Both { manager, .. } = &start(SecretSetup::cached());
    manager.put("a", json!({"value": "", "activation": "2026-01-01T00:00:00+09:00"})).done();
    check_at(manager, "at=2025-12-31T14:59:59Z", None);
    check_at(manager, "at=2025-12-31T15:00:00Z", Some("default"));
}

#[test]
fn list_and_versions_have_no_values() {
    let Both { manager, .. } = &start(SecretSetup::cached());
    for (name, version) in
        [("web%2Fdb", "v1"), ("web%2Fdb", "v2"), ("web%2Ftls", "v1"), ("other", "v1")]
    {
        manager.put(name, json!({"value": b64("marker"), "version": version})).done();
    }
    let names = |target: &str| -> Vec<String> {
        let reply = manager.get(target);
        assert!(!String::from_utf8_lossy(&reply.body).contains("value"));
        let pair = |it: &Value| {
            format!("{}@{}", it["name"].as_str().unwrap(), it["version"].as_str().unwrap())
        };
        reply.ok()["secrets"].as_array().unwrap().iter().map(pair).collect()
    };
    assert_eq!(names("/v1/secrets"), ["other@v1", "web/db@v1", "web/db@v2", "web/tls@v1"]);
    assert_eq!(names("/v1/secrets?prefix=web%2Fd"), ["web/db@v1", "web/db@v2"]);
    assert_eq!(names("/v1/secrets?prefix=none"), [""; 0]);
    let versions = manager.get("/v1/secrets/web%2Fdb/versions").ok();
    assert_eq!(versions["versions"].as_array().unwrap().len(), 2);
    manager.get("/v1/secrets/none/versions").problem(404, "not_found");
}

#[test]
fn erased_version_is_gone_and_others_stay() {
    let Both { manager, .. } = &start(SecretSetup::cached());
    for version in ["v1", "v2", "v3"] {
        manager.put("a", json!({"value": b64(version), "version": version})).done();
    }
    let erased = manager.delete("/v1/secrets/a?version=v2").ok();
    assert_eq!(erased, json!({"name": "a", "erased": 1}));
    manager.get("/v1/secrets/a?version=v2").problem(404, "not_found");
    assert_eq!(bytes(&manager.get("/v1/secrets/a?version=v1").ok()["value"]), b"v1");
    assert_eq!(manager.delete("/v1/secrets/a").ok()["erased"], 2);
    manager.get("/v1/secrets/a").problem(404, "not_found");
    assert_eq!(manager.delete("/v1/secrets/a").ok()["erased"], 0);
    manager.store("a", "again");
    assert_eq!(manager.value("a"), b"again");
}

#[test]
fn batch_answers_each_item_in_order() {
    let Both { manager, .. } = &start(SecretSetup::cached());
    manager.store("a", "alpha");
    manager.store("b", "beta");
    let items = json!([{"name": "b"}, {"name": "none"}, {"name": "a", "version": "default"}, {"name": "a", "version": "v9"}]);
    let reply = manager.post("/v1/batch", json!({"items": items}));
    let found = reply.ok();
    let found = found["items"].as_array().unwrap();
    assert_eq!(
        (bytes(&found[0]["value"]), bytes(&found[2]["value"])),
        (b"beta".to_vec(), b"alpha".to_vec())
    );
    assert_eq!(
        (&found[1]["error"]["code"], &found[3]["error"]["code"]),
        (&"not_found".into(), &"not_found".into())
    );
    let lines = manager.audit_of(reply.id());
    assert_eq!((lines.len(), &lines[0]["items"]), (1, &json!({"total": 4, "failed": 2})));
}

#[test]
fn batch_of_256_is_answered_and_of_257_too_large() {
    let Both { manager, .. } = &start(SecretSetup::cached());
    manager.store("a", "x");
    let batch = |items: usize| {
        manager.post("/v1/batch", json!({"items": vec![json!({"name": "a"}); items]}))
    };
    assert_eq!(batch(256).ok()["items"].as_array().unwrap().len(), 256);
    batch(257).problem(413, "too_large");
    batch(0).problem(400, "invalid");
}

#[test]
fn batch_of_four_mebibytes_is_answered_and_what_is_past_them_too_large() {
    let Both { manager, .. } = &start(SecretSetup::file());
    manager.store("large", vec![7; 1 << 20]);
    manager.store("one", "x");
    let ask = |names: &[&str]| {
        let items: Vec<_> = names.iter().map(|name| json!({"name": name})).collect();
        manager.post("/v1/batch", json!({"items": items})).ok()["items"].clone()
    };
    let at = ask(&["large", "large", "large", "large"]);
    assert!(at.as_array().unwrap().iter().all(|item| bytes(&item["value"]).len() == 1 << 20));
    let past = ask(&["large", "large", "large", "large", "one", "none"]);
    assert_eq!(bytes(&past[3]["value"]).len(), 1 << 20);
    for item in [&past[4], &past[5]] {
        assert_eq!(item["error"]["code"], "too_large");
    }
}

#[test]
fn status_tells_stores_and_their_keys() {
    let Both { manager, .. } = &start(SecretSetup::cached());
    manager.store("a", "x");
    manager.store("b", "x");
    let _cached = manager.value("a");
    let status = manager.get("/v1/status").ok();
    let stores = json!([
        {"label": "memory", "secrets": 2},
        {"label": "file", "secrets": 2, "key": "secrets/store"}
    ]);
    assert_eq!((&status["stores"], &status["clock_behind"]), (&stores, &json!(false)));
}

#[test]
fn metrics_count_operations_and_name_nothing() {
    let Both { manager, .. } = &start(SecretSetup::cached());
    manager.store("hidden-name", "x");
    let _found = manager.value("hidden-name");
    manager.get("/v1/secrets/none").problem(404, "not_found");
    let text = String::from_utf8(manager.get("/metrics").body).unwrap();
    for line in [
        "secret_manager_requests_total{operation=\"put\",outcome=\"ok\"} 1",
        "secret_manager_requests_total{operation=\"get\",outcome=\"ok\"} 1",
        "secret_manager_requests_total{operation=\"get\",outcome=\"not_found\"} 1",
    ] {
        assert!(text.contains(line), "{line} is not in {text}");
    }
    assert!(!text.contains("hidden-name"));
}

#[test]
fn second_read_comes_from_memory() {
    let mut both = start(SecretSetup::cached());
    let manager = &mut both.manager;
    manager.store("a", "alpha");
    manager.restart();
    let first = manager.get("/v1/secrets/a").ok();
    assert_eq!((&first["from"], &first["protection"]), (&"file".into(), &"software".into()));
    let second = manager.get("/v1/secrets/a").ok();
    assert_eq!((&second["from"], &second["protection"]), (&"memory".into(), &Value::Null));
}

#[test]
fn secrets_sealed_by_a_tpm_are_read_after_both_were_restarted() {
    let swtpm = Swtpm::start().unwrap();
    let mut host = Setup::default().with_tpm(&swtpm).start();
    let mut manager = SecretSetup::cached().start(&host);
    manager.store("web%2Fdb", "correct horse");
    assert!(manager.stop().success());
    host.restart();
    manager.start();
    let got = manager.get("/v1/secrets/web%2Fdb").ok();
    assert_eq!(
        (bytes(&got["value"]), &got["protection"]),
        (b"correct horse".to_vec(), &"emulated".into())
    );
}

#[test]
fn reply_is_for_no_cache_and_has_the_id_of_the_audit() {
    let Both { manager, .. } = &start(SecretSetup::cached());
    manager.store("a", "x");
    let reply = manager.get("/v1/secrets/a");
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    assert_eq!(manager.audit_of(reply.id()).len(), 1);
}

#[test]
fn export_of_four_mebibytes_is_answered_and_past_them_too_large() {
    let Both { manager, .. } = &start(SecretSetup::file());
    for number in 0..4 {
        manager.store(&format!("big%2F{number}"), "x".repeat(1 << 20));
    }
    assert_eq!(manager.get("/v1/export").status, 200);
    manager.store("small", "x");
    manager.get("/v1/export").problem(413, "too_large");
    assert_eq!(manager.get("/v1/export?prefix=small").status, 200);
}
