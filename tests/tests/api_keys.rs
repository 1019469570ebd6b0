//! The life of a key over the socket: create, show, list, rotate, destroy, and once more.
#![expect(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    reason = "integration tests, and what they share"
)]

use serde_json::{Value, json};
use tests::{Sealhost, Setup};

/// Compares the versions of a key, by number and state, with those expected.
#[track_caller]
fn check(host: &Sealhost, key: &str, versions: &[(u64, &str)]) -> Value {
    let record = host.get(&format!("/v1/keys/{key}")).ok();
    let version = |version: &Value| {
        (version["version"].as_u64().unwrap(), version["state"].as_str().unwrap().to_owned())
    };
    let found: Vec<_> = record["versions"].as_array().unwrap().iter().map(version).collect();
    let expected: Vec<_> =
        versions.iter().map(|(number, state)| (*number, (*state).to_owned())).collect();
    assert_eq!(found, expected, "{record}");
    record
}

fn names(host: &Sealhost) -> Vec<String> {
    let list = host.get("/v1/keys").ok();
    let keys = list["keys"].as_array().unwrap();
    keys.iter().map(|key| key["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn key_created_has_one_active_version_and_the_whole_record() {
    let host = Setup::soft().start();
    let created = host.post("/v1/keys/db", json!({"usage": "seal"}));
    assert_eq!((created.status, created.header("content-type")), (201, Some("application/json")));
    let mut record = created.ok();
    let time = record["versions"][0]["created_at"].take();
    let time = time.as_str().unwrap();
    assert!(time.starts_with("20") && time.contains('T') && time.ends_with('Z'), "{time}");
    let expected = json!({
        "name": "db", "usage": "seal", "algorithm": "hmac-sha256", "floor": "software",
        "fallback": false,
        "versions": [{
            "version": 1, "state": "active", "provider": "soft", "protection": "software",
            "origin": "generated", "fallback": false, "created_at": null,
        }],
    });
    assert_eq!(record, expected);
    check(&host, "db", &[(1, "active")]);
}

#[test]
fn key_of_each_usage_has_the_algorithm_of_its_usage() {
    let host = Setup::soft().start();
    for (usage, algorithm) in
        [("seal", "hmac-sha256"), ("mac", "hmac-sha256"), ("sign", "ecdsa-p256")]
    {
        let created = host.post(&format!("/v1/keys/{usage}"), json!({"usage": usage})).ok();
        assert_eq!(created["algorithm"], algorithm);
        let named = json!({"usage": usage, "algorithm": algorithm});
        assert_eq!(host.post(&format!("/v1/keys/named-{usage}"), named).status, 201);
    }
}

#[test]
fn key_with_every_field_shows_what_was_asked_for() {
    let host = Setup::soft().with_soft_worker("other").start();
    let body = json!({
        "usage": "seal", "algorithm": "hmac-sha256", "providers": ["other", "soft"],
        "floor": "software", "fallback": true, "pcrs": null,
    });
    let record = host.post("/v1/keys/a", body).ok();
    assert_eq!(record["providers"], json!(["other", "soft"]));
    assert_eq!(record["fallback"], true);
    assert_eq!(record["versions"][0]["provider"], "other");
    assert_eq!(host.get("/v1/keys/a").ok(), record);
}

#[test]
fn key_of_a_taken_name_is_conflict_whatever_its_usage() {
    let host = Setup::soft().start();
    host.create("a", "seal", "soft");
    for usage in ["seal", "mac", "sign"] {
        let problem = host.post("/v1/keys/a", json!({"usage": usage})).problem(409, "conflict");
        assert_eq!(problem["key"], "a");
    }
    check(&host, "a", &[(1, "active")]);
}

#[test]
fn key_created_by_many_at_once_is_made_once() {
    let host = Setup::soft().with_soft_worker("worker").start();
    let body = json!({"usage": "seal", "providers": ["worker"]});
    let create = || host.post("/v1/keys/a", body.clone());
    let replies: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(create)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(replies.iter().filter(|reply| reply.status == 201).count(), 1);
    for reply in replies.iter().filter(|reply| reply.status != 201) {
        reply.problem(409, "conflict");
    }
    check(&host, "a", &[(1, "active")]);
}

#[test]
fn key_above_every_protection_is_unsupported() {
    let host = Setup::soft().start();
    let body = json!({"usage": "seal", "floor": "hardware"});
    let problem = host.post("/v1/keys/a", body).problem(400, "unsupported");
    assert!(problem["detail"].as_str().unwrap().contains("below hardware"), "{problem}");
    host.get("/v1/keys/a").problem(404, "not_found");
}

#[test]
fn key_below_the_configured_floor_is_invalid() {
    let host = Setup::soft().with_floor("emulated").start();
    let body = json!({"usage": "seal", "floor": "software"});
    host.post("/v1/keys/a", body).problem(400, "invalid");
}

#[test]
fn key_on_a_provider_that_is_not_configured_is_unsupported() {
    let host = Setup::soft().start();
    let body = json!({"usage": "seal", "providers": ["tpm"]});
    host.post("/v1/keys/a", body).problem(400, "unsupported");
}

#[test]
fn key_with_a_slash_in_its_name_is_escaped_in_the_path() {
    let host = Setup::soft().start();
    let record = host.create("apps%2Fweb%2Fdb", "seal", "soft");
    assert_eq!(record["name"], "apps/web/db");
    assert_eq!(names(&host), ["apps/web/db"]);
    let sealed = host.seal("apps%2Fweb%2Fdb", "text");
    assert_eq!(host.unseal("apps%2Fweb%2Fdb", &sealed).status, 200);
    let gone = host.delete("/v1/keys/apps%2Fweb%2Fdb?confirm=apps%2Fweb%2Fdb").ok();
    assert_eq!(gone, json!({"key": "apps/web/db", "destroyed": [1]}));
}

#[test]
fn list_has_the_living_keys_by_name() {
    let host = Setup::soft().start();
    assert_eq!(host.get("/v1/keys").ok(), json!({"keys": []}));
    for key in ["b", "a%2Fb", "c"] {
        host.create(key, "mac", "soft");
    }
    assert_eq!(names(&host), ["a/b", "b", "c"]);
    let _gone = host.delete("/v1/keys/b?confirm=b").ok();
    assert_eq!(names(&host), ["a/b", "c"]);
}

#[test]
fn rotated_key_opens_old_blobs_and_seals_with_the_new_version() {
    let host = Setup::soft().start();
    host.create("a", "seal", "soft");
    let old = host.seal("a", "old");
    let rotated = host.post("/v1/keys/a/rotate", json!({}));
    assert_eq!(rotated.status, 200);
    let record = check(&host, "a", &[(1, "decrypt-only"), (2, "active")]);
    assert_eq!(rotated.ok(), record);
    let new = host.post("/v1/keys/a/seal", json!({"plaintext": ""})).ok();
    assert_eq!(new["version"], 2);
    assert_eq!(host.unseal("a", &old).ok()["version"], 1);
    assert_eq!(host.unseal("a", new["sealed"].as_str().unwrap()).ok()["version"], 2);
}

#[test]
fn rotate_takes_no_body_or_an_empty_object() {
    let host = Setup::soft().start();
    host.create("a", "mac", "soft");
    for body in ["", "{}"] {
        let target = "/v1/keys/a/rotate";
        let reply = tests::http::request(&host.socket(), "POST", target, body.as_bytes());
        assert_eq!(reply.status, 200);
    }
    check(&host, "a", &[(1, "decrypt-only"), (2, "decrypt-only"), (3, "active")]);
}

#[test]
fn rotations_at_once_each_make_a_version() {
    let host = Setup::soft().start();
    host.create("a", "seal", "soft");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert_eq!(host.post("/v1/keys/a/rotate", json!({})).status, 200));
        }
    });
    let old = "decrypt-only";
    check(&host, "a", &[(1, old), (2, old), (3, old), (4, old), (5, "active")]);
}

#[test]
fn key_that_is_not_there_is_not_found_by_every_operation() {
    let host = Setup::soft().start();
    let sealed = {
        host.create("b", "seal", "soft");
        host.seal("b", "text")
    };
    host.get("/v1/keys/a").problem(404, "not_found");
    host.get("/v1/keys/a/public").problem(404, "not_found");
    host.delete("/v1/keys/a?confirm=a").problem(404, "not_found");
    for (verb, body) in [
        ("rotate", json!({})),
        ("seal", json!({"plaintext": ""})),
        ("unseal", json!({"sealed": sealed})),
        ("rewrap", json!({"sealed": sealed})),
        ("mac", json!({"message": ""})),
        ("verify", json!({"message": "", "mac": tests::b64([0; 32])})),
        ("sign", json!({"digest": tests::b64([0; 32])})),
        ("import", json!({"usage": "mac", "key": "AA==", "new_version": true})),
    ] {
        let problem = host.post(&format!("/v1/keys/a/{verb}"), body).problem(404, "not_found");
        assert_eq!(problem["key"], "a", "{verb}");
    }
}

#[test]
fn destroy_without_the_name_repeated_is_invalid_and_destroys_nothing() {
    let host = Setup::soft().start();
    host.create("a", "seal", "soft");
    let sealed = host.seal("a", "text");
    for query in ["", "?", "?confirm=", "?confirm=b", "?confirm=A", "?force=a", "?confirm=a&x=1"] {
        host.delete(&format!("/v1/keys/a{query}")).problem(400, "invalid");
    }
    check(&host, "a", &[(1, "active")]);
    assert_eq!(host.unseal("a", &sealed).status, 200);
}

#[test]
fn destroyed_key_opens_nothing_and_shows_what_it_was() {
    let host = Setup::soft().start();
    host.create("a", "seal", "soft");
    let old = host.seal("a", "text");
    let _rotated = host.post("/v1/keys/a/rotate", json!({})).ok();
    let new = host.seal("a", "text");
    let gone = host.delete("/v1/keys/a?confirm=a");
    assert_eq!((gone.status, gone.ok()), (200, json!({"key": "a", "destroyed": [1, 2]})));
    host.unseal("a", &old).problem(404, "not_found");
    host.unseal("a", &new).problem(404, "not_found");
    host.post("/v1/keys/a/seal", json!({"plaintext": ""})).problem(404, "not_found");
    host.post("/v1/keys/a/rotate", json!({})).problem(404, "not_found");
    host.delete("/v1/keys/a?confirm=a").problem(404, "not_found");
    check(&host, "a", &[(1, "destroyed"), (2, "destroyed")]);
}

#[test]
fn key_made_again_goes_on_with_the_numbers_and_opens_no_old_blob() {
    let mut host = Setup::soft().start();
    host.create("a", "seal", "soft");
    let sealed = host.seal("a", "text");
    let _gone = host.delete("/v1/keys/a?confirm=a").ok();
    host.restart();
    let again = host.create("a", "seal", "soft");
    assert_eq!(again["versions"][0]["version"], 2);
    host.unseal("a", &sealed).problem(400, "integrity");
    let _gone = host.delete("/v1/keys/a?confirm=a").ok();
    host.create("a", "mac", "soft");
    check(&host, "a", &[(3, "active")]);
}

#[test]
fn keys_are_the_same_after_a_restart() {
    let mut host = Setup::soft().with_soft_worker("other").start();
    host.create("a", "seal", "soft");
    host.create("b", "mac", "other");
    let _rotated = host.post("/v1/keys/a/rotate", json!({})).ok();
    let before = host.get("/v1/keys").ok();
    let generation = host.get("/v1/status").ok()["generation"].clone();
    host.restart();
    assert_eq!(host.get("/v1/keys").ok(), before);
    assert_eq!(host.get("/v1/status").ok()["generation"], generation);
}
