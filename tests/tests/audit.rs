//! What the audit says of each request, and what it never says.
#![expect(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    reason = "integration tests, and what they share"
)]

use serde_json::{Value, json};
use swtpm_fixtures::SoftHsm;
use tests::{Response, Sealhost, Setup, User, b64};

/// Compares the lines that a request left, without what differs each time.
#[track_caller]
fn check(host: &Sealhost, reply: &Response, expected: &[Value]) {
    let mut lines = host.audit_of(reply.id());
    for line in &mut lines {
        let line = line.as_object_mut().unwrap();
        let principal = json!({"uid": 0, "gid": 0, "pid": std::process::id()});
        assert_eq!(line.remove("principal"), Some(principal));
        assert_eq!(line.remove("request"), Some(json!(reply.id())));
        let time = line.remove("time").unwrap();
        assert!(time.as_str().unwrap().ends_with('Z'), "{time}");
        assert!(line.remove("seq").unwrap().as_u64() > Some(1));
        assert_eq!(line.remove("prev").unwrap().as_str().unwrap().len(), 64);
        assert!(line.remove("generation").unwrap().is_u64());
        let duration = line.remove("duration_us");
        assert_eq!(duration.is_some(), line["kind"] != "intent", "{line:?}");
    }
    assert_eq!(lines, expected);
}

fn host() -> Sealhost {
    let host = Setup::soft().start();
    for (key, usage) in [("a", "seal"), ("m", "mac"), ("s", "sign")] {
        host.create(key, usage, "soft");
    }
    host
}

/// The record of a request that used version 1 of a key.
fn used(operation: &str, key: &str, version: u64) -> Value {
    json!({
        "kind": "request", "operation": operation, "key": key, "version": version,
        "provider": "soft", "protection": "software", "origin": "generated", "outcome": "ok",
    })
}

fn failed(operation: &str, key: &str, outcome: &str) -> Value {
    json!({"kind": "request", "operation": operation, "key": key, "outcome": outcome})
}

/// The records of a key change.
fn change(operation: &str, key: &str, outcome: Value) -> [Value; 2] {
    let mut outcome = outcome;
    outcome["kind"] = "outcome".into();
    outcome["operation"] = operation.into();
    outcome["key"] = key.into();
    [json!({"kind": "intent", "operation": operation, "key": key}), outcome]
}

fn made(version: u64, origin: &str) -> Value {
    json!({
        "version": version, "provider": "soft", "protection": "software", "origin": origin,
        "outcome": "ok",
    })
}

#[test]
fn sealing_leaves_one_record_each() {
    let host = host();
    let sealed = host.post("/v1/keys/a/seal", json!({"plaintext": ""}));
    check(&host, &sealed, &[used("seal", "a", 1)]);
    let body = json!({"sealed": sealed.text("sealed")});
    let reply = host.post("/v1/keys/a/unseal", body.clone());
    check(&host, &reply, &[used("unseal", "a", 1)]);
    let reply = host.post("/v1/keys/a/rewrap", body);
    check(&host, &reply, &[used("rewrap", "a", 1)]);
}

#[test]
fn macs_and_signatures_leave_one_record_each() {
    let host = host();
    let reply = host.post("/v1/keys/m/mac", json!({"message": ""}));
    check(&host, &reply, &[used("mac", "m", 1)]);
    let body = json!({"message": "", "mac": reply.text("mac")});
    check(&host, &host.post("/v1/keys/m/verify", body), &[used("verify", "m", 1)]);
    let reply = host.post("/v1/keys/s/sign", json!({"digest": b64([0; 32])}));
    check(&host, &reply, &[used("sign", "s", 1)]);
    check(&host, &host.get("/v1/keys/s/public"), &[used("public", "s", 1)]);
}

#[test]
fn looking_leaves_one_record_each_and_monitoring_none() {
    let host = host();
    let show = json!({"kind": "request", "operation": "show", "key": "a", "outcome": "ok"});
    check(&host, &host.get("/v1/keys/a"), &[show]);
    let list = json!({"kind": "request", "operation": "list", "outcome": "ok"});
    check(&host, &host.get("/v1/keys"), &[list]);
    let random = json!({
        "kind": "request", "operation": "random", "provider": "soft", "protection": "software",
        "outcome": "ok",
    });
    check(&host, &host.post("/v1/random", json!({"bytes": 1})), &[random]);
    let retry =
        json!({"kind": "request", "operation": "retry", "provider": "soft", "outcome": "ok"});
    check(&host, &host.post("/v1/providers/soft/retry", json!({})), &[retry]);
    for target in ["/v1/status", "/v1/providers", "/metrics"] {
        check(&host, &host.get(target), &[]);
    }
}

#[test]
fn key_changes_leave_an_intent_and_an_outcome() {
    let host = host();
    let reply = host.post("/v1/keys/new", json!({"usage": "mac"}));
    check(&host, &reply, &change("create", "new", made(1, "generated")));
    let reply = host.post("/v1/keys/new/rotate", json!({}));
    check(&host, &reply, &change("rotate", "new", made(2, "generated")));
    let body = json!({"usage": "mac", "key": "AA==", "new_version": true});
    let reply = host.post("/v1/keys/new/import", body);
    check(&host, &reply, &change("import", "new", made(3, "imported-clear")));
    let reply = host.delete("/v1/keys/new?confirm=new");
    check(&host, &reply, &change("destroy", "new", json!({"outcome": "ok"})));
}

#[test]
fn outcome_has_the_generation_that_the_change_made() {
    let host = host();
    let reply = host.post("/v1/keys/new", json!({"usage": "mac"}));
    let generation = host.get("/v1/status").ok()["generation"].clone();
    let lines = host.audit_of(reply.id());
    assert!(lines[0]["generation"].as_u64() < lines[1]["generation"].as_u64());
    assert_eq!(lines[1]["generation"], generation);
}

#[test]
fn refused_key_changes_leave_an_outcome_too() {
    let host = host();
    let reply = host.post("/v1/keys/a", json!({"usage": "mac"}));
    check(&host, &reply, &change("create", "a", json!({"outcome": "conflict"})));
    let reply = host.post("/v1/keys/none/rotate", json!({}));
    check(&host, &reply, &change("rotate", "none", json!({"outcome": "not_found"})));
    let reply = host.delete("/v1/keys/a");
    check(&host, &reply, &change("destroy", "a", json!({"outcome": "invalid"})));
}

#[test]
fn failures_leave_their_code() {
    let host = host();
    let reply = host.post("/v1/keys/none/seal", json!({"plaintext": ""}));
    check(&host, &reply, &[failed("seal", "none", "not_found")]);
    let reply = host.post("/v1/keys/m/seal", json!({"plaintext": ""}));
    check(&host, &reply, &[failed("seal", "m", "wrong_usage")]);
    let body = json!({"sealed": host.seal("a", "x"), "context": {"app": "web"}});
    let reply = host.post("/v1/keys/a/unseal", body);
    let mut expected = used("unseal", "a", 1);
    expected["outcome"] = "integrity".into();
    check(&host, &reply, &[expected]);
    let reply = host.get("/v1/nothing");
    check(&host, &reply, &[json!({"kind": "request", "outcome": "not_found"})]);
    let reply = host.post("/v1/keys/a/seal", json!({}));
    check(&host, &reply, &[failed("seal", "a", "malformed")]);
}

#[test]
fn start_and_stop_are_recorded_over_many_runs() {
    let mut host = host();
    host.restart();
    assert!(host.stop().success());
    let lines = host.verified_audit();
    let kinds: Vec<_> = lines.iter().map(|line| line["kind"].as_str().unwrap()).collect();
    let runs: Vec<_> = kinds.iter().filter(|kind| ["start", "stop"].contains(*kind)).collect();
    assert_eq!(runs, [&"start", &"stop", &"start", &"stop"]);
    assert_eq!(kinds.first(), Some(&"start"));
    assert_eq!(kinds[kinds.len() - 2..], ["stop", "checkpoint"], "it vouches for the stop too");
}

#[test]
fn host_does_not_go_on_with_an_audit_that_was_edited() {
    let mut host = host();
    host.post("/v1/keys/a/seal", json!({"plaintext": b64("x")})).done();
    assert!(host.stop().success());
    let text = std::fs::read_to_string(host.audit_path()).unwrap();
    std::fs::write(host.audit_path(), text.replace("\"seal\"", "\"show\"")).unwrap();
    let status = host.try_start().unwrap_err();
    assert_eq!(status.code(), Some(1));
    let log = host.log();
    assert!(log.contains("is broken after sequence"), "{log}");
    assert!(log.contains("restore registry and audit from one backup"), "{log}");
    std::fs::write(host.audit_path(), text).unwrap();
    host.start();
}

#[test]
fn no_secret_is_in_audit_or_log() {
    let hsm = SoftHsm::start("edge", "PINMARKER").unwrap();
    let mut host = Setup::soft().with_hsm(&hsm).start();
    let mut secrets = vec!["PINMARKER".to_owned(), "PLAINMARKER".into(), "CONTEXTMARKER".into()];
    for provider in ["soft", "hsm"] {
        let key = format!("/v1/keys/{provider}");
        host.create(provider, "seal", provider);
        let context = json!({"app": "CONTEXTMARKER"});
        let body = json!({"plaintext": b64("PLAINMARKER"), "context": context});
        let sealed = host.post(&format!("{key}/seal"), body).text("sealed");
        let body = json!({"sealed": sealed, "context": context});
        assert_eq!(host.post(&format!("{key}/unseal"), body).status, 200);
        host.unseal(provider, &sealed).problem(400, "integrity");

        let mac_key = "MACKEYMARKERMACKEYMARKERMACKEYMA";
        let name = format!("{key}-mac");
        let body = json!({"usage": "mac", "key": b64(mac_key), "providers": [provider]});
        assert_eq!(host.post(&format!("{name}/import"), body).status, 201);
        let body = json!({"message": b64("MESSAGEMARKER")});
        let mac = host.post(&format!("{name}/mac"), body).text("mac");
        secrets.extend([sealed, mac, mac_key.into(), "MESSAGEMARKER".into()]);
    }
    secrets.push(host.post("/v1/random", json!({"bytes": 32})).text("random"));
    host.post("/v1/keys/soft/seal", json!({"plaintext": "PLAINMARKER"})).problem(400, "malformed");
    assert!(host.stop().success());
    let audit = std::fs::read_to_string(host.audit_path()).unwrap();
    for secret in secrets.iter().flat_map(|secret| [secret.clone(), b64(secret)]) {
        assert!(!audit.contains(&secret), "{secret} is in the audit");
        assert!(!host.log().contains(&secret), "{secret} is in the log");
    }
    let _whole = host.verified_audit();
}

#[test]
fn audit_of_many_callers_at_once_verifies_and_lacks_none() {
    let mut host = host();
    std::thread::scope(|scope| {
        for caller in 0..4 {
            let host = &host;
            scope.spawn(move || {
                for round in 0..20 {
                    let _sealed = host.seal("a", "text");
                    if round % 5 == 0 {
                        host.create(&format!("new-{caller}-{round}"), "mac", "soft");
                    }
                }
            });
        }
    });
    assert!(host.stop().success());
    let lines = host.verified_audit();
    let count = |kind: &str, operation: &str| {
        let lines = lines.iter().filter(|it| it["kind"] == kind && it["operation"] == operation);
        lines.count()
    };
    assert_eq!((count("request", "seal"), count("intent", "create")), (80, 3 + 16));
    assert_eq!(count("outcome", "create"), 3 + 16);
}

/// Sends 60 requests that are refused before anybody asks what they are about; ten a second are
/// written, and every one is written or counted.
#[track_caller]
fn check_counted(method: &str, target: &str, body: &str, code: &str) {
    let rule = "[[rule]]\nprincipal = { uid = 4242 }\nkeys = [\"k\"]\n\
                operations = [\"seal\", \"random\"]\n";
    let mut host = Setup::soft().for_everybody().with_rules(rule).start();
    let user = User::new(4242);
    for _ in 0..60 {
        let reply = user.request(&host.socket(), method, target, body.as_bytes());
        assert_eq!(reply.json()["code"], code);
    }
    assert!(host.stop().success());
    let lines = host.verified_audit();
    let seconds = {
        let second = |line: &Value| line["time"].as_str().unwrap()[17..19].parse::<i64>().unwrap();
        (second(lines.last().unwrap()) - second(&lines[0])).rem_euclid(60)
    };
    let written = lines.iter().filter(|line| line["outcome"] == code).count();
    let counted: Vec<_> = lines.iter().filter(|line| line["kind"] == "refused").collect();
    for line in &counted {
        assert_eq!(line["principal"]["uid"], 4242);
        assert_eq!(line.get("request"), None);
    }
    let repeated: u64 = counted.iter().map(|line| line["repeated"].as_u64().unwrap()).sum();
    assert_eq!(u64::try_from(written).unwrap() + repeated, 60);
    let windows = usize::try_from(seconds).unwrap() + 2;
    assert!(written <= 10 * windows, "{written} in {windows} s");
    assert!(!counted.is_empty() || windows > 5);
}

#[test]
fn denied_requests_past_ten_a_second_are_counted() {
    check_counted("GET", "/v1/keys/a", "", "denied");
}

#[test]
fn malformed_requests_past_ten_a_second_are_counted() {
    check_counted("POST", "/v1/keys/k/seal", "{", "malformed");
}

#[test]
fn requests_out_of_range_past_ten_a_second_are_counted() {
    check_counted("POST", "/v1/random", "{\"bytes\":0}", "invalid");
    check_counted("GET", "/v1/keys/-", "", "invalid");
    check_counted("POST", "/v1/random", "{\"bytes\":1025}", "too_large");
}

#[test]
fn requests_to_no_endpoint_past_ten_a_second_are_counted() {
    check_counted("GET", "/v1/nothing", "", "not_found");
}

#[test]
fn refusals_of_one_user_do_not_hide_those_of_another() {
    let host = Setup::soft().for_everybody().start();
    let (loud, quiet) = (User::new(4242), User::new(4243));
    for _ in 0..30 {
        loud.get(&host.socket(), "/v1/keys/a").problem(403, "denied");
    }
    let reply = quiet.get(&host.socket(), "/v1/keys/a");
    assert_eq!(host.audit_of(reply.id()).len(), 1);
}
