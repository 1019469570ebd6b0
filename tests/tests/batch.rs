//! Batches: one result per item, in order, and one audit record for all.
#![expect(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    reason = "integration tests, and what they share"
)]

use serde_json::{Value, json};
use tests::{Response, Sealhost, Setup, b64};

/// Sends a batch and compares how each item ended, `ok` or a code, and what the audit counted.
#[track_caller]
fn check(host: &Sealhost, target: &str, items: &[Value], ends: &[&str]) -> Vec<Value> {
    let reply = host.post(target, json!({"items": items}));
    assert_eq!(reply.status, 200, "{}", reply.json());
    let json = reply.ok();
    let results = json["items"].as_array().unwrap().clone();
    let end = |result: &Value| match result.get("error") {
        None => "ok".to_owned(),
        Some(problem) => {
            assert_eq!(problem["instance"], reply.id());
            problem["code"].as_str().unwrap().to_owned()
        }
    };
    assert_eq!(results.iter().map(end).collect::<Vec<_>>(), ends);
    let record = audit_of(host, &reply);
    let failed = ends.iter().filter(|end| **end != "ok").count();
    assert_eq!(record["items"], json!({"total": ends.len(), "failed": failed}));
    assert_eq!(record["outcome"], "ok");
    results
}

fn audit_of(host: &Sealhost, reply: &Response) -> Value {
    let records = host.audit_of(reply.id());
    assert_eq!(records.len(), 1, "{records:?}");
    records[0].clone()
}

fn host_with_keys() -> Sealhost {
    let host = Setup::soft().start();
    host.create("a", "seal", "soft");
    host.create("m", "mac", "soft");
    host
}

fn sealed(host: &Sealhost, texts: &[&str]) -> Vec<Value> {
    texts.iter().map(|text| json!({"sealed": host.seal("a", text)})).collect()
}

#[test]
fn seal_and_unseal_keep_the_order() {
    let host = host_with_keys();
    let plain = |text: &&str| json!({"plaintext": b64(text), "context": {"text": text}});
    let texts = ["one", "two", "three"];
    let items: Vec<_> = texts.iter().map(plain).collect();
    let results = check(&host, "/v1/keys/a/seal", &items, &["ok"; 3]);
    let open = |(result, text): (&Value, &&str)| json!({"sealed": result["sealed"], "context": {"text": text}});
    let items: Vec<_> = results.iter().zip(&texts).map(open).collect();
    let results = check(&host, "/v1/keys/a/unseal", &items, &["ok"; 3]);
    for (result, text) in results.iter().zip(texts) {
        assert_eq!(result["plaintext"], b64(text));
        assert_eq!(result["version"], 1);
    }
}

#[test]
fn one_item_that_fails_leaves_the_others() {
    let host = host_with_keys();
    let mut items = sealed(&host, &["one", "two", "three"]);
    items[1]["context"] = json!({"app": "web"});
    check(&host, "/v1/keys/a/unseal", &items, &["ok", "integrity", "ok"]);
    items[2]["sealed"] = "sealhost:1:AAAA".into();
    check(&host, "/v1/keys/a/unseal", &items, &["ok", "integrity", "malformed"]);
}

#[test]
fn batch_whose_items_all_fail_is_still_answered() {
    let host = host_with_keys();
    let items = [json!({"sealed": "sealhost:1:AAAA"}), json!({"sealed": "x"})];
    check(&host, "/v1/keys/a/rewrap", &items, &["malformed"; 2]);
    check(&host, "/v1/keys/none/seal", &[json!({"plaintext": ""})], &["not_found"]);
}

#[test]
fn rewrap_takes_a_batch() {
    let host = host_with_keys();
    let items = sealed(&host, &["one", "two"]);
    let _rotated = host.post("/v1/keys/a/rotate", json!({})).ok();
    let results = check(&host, "/v1/keys/a/rewrap", &items, &["ok"; 2]);
    assert!(results.iter().all(|result| result["version"] == 2));
}

#[test]
fn mac_takes_a_batch_with_versions() {
    let host = host_with_keys();
    let _rotated = host.post("/v1/keys/m/rotate", json!({})).ok();
    let items = [
        json!({"message": b64("one")}),
        json!({"message": b64("one"), "version": 1}),
        json!({"message": b64("one"), "version": 3}),
    ];
    let results = check(&host, "/v1/keys/m/mac", &items, &["ok", "ok", "not_found"]);
    assert_eq!((&results[0]["version"], &results[1]["version"]), (&json!(2), &json!(1)));
    assert_ne!(results[0]["mac"], results[1]["mac"]);
}

#[test]
fn batch_at_the_limit_is_answered() {
    let host = host_with_keys();
    let items = vec![json!({"message": ""}); 256];
    check(&host, "/v1/keys/m/mac", &items, &["ok"; 256]);
}

#[test]
fn batch_past_its_limits_is_refused_whole() {
    let host = host_with_keys();
    let items = vec![json!({"message": ""}); 257];
    let reply = host.post("/v1/keys/m/mac", json!({"items": items}));
    reply.problem(413, "too_large");
    assert_eq!(audit_of(&host, &reply)["items"], Value::Null);
    host.post("/v1/keys/m/mac", json!({"items": []})).problem(400, "invalid");
}

#[test]
fn batch_with_one_value_over_a_limit_is_refused_whole() {
    let host = host_with_keys();
    let items = [json!({"message": ""}), json!({"message": b64(vec![0; 1025])})];
    host.post("/v1/keys/m/mac", json!({"items": items})).problem(413, "too_large");
}

#[test]
fn items_beside_the_fields_of_one_item_are_malformed() {
    let host = host_with_keys();
    for body in [
        r#"{"items":[{"message":""}],"message":""}"#,
        r#"{"message":"","items":[{"message":""}]}"#,
        r#"{"items":[{"message":""}],"items":[{"message":""}]}"#,
        r#"{"items":[{"items":[{"message":""}]}]}"#,
        r#"{"items":{"message":""}}"#,
        r#"{"items":[[""]]}"#,
        r#"{"items":null}"#,
    ] {
        let reply = tests::http::request(&host.socket(), "POST", "/v1/keys/m/mac", body.as_bytes());
        reply.problem(400, "malformed");
    }
}

#[test]
fn endpoint_without_batches_takes_none() {
    let host = host_with_keys();
    let item = json!({"message": "", "mac": b64([0; 32])});
    host.post("/v1/keys/m/verify", json!({"items": [item]})).problem(400, "malformed");
    host.post("/v1/random", json!({"items": [{"bytes": 1}]})).problem(400, "malformed");
}
