//! Who may do what with which secrets, as the kernel names the caller, and what the audit says of
//! it. What is absent and what is forbidden look the same to who may not know.
#![expect(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    clippy::panic,
    reason = "integration tests, and what they share"
)]

use serde_json::{Value, json};
use tests::{Response, Sealhost, SecretManager, SecretSetup, Setup, User, b64};

const ROOT: &str = "[[rule]]\nprincipal = { uid = 0 }\nkeys = [\"**\"]\noperations = [\"*\"]\n";
const ON_SECRETS: [&str; 6] = ["get", "batch", "put", "delete", "versions", "list"];

struct Both {
    manager: SecretManager,
    _host: Sealhost,
}

fn rule(principal: &str, keys: &str, operations: &str) -> String {
    format!(
        "[[rule]]\nprincipal = {{ {principal} }}\nkeys = [{keys}]\noperations = [{operations}]\n"
    )
}

/// Root's rule and one more, with two secrets stored.
fn start(rule: &str) -> Both {
    let host = Setup::soft().start();
    let setup = SecretSetup::cached().for_everybody().with_rules(&format!("{ROOT}{rule}"));
    let manager = setup.start(&host);
    manager.store("web%2Fdb", "password of web");
    manager.store("other", "password of others");
    Both { manager, _host: host }
}

fn somebody() -> User {
    User::new(4242)
}

/// Asks as a user for something about one secret, its name written as in a path.
fn ask(manager: &SecretManager, user: &User, what: &str, name: &str) -> Response {
    let path = format!("/v1/secrets/{name}");
    let plain = name.replace("%2F", "/");
    let (method, target, body) = match what {
        "get" => ("GET", path, Value::Null),
        "put" => ("PUT", path, json!({"value": b64("new"), "version": "v2"})),
        "delete" => ("DELETE", path, Value::Null),
        "versions" => ("GET", format!("{path}/versions"), Value::Null),
        "batch" => ("POST", "/v1/batch".into(), json!({"items": [{"name": plain}]})),
        "list" => ("GET", "/v1/secrets".into(), Value::Null),
        "watch" => ("GET", "/v1/watch".into(), Value::Null),
        "status" => ("GET", "/v1/status".into(), Value::Null),
        "metrics" => ("GET", "/metrics".into(), Value::Null),
        other => panic!("no request {other}"),
    };
    let body = if body.is_null() { String::new() } else { body.to_string() };
    user.request(&manager.socket(), method, &target, body.as_bytes())
}

/// Asks as uid 4242 under a rule: allowed or not.
#[track_caller]
fn check(rule: &str, what: &str, name: &str, allowed: bool) {
    let Both { manager, .. } = &start(rule);
    let reply = ask(manager, &somebody(), what, name);
    if allowed {
        reply.done();
    } else {
        reply.problem(403, "denied");
    }
}

#[test]
fn nobody_may_do_anything_without_a_rule() {
    let Both { manager, .. } = &start("");
    for what in ON_SECRETS.into_iter().chain(["watch", "status", "metrics"]) {
        ask(manager, &somebody(), what, "other").problem(403, "denied");
    }
}

#[test]
fn root_may_do_nothing_without_a_rule() {
    let host = Setup::soft().start();
    let setup = SecretSetup::cached().with_rules(&rule("uid = 4242", "\"**\"", "\"*\""));
    let manager = setup.start(&host);
    manager.get("/v1/status").problem(403, "denied");
    manager.get("/v1/secrets/a").problem(403, "denied");
}

#[test]
fn rule_allows_its_operations_and_no_other() {
    let get = rule("uid = 4242", "\"web/*\"", "\"get\"");
    check(&get, "get", "web%2Fdb", true);
    for what in ["put", "delete", "versions", "list", "watch", "status", "metrics"] {
        check(&get, what, "web%2Fdb", false);
    }
    let list = rule("uid = 4242", "\"web/*\"", "\"list\"");
    for what in ["versions", "list"] {
        check(&list, what, "web%2Fdb", true);
    }
    check(&list, "get", "web%2Fdb", false);
    check(&rule("gid = 4242", "\"web/*\"", "\"put\", \"delete\""), "put", "web%2Fdb", true);
    check(&rule("gid = 4242", "\"web/*\"", "\"put\", \"delete\""), "delete", "web%2Fdb", true);
}

#[test]
fn rule_is_for_its_names_only() {
    let get = rule("uid = 4242", "\"web/*\"", "\"*\"");
    for what in ["get", "put", "delete", "versions"] {
        check(&get, what, "other", false);
        check(&get, what, "web%2Fdeep%2Fdown", false);
    }
}

#[test]
fn m23_absent_and_forbidden_are_the_same_to_who_may_not_know() {
    let Both { manager, .. } = &start(&rule("uid = 4242", "\"web/*\"", "\"*\""));
    let refusal = |what: &str, name: &str| {
        let mut problem = ask(manager, &somebody(), what, name).problem(403, "denied");
        problem["instance"] = Value::Null;
        problem
    };
    for what in ["get", "put", "delete", "versions"] {
        assert_eq!(refusal(what, "other"), refusal(what, "absent"), "{what}");
    }
    // Neither the body of a put nor a version in the query is looked at before the rules.
    let bad = somebody().request(&manager.socket(), "PUT", "/v1/secrets/other", b"{");
    bad.problem(403, "denied");
    ask(manager, &somebody(), "get", "web%2Fnone").problem(404, "not_found");
}

#[test]
fn batch_is_refused_item_by_item() {
    let Both { manager, .. } = &start(&rule("uid = 4242", "\"web/*\"", "\"get\""));
    let items = json!([{"name": "other"}, {"name": "web/db"}, {"name": "absent"}]);
    let reply = somebody().post(&manager.socket(), "/v1/batch", json!({"items": items})).ok();
    let items = reply["items"].as_array().unwrap();
    assert_eq!(items[1]["value"], b64("password of web"));
    assert_eq!(items[0]["error"]["code"], "denied");
    assert_eq!(items[0], items[2]);
    assert!(!reply.to_string().contains(&b64("password of others")));
}

#[test]
fn list_shows_what_the_caller_may_list() {
    let Both { manager, .. } = &start(&rule("uid = 4242", "\"web/*\"", "\"list\""));
    let list = ask(manager, &somebody(), "list", "").ok();
    let names: Vec<_> = list["secrets"].as_array().unwrap().iter().map(|it| &it["name"]).collect();
    assert_eq!(names, ["web/db"]);
}

#[test]
fn author_is_the_caller_that_the_kernel_names() {
    let Both { manager, .. } = &start(&rule("uid = 4242", "\"web/*\"", "\"put\""));
    let put = ask(manager, &somebody(), "put", "web%2Fnew").ok();
    assert_eq!(put["secret"]["created_by"], "uid:4242");
}

fn reloads(manager: &SecretManager) -> usize {
    let text = std::fs::read_to_string(manager.audit_path()).unwrap();
    text.matches("\"kind\":\"reload\"").count()
}

/// Writes other rules, sends SIGHUP, and waits until the audit has it.
fn reload(manager: &mut SecretManager, rules: &str, outcome: &str) {
    let before = reloads(manager);
    manager.reconfigure(|setup| setup.with_rules(rules));
    manager.signal("HUP");
    manager.wait_until("the reload", |manager| reloads(manager) > before);
    let audit = manager.audit();
    let last = audit.iter().rfind(|line| line["kind"] == "reload").unwrap();
    assert_eq!(last["outcome"], outcome);
}

#[test]
fn hangup_takes_good_rules_and_keeps_the_last_good_ones() {
    let mut both = start("");
    let manager = &mut both.manager;
    let may = |manager: &SecretManager| ask(manager, &somebody(), "get", "web%2Fdb").status == 200;
    assert!(!may(manager));
    let good = format!("{ROOT}{}", rule("uid = 4242", "\"web/*\"", "\"get\""));
    reload(manager, &good, "ok");
    assert!(may(manager));
    for broken in ["[[rule", &rule("uid = 0", "\"**\"", "\"unseal\""), "[[rule]]\nkeys = 1\n"] {
        reload(manager, broken, "invalid");
        assert!(may(manager), "{broken}");
    }
    assert!(
        manager.log().contains("no operation \\\"unseal\\\"")
            || manager.log().contains("no operation \"unseal\"")
    );
    reload(manager, ROOT, "ok");
    assert!(!may(manager));
    let _whole = manager.verified_audit();
}

/// The lines of one request in the audit, as (kind, operation, secret, version, outcome).
#[track_caller]
fn check_audit(manager: &SecretManager, reply: &Response, lines: &[[&str; 5]]) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let found: Vec<_> = manager
        .audit_of(reply.id())
        .iter()
        .map(|line| {
            assert_eq!(line["principal"]["uid"], 4242);
            ["kind", "operation", "secret", "secret_version", "outcome"].map(|it| text(&line[it]))
        })
        .collect();
    let expected: Vec<_> = lines.iter().map(|line| line.map(str::to_owned)).collect();
    assert_eq!(found, expected);
}

#[test]
fn audit_has_every_request_and_a_change_twice() {
    let mut both = start(&rule("uid = 4242", "\"web/*\"", "\"*\""));
    let manager = &both.manager;
    let asked = |what: &str, name: &str| ask(manager, &somebody(), what, name);
    check_audit(
        manager,
        &asked("put", "web%2Fa"),
        &[["intent", "put", "web/a", "", ""], ["outcome", "put", "web/a", "v2", "ok"]],
    );
    check_audit(manager, &asked("get", "web%2Fa"), &[["request", "get", "web/a", "v2", "ok"]]);
    check_audit(manager, &asked("versions", "web%2Fa"), &[["request", "list", "web/a", "", "ok"]]);
    check_audit(manager, &asked("list", ""), &[["request", "list", "", "", "ok"]]);
    check_audit(manager, &asked("batch", "web%2Fa"), &[["request", "get", "", "", "ok"]]);
    check_audit(
        manager,
        &asked("delete", "web%2Fa"),
        &[["intent", "delete", "web/a", "", ""], ["outcome", "delete", "web/a", "", "ok"]],
    );
    check_audit(manager, &asked("get", "web%2Fa"), &[["request", "get", "web/a", "", "not_found"]]);
    check_audit(manager, &asked("get", "other"), &[["request", "get", "other", "", "denied"]]);
    check_audit(manager, &asked("status", ""), &[]);
    assert!(both.manager.stop().success());
    let audit = both.manager.verified_audit();
    let ends = [&audit[0]["kind"], &audit[audit.len() - 1]["kind"]];
    assert_eq!(ends, ["start", "stop"]);
    for value in ["password", "new"] {
        let text = std::fs::read_to_string(both.manager.audit_path()).unwrap();
        assert!(!text.contains(value) && !text.contains(&b64(value)));
    }
}
