//! What is left of secrets in memory, files, logs and audits of the secret manager and its host,
//! after use and after errors (case M24).
//!
//! Excepted, as SECURITY.md says: a store in memory without a key, which is there to hold values.
#![expect(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "integration tests, and what they share"
)]

use serde_json::json;
use tests::http::{bytes, request};
use tests::traces::{Searcher, Secret, at_once};
use tests::{Sealhost, SecretManager, SecretSetup, Setup, b64};

/// Puts, gets, gets in batches, and fails in several ways, always with the value given; then looks
/// for it everywhere.
#[track_caller]
fn check(setup: SecretSetup, value: &[u8]) {
    let host = Setup::soft().start();
    let manager = setup.start(&host);
    at_once(|number| use_value(&manager, &format!("n{number}"), value));
    let searcher = Searcher::new(&[sampled(value)]);
    let mut found = searcher.find_in_process(manager.pid(), "the secret manager");
    found.extend(searcher.find_in_process(host.pid(), "the host"));
    found.extend(in_files(&searcher, &manager, &host));
    assert!(found.is_empty(), "{} places:\n{found:#?}", found.len());
}

fn in_files(searcher: &Searcher, manager: &SecretManager, host: &Sealhost) -> Vec<String> {
    let paths = [
        manager.state_dir(),
        manager.audit_path(),
        manager.dir().join("log"),
        host.state_dir(),
        host.audit_path(),
        host.dir().join("log"),
    ];
    paths.iter().flat_map(|path| searcher.find_in_files(path)).collect()
}

/// The value in both its forms; of a long one some pieces, for a look at all would take minutes.
fn sampled(value: &[u8]) -> Secret {
    let mut secret = Secret::bytes("value", value);
    if value.len() > 4096 {
        // Base64 of a part at a multiple of three bytes is a part of the base64.
        let text = b64(value).into_bytes();
        secret.forms = vec![
            ("raw", value.chunks_exact(1024).step_by(100).flatten().copied().collect()),
            ("base64", text[4 * 1024..5 * 1024].to_vec()),
        ];
    }
    secret
}

fn use_value(manager: &SecretManager, name: &str, value: &[u8]) {
    let body = json!({"value": b64(value), "version": "v1"});
    manager.put(name, body.clone()).done();
    assert_eq!(manager.value(name), value);
    let items = json!({"items": [{"name": name}, {"name": name, "version": "v9"}]});
    assert_eq!(bytes(&manager.post("/v1/batch", items).ok()["items"][0]["value"]), value);
    manager.get(&format!("/v1/secrets/{name}?force=true")).done();

    let target = format!("/v1/secrets/{name}");
    let mut unknown = body.clone();
    unknown["unknown"] = json!(1);
    manager.put(name, unknown).problem(400, "malformed");
    let text = body.to_string();
    request(&manager.socket(), "PUT", &target, &text.as_bytes()[..text.len() - 1])
        .problem(400, "malformed");
    let never = json!({"value": b64(value), "expiration": "0001-01-01T00:00:00Z"});
    manager.put(name, never).problem(400, "invalid");
    request(&manager.socket(), "POST", &target, text.as_bytes()).problem(404, "not_found");
}

fn random<const N: usize>() -> Vec<u8> {
    let mut bytes = vec![0; N];
    aws_lc_rs::rand::fill(&mut bytes).unwrap();
    bytes
}

#[test]
fn m24_value_leaves_no_trace() {
    check(SecretSetup::file(), &random::<96>());
}

#[test]
fn m24_large_value_leaves_no_trace() {
    check(SecretSetup::file(), &random::<614_400>());
}

#[test]
fn m24_value_in_a_sealed_cache_leaves_no_trace() {
    let stores = "[[store]]\ntype = \"memory\"\nkey = \"secrets/store\"\n\
                  [[store]]\ntype = \"file\"\nkey = \"secrets/store\"\n";
    check(SecretSetup::of(stores), &random::<96>());
}

#[test]
fn m24_value_that_was_cached_and_erased_leaves_no_trace() {
    let host = Setup::soft().start();
    let manager = SecretSetup::cached().start(&host);
    let value = random::<96>();
    manager.store("a", &value);
    assert_eq!(manager.value("a"), value);
    let searcher = Searcher::new(&[sampled(&value)]);
    let cached = searcher.find_in_process(manager.pid(), "the secret manager");
    assert!(!cached.is_empty(), "a cache holds its value; the search found none");
    assert_eq!(in_files(&searcher, &manager, &host), [""; 0]);
    manager.delete("/v1/secrets/a").done();
    let left = searcher.find_in_process(manager.pid(), "the secret manager");
    assert!(left.is_empty(), "{left:#?}");
}

#[test]
fn m24_cached_value_whose_time_is_over_leaves_no_trace() {
    let stores = "[[store]]\ntype = \"memory\"\nttl = \"500ms\"\n\
                  [[store]]\ntype = \"file\"\nkey = \"secrets/store\"\n";
    let host = Setup::soft().start();
    let manager = SecretSetup::of(stores).start(&host);
    let value = random::<96>();
    manager.store("a", &value);
    let searcher = Searcher::new(&[sampled(&value)]);
    manager.wait_until("the end of its time", |manager| {
        searcher.find_in_process(manager.pid(), "the secret manager").is_empty()
    });
}
