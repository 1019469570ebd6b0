//! Access rules as the kernel names the caller: users, groups, operations, patterns, and nothing
//! without a rule.
#![expect(
    clippy::tests_outside_test_module,
    clippy::panic,
    reason = "integration tests, and what they share"
)]

use serde_json::{Value, json};
use tests::{Response, Sealhost, Setup, User, b64};

/// Starts a host with root's rule and one more, and asks as this user for an operation on a key:
/// allowed or not.
#[track_caller]
fn check(rule: &str, user: &User, operation: &str, key: &str, allowed: bool) {
    let host = host_with(rule);
    host.create(&key.replace('/', "%2F"), "seal", "soft");
    let reply = ask(&host, user, operation, key);
    assert_eq!(reply.status != 403, allowed, "{}", String::from_utf8_lossy(&reply.body));
    if !allowed {
        reply.problem(403, "denied");
    }
}

const ROOT: &str = "[[rule]]\nprincipal = { uid = 0 }\nkeys = [\"**\"]\noperations = [\"*\"]\n";

fn host_with(rule: &str) -> Sealhost {
    Setup::soft().for_everybody().with_rules(&format!("{ROOT}{rule}")).start()
}

fn rule(principal: &str, keys: &str, operations: &str) -> String {
    format!(
        "[[rule]]\nprincipal = {{ {principal} }}\nkeys = [{keys}]\noperations = [{operations}]\n"
    )
}

/// Sends a well-formed request of an operation.
fn ask(host: &Sealhost, user: &User, operation: &str, key: &str) -> Response {
    let path = format!("/v1/keys/{}", key.replace('/', "%2F"));
    let counter = format!("/v1/counters/{}", key.replace('/', "%2F"));
    let (method, target, body) = match operation {
        "create" => ("POST", path, json!({"usage": "seal"})),
        "import" => ("POST", format!("{path}/import"), json!({"usage": "mac", "key": "AA=="})),
        "show" => ("GET", path, Value::Null),
        "destroy" => {
            let name = key.replace('/', "%2F");
            ("DELETE", format!("{path}?confirm={name}"), Value::Null)
        }
        "public" => ("GET", format!("{path}/public"), Value::Null),
        "rotate" => ("POST", format!("{path}/rotate"), json!({})),
        "seal" => ("POST", format!("{path}/seal"), json!({"plaintext": ""})),
        "unseal" | "rewrap" => ("POST", format!("{path}/{operation}"), json!({"sealed": "x"})),
        "mac" => ("POST", format!("{path}/mac"), json!({"message": ""})),
        "verify" => {
            let body = json!({"message": "", "mac": b64([0; 32])});
            ("POST", format!("{path}/verify"), body)
        }
        "sign" => ("POST", format!("{path}/sign"), json!({"digest": b64([0; 32])})),
        "create_counter" => ("POST", counter, json!({})),
        "increment_counter" => ("POST", format!("{counter}/increment"), json!({})),
        "read_counter" => ("GET", counter, Value::Null),
        "destroy_counter" => {
            let name = key.replace('/', "%2F");
            ("DELETE", format!("{counter}?confirm={name}"), Value::Null)
        }
        "list" => ("GET", "/v1/keys".into(), Value::Null),
        "list_counters" => ("GET", "/v1/counters".into(), Value::Null),
        "random" => ("POST", "/v1/random".into(), json!({"bytes": 1})),
        "status" | "providers" => ("GET", format!("/v1/{operation}"), Value::Null),
        "retry" => ("POST", "/v1/providers/soft/retry".into(), json!({})),
        "metrics" => ("GET", "/metrics".into(), Value::Null),
        other => panic!("no operation {other}"),
    };
    let body = if body.is_null() { String::new() } else { body.to_string() };
    user.request(&host.socket(), method, &target, body.as_bytes())
}

const ON_KEYS: [&str; 16] = [
    "create",
    "import",
    "show",
    "rotate",
    "destroy",
    "seal",
    "unseal",
    "rewrap",
    "mac",
    "verify",
    "sign",
    "public",
    "create_counter",
    "increment_counter",
    "read_counter",
    "destroy_counter",
];
const WITHOUT_KEY: [&str; 7] =
    ["list", "list_counters", "random", "status", "providers", "retry", "metrics"];

fn somebody() -> User {
    User::new(4242)
}

#[test]
fn nobody_may_do_anything_without_a_rule() {
    let host = host_with("");
    host.create("a", "seal", "soft");
    for operation in ON_KEYS.into_iter().chain(WITHOUT_KEY) {
        ask(&host, &somebody(), operation, "a").problem(403, "denied");
    }
}

#[test]
fn root_may_do_nothing_without_a_rule() {
    let rules = rule("uid = 4242", "\"**\"", "\"*\"");
    let host = Setup::soft().for_everybody().with_rules(&rules).start();
    host.get("/v1/status").problem(403, "denied");
    host.post("/v1/keys/a", json!({"usage": "seal"})).problem(403, "denied");
    assert_eq!(ask(&host, &somebody(), "create", "a").status, 201);
}

#[test]
fn rule_of_a_user_is_for_that_user() {
    let by_uid = rule("uid = 4242", "\"a\"", "\"seal\"");
    check(&by_uid, &somebody(), "seal", "a", true);
    check(&by_uid, &User::new(4243), "seal", "a", false);
    // The group of that number is somebody else.
    check(&by_uid, &User { uid: 1, gid: 4242, groups: vec![4242] }, "seal", "a", false);
    let by_name = rule("user = \"nobody\"", "\"a\"", "\"seal\"");
    check(&by_name, &User::new(65534), "seal", "a", true);
    check(&by_name, &somebody(), "seal", "a", false);
}

#[test]
fn rule_of_a_group_is_for_its_primary_and_supplementary_members() {
    let by_gid = rule("gid = 77", "\"a\"", "\"seal\"");
    check(&by_gid, &User { uid: 4242, gid: 77, groups: vec![] }, "seal", "a", true);
    check(&by_gid, &User { uid: 4242, gid: 1, groups: vec![5, 77, 9] }, "seal", "a", true);
    check(&by_gid, &User { uid: 4242, gid: 1, groups: vec![7, 777] }, "seal", "a", false);
    check(&by_gid, &User { uid: 77, gid: 1, groups: vec![] }, "seal", "a", false);
    let by_name = rule("group = \"nogroup\"", "\"a\"", "\"seal\"");
    check(&by_name, &User { uid: 4242, gid: 65534, groups: vec![] }, "seal", "a", true);
    check(&by_name, &User { uid: 4242, gid: 1, groups: vec![65534] }, "seal", "a", true);
    check(&by_name, &somebody(), "seal", "a", false);
}

#[test]
fn member_of_many_groups_is_recognized() {
    let by_gid = rule("gid = 77", "\"a\"", "\"seal\"");
    let groups: Vec<_> = (1000..1500).chain([77]).collect();
    check(&by_gid, &User { uid: 4242, gid: 1, groups }, "seal", "a", true);
}

#[test]
fn rule_allows_the_operations_that_it_names_and_no_other() {
    for (index, allowed) in ON_KEYS.iter().enumerate() {
        let host = host_with(&rule("uid = 4242", "\"**\"", &format!("\"{allowed}\"")));
        let other = ON_KEYS[(index + 1) % ON_KEYS.len()];
        ask(&host, &somebody(), other, "a").problem(403, "denied");
        assert_ne!(ask(&host, &somebody(), allowed, "a").status, 403, "{allowed}");
    }
}

#[test]
fn rule_without_keys_allows_operations_without_a_key() {
    for (index, allowed) in WITHOUT_KEY.iter().enumerate() {
        let host = host_with(&rule("uid = 4242", "", &format!("\"{allowed}\"")));
        let other = WITHOUT_KEY[(index + 1) % WITHOUT_KEY.len()];
        ask(&host, &somebody(), other, "a").problem(403, "denied");
        assert_eq!(ask(&host, &somebody(), allowed, "a").status, 200, "{allowed}");
    }
}

#[test]
fn star_as_operation_is_all() {
    let host = host_with(&rule("uid = 4242", "\"a\"", "\"*\""));
    for operation in ON_KEYS.into_iter().chain(WITHOUT_KEY) {
        assert_ne!(ask(&host, &somebody(), operation, "a").status, 403, "{operation}");
        if ON_KEYS.contains(&operation) {
            ask(&host, &somebody(), operation, "b").problem(403, "denied");
        }
    }
}

#[test]
fn pattern_without_stars_is_one_name() {
    let one = rule("uid = 4242", "\"secrets/db\"", "\"seal\"");
    check(&one, &somebody(), "seal", "secrets/db", true);
    check(&one, &somebody(), "seal", "secrets/db2", false);
    check(&one, &somebody(), "seal", "secrets", false);
}

#[test]
fn star_matches_within_a_segment() {
    let star = rule("uid = 4242", "\"secrets/*\"", "\"seal\"");
    check(&star, &somebody(), "seal", "secrets/db", true);
    check(&star, &somebody(), "seal", "secrets/db/x", false);
    check(&star, &somebody(), "seal", "secrets", false);
    check(&star, &somebody(), "seal", "other/db", false);
}

#[test]
fn two_stars_match_across_segments() {
    let stars = rule("uid = 4242", "\"secrets/**\"", "\"seal\"");
    check(&stars, &somebody(), "seal", "secrets/db", true);
    check(&stars, &somebody(), "seal", "secrets/db/x", true);
    check(&stars, &somebody(), "seal", "secretsx/db", false);
    check(&rule("uid = 4242", "\"**\"", "\"seal\""), &somebody(), "seal", "x/y/z", true);
}

#[test]
fn second_pattern_and_second_rule_count_too() {
    let two = rule("uid = 4242", "\"a\", \"b\"", "\"seal\"");
    check(&two, &somebody(), "seal", "b", true);
    let rules = [rule("uid = 4242", "\"a\"", "\"seal\""), rule("gid = 4242", "\"b\"", "\"seal\"")];
    check(&rules.concat(), &somebody(), "seal", "b", true);
}

#[test]
fn list_has_the_keys_that_the_caller_may_show() {
    let rules = [
        rule("uid = 4242", "\"mine/*\"", "\"show\", \"list\""),
        rule("uid = 4242", "\"others/*\"", "\"seal\""),
        rule("uid = 4243", "", "\"list\""),
    ];
    let host = host_with(&rules.concat());
    for key in ["mine%2Fa", "mine%2Fb", "others%2Fc", "d"] {
        host.create(key, "seal", "soft");
    }
    let names = |user: &User| {
        let list = user.get(&host.socket(), "/v1/keys").ok();
        let keys = list["keys"].as_array().unwrap().iter();
        keys.map(|key| key["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(&somebody()), ["mine/a", "mine/b"]);
    assert_eq!(names(&User::new(4243)), [""; 0]);
}

#[test]
fn denied_looks_the_same_whether_the_key_is_there_or_not() {
    let host = host_with(&rule("uid = 4242", "\"other\"", "\"*\""));
    let seen = || {
        let one = |operation: &&str| {
            let reply = ask(&host, &somebody(), operation, "a");
            reply.problem(403, "denied");
            let text = format!("{}\n\n{}", reply.head, String::from_utf8_lossy(&reply.body));
            let lines = text.lines().filter(|line| !line.starts_with("date: "));
            lines.collect::<Vec<_>>().join("\n").replace(reply.id(), "ID")
        };
        ON_KEYS.iter().map(one).collect::<Vec<_>>()
    };
    let missing = seen();
    host.create("a", "seal", "soft");
    assert_eq!(seen(), missing);
    let _gone = host.delete("/v1/keys/a?confirm=a").ok();
    assert_eq!(seen(), missing);
}

#[test]
fn unseal_with_the_path_of_an_allowed_key_opens_no_other_keys_envelope() {
    let host = host_with(&rule("uid = 4242", "\"mine\"", "\"*\""));
    host.create("mine", "seal", "soft");
    host.create("theirs", "seal", "soft");
    let sealed = host.seal("theirs", "text");
    let body = json!({"sealed": sealed});
    let reply = somebody().post(&host.socket(), "/v1/keys/mine/unseal", body.clone());
    reply.problem(400, "invalid");
    let reply = somebody().post(&host.socket(), "/v1/keys/theirs/unseal", body);
    reply.problem(403, "denied");
}

#[test]
fn user_whom_the_socket_does_not_admit_cannot_connect() {
    use std::os::unix::fs::PermissionsExt;
    let host = Setup::soft().start();
    let searchable = std::fs::Permissions::from_mode(0o711);
    std::fs::set_permissions(host.dir(), searchable).unwrap();
    let connect = || std::os::unix::net::UnixStream::connect(host.socket()).map(drop);
    let refused = somebody().does(connect).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::PermissionDenied);
    // A member of the socket's group connects, and may do nothing without a rule.
    let member = User { uid: 4242, gid: 1, groups: vec![0] };
    member.get(&host.socket(), "/v1/status").problem(403, "denied");
}

#[test]
fn caller_is_who_connected_and_not_who_writes() {
    let host = host_with("");
    // Root connects and hands the connection over: it is still root's.
    let stream = std::os::unix::net::UnixStream::connect(host.socket()).unwrap();
    let reply = somebody().does(|| {
        use std::io::{Read, Write};
        let mut stream = stream;
        let request = "GET /v1/status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        reply
    });
    assert!(reply.starts_with("HTTP/1.1 200"), "{reply}");
}

#[test]
fn body_of_a_caller_without_permission_is_not_read() {
    let host = Setup::soft().for_everybody().start();
    let head =
        "POST /v1/keys/a/seal HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4194304\r\n\r\n";
    // Not a byte of the body is ever sent.
    let reply = somebody().does(|| tests::http::raw(&host.socket(), head.as_bytes()));
    reply.unwrap().problem(403, "denied");
}
