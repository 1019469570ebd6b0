//! Who may use which key by the dialect of the aziot Key Service, and what operators see of it.
#![expect(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    reason = "integration tests, and what they share"
)]

use std::path::Path;

use serde_json::{Value, json};
use swtpm_fixtures::{SoftHsm, Swtpm};
use tests::keyd::{VERSION, encrypt, refused, sign, versioned};
use tests::{Response, Sealhost, Setup, User, http};

const A_PARAMETER: &str = "a parameter has an invalid value";
const PRINCIPALS: &str = "[[keyd.principal]]\nuid = 1000\nkeys = [\"mysymmtestkey\"]\n\
                          [[keyd.principal]]\nuid = 1000\nkeys = [\"app?\", \"pre*\"]\n\
                          [[keyd.principal]]\nuid = 2000\nkeys = [\"*\"]\n";
/// Whoever has no native rule.
const NOBODY: &str = "[[rule]]\nprincipal = { uid = 0 }\noperations = [\"status\", \"metrics\"]\n";

fn host() -> Sealhost {
    let setup = Setup::soft().for_everybody().with_rules(NOBODY);
    setup.with_keyd_for(&["soft"], "", PRINCIPALS).start()
}

fn create(host: &Sealhost, uid: u32, id: &str, usage: &str) -> Response {
    host.keyd_as(uid, "POST", "/key", &json!({"keyId": id, "usage": usage}))
}

/// Loads a key as a user and compares the status.
#[track_caller]
fn check(host: &Sealhost, uid: u32, id: &str, status: u16) {
    let reply = host.keyd_as(uid, "GET", &format!("/key/{id}"), &Value::Null);
    assert_eq!(reply.status, status, "{}", String::from_utf8_lossy(&reply.body));
}

#[test]
fn k6_patterns_are_those_of_the_peer_and_are_asked_before_the_key() {
    let host = host();
    assert_eq!(create(&host, 1000, "mysymmtestkey", "encrypt").status, 200);
    check(&host, 1000, "mysymmtestkey", 200);
    check(&host, 1000, "app", 401);
    check(&host, 1000, "app12", 401);
    check(&host, 1000, "app1", 400);
    check(&host, 1000, "preX%2FY", 400);
    check(&host, 2000, "app12", 400);
    let message = "user 1000 is not authorized to access the key app12";
    refused(&create(&host, 1000, "app12", "sign"), 401, message);
}

#[test]
fn user_without_a_principal_is_refused_whatever_it_asks_and_root_is_no_exception() {
    let host = host();
    for uid in [0, 3000] {
        let reply = create(&host, uid, "a", "sign");
        let message = format!("user {uid} is not authorized to access any key");
        refused(&reply, 401, &message);
        assert_eq!(host.keyd_as(uid, "POST", "/sign", &Value::Null).status, 401);
    }
}

#[test]
fn native_rule_for_a_key_of_the_dialect_lets_its_principal_in_too() {
    let rules = "[[rule]]\nprincipal = { uid = 5000 }\nkeys = [\"keyd/key/*\"]\n\
                 operations = [\"show\", \"create\", \"mac\"]\n";
    let setup = Setup::soft().for_everybody().with_rules(rules);
    let host = setup.with_keyd_for(&["soft"], "", PRINCIPALS).start();
    let handle = create(&host, 5000, "a", "sign").text("keyHandle");
    assert_eq!(host.keyd_as(5000, "POST", "/sign", &sign(&handle, b"m")).status, 200);
    let deleted = host.keyd_as(5000, "DELETE", "/key", &json!({"keyHandle": handle}));
    refused(&deleted, 401, "user 5000 is not authorized to access the key a");
}

#[test]
fn k7_handle_of_one_user_is_refused_to_another_and_the_audit_has_it() {
    let host = host();
    let handle = create(&host, 1000, "app1", "sign").text("keyHandle");
    let reply = host.keyd_as(2000, "POST", "/sign", &sign(&handle, b"message"));
    refused(&reply, 401, "user 2000 is not authorized to access the key app1");
    let recorded = &host.audit_of(reply.id())[0];
    assert_eq!(recorded["key"], "keyd/key/app1");
    assert_eq!((&recorded["operation"], &recorded["outcome"]), (&json!("mac"), &json!("denied")));
    assert_eq!(host.keyd_as(1000, "POST", "/sign", &sign(&handle, b"message")).status, 200);
}

#[test]
fn k8_reserved_id_is_refused_to_everybody() {
    let host = host();
    let message = "user 2000 is not authorized to access the key handle-validation-key";
    check(&host, 2000, "handle-validation-key", 401);
    refused(&create(&host, 2000, "handle-validation-key", "sign"), 401, message);
}

#[test]
fn key_of_the_native_api_cannot_be_named() {
    let host = Setup::soft().with_keyd(&["soft"], "").start();
    host.create("native", "mac", "soft");
    for id in ["native", "..%2Fnative", "%2Fnative", "keyd%2Fkey%2F..%2Fnative", ".%2Fnative"] {
        refused(&host.keyd_load(&format!("/key/{id}")), 400, A_PARAMETER);
    }
}

#[test]
fn k16_principal_that_is_added_is_let_in_and_a_broken_file_changes_nothing() {
    let mut host = host();
    let reloads =
        |host: &Sealhost| host.audit().iter().filter(|line| line["kind"] == "reload").count();
    let mut reload = |principals: &str| {
        let before = reloads(&host);
        host.reconfigure(|setup| setup.with_keyd_for(&["soft"], "", principals));
        host.signal("HUP");
        host.wait_until("the reload", |host| reloads(host) > before);
        create(&host, 3000, "new", "sign").status
    };
    let more = format!("{PRINCIPALS}[[keyd.principal]]\nuid = 3000\nkeys = [\"new\"]\n");
    assert_eq!(reload(&more), 200);
    assert_eq!(reload(&more.replace("uid = 3000", "uid = \"three\"")), 200);
    assert_eq!(reload(PRINCIPALS), 401);
}

#[test]
fn right_that_is_taken_away_ends_the_use_of_handles() {
    let mut host = host();
    let handle = create(&host, 1000, "app1", "sign").text("keyHandle");
    host.reconfigure(|setup| {
        let others = "[[keyd.principal]]\nuid = 1000\nkeys = [\"other\"]\n";
        setup.with_keyd_for(&["soft"], "", others)
    });
    host.signal("HUP");
    host.wait_until("the handle is refused", |host| {
        host.keyd_as(1000, "POST", "/sign", &sign(&handle, b"message")).status == 401
    });
}

#[test]
fn k14_connection_past_the_limit_is_told_so_and_another_user_is_not_affected() {
    let setup = Setup::soft().for_everybody().with("[limits]\nconnections_per_uid = 2\n");
    let host = setup.with_keyd_for(&["soft"], "", PRINCIPALS).start();
    let socket = host.keyd_socket();
    let load = format!("/key/app1?{VERSION}");
    let _kept = User::new(1000).does(|| {
        let mut kept: Vec<_> = (0..2).map(|_| http::Kept::connect(&socket).unwrap()).collect();
        for connection in &mut kept {
            assert_eq!(connection.request("GET", &load, b"").unwrap().status, 400);
        }
        let refused = http::request(&socket, "GET", &load, b"");
        assert_eq!((refused.status, &refused.json()["code"]), (429, &json!("busy")));
        assert!(refused.header("retry-after").is_some());
        kept
    });
    assert_eq!(create(&host, 2000, "b", "sign").status, 200);
}

#[test]
fn request_is_audited_and_counted_as_one_of_the_dialect() {
    let host = Setup::soft().with_keyd(&["soft"], "").start();
    let handle = host.keyd_create("app/1", "sign");
    let reply = host.keyd("POST", "/sign", &sign(&handle, b"message"));
    let record = &host.audit_of(reply.id())[0];
    for (field, value) in [
        ("operation", json!("mac")),
        ("key", json!("keyd/key/app_2F1")),
        ("version", json!(1)),
        ("provider", json!("soft")),
        ("protection", json!("software")),
        ("outcome", json!("ok")),
    ] {
        assert_eq!(record[field], value, "{field} of {record}");
    }
    let metrics = String::from_utf8(host.get("/metrics").body).unwrap();
    for line in [
        "sealhost_requests_total{api=\"keyd\",operation=\"mac\",outcome=\"ok\"} 1",
        "sealhost_requests_total{api=\"keyd\",operation=\"show\",outcome=\"not_found\"} 1",
        "sealhost_requests_total{api=\"keyd\",operation=\"create\",outcome=\"ok\"} 1",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line} is not in {metrics}");
    }
    let _whole = host.verified_audit();
}

fn repeated(host: &Sealhost) -> bool {
    let metrics = String::from_utf8(host.get("/metrics").body).unwrap();
    metrics.lines().any(|line| line == "sealhost_repeated_ivs_total 1")
}

#[test]
fn vector_that_is_used_twice_is_counted_and_logged() {
    let host = Setup::soft().with_keyd(&["soft"], "").start();
    let handle = host.keyd_create("a", "encrypt");
    let encrypt = |iv: &[u8]| host.keyd("POST", "/encrypt", &encrypt(&handle, iv, b"", b"text"));
    assert_eq!((encrypt(b"1").status, encrypt(b"2").status, repeated(&host)), (200, 200, false));
    assert_eq!((encrypt(b"1").status, repeated(&host)), (200, true));
    assert!(host.log().contains("twice under one initialization vector"), "{}", host.log());
}

#[test]
fn vector_that_is_used_twice_is_refused_where_that_is_set() {
    let host = Setup::soft().with_keyd(&["soft"], "refuse_repeated_ivs = true").start();
    let handle = host.keyd_create("a", "encrypt");
    let encrypt = |iv: &[u8]| host.keyd("POST", "/encrypt", &encrypt(&handle, iv, b"", b"text"));
    assert_eq!((encrypt(b"1").status, encrypt(b"2").status, encrypt(b"1").status), (200, 200, 400));
}

/// Makes keys that encrypt and that sign; compares what is said of their protection, or `None`
/// where they are refused.
#[track_caller]
fn check_protection(setup: Setup, floor: &str, encrypting: Option<&str>, signing: Option<&str>) {
    let provider = if setup.has_provider("tpm") { "tpm" } else { "hsm" };
    let host = setup.with_keyd(&[provider], &format!("floor = \"{floor}\"")).start();
    for (id, usage, expected) in [("e", "encrypt", encrypting), ("s", "sign", signing)] {
        let reply = host.keyd("POST", "/key", &json!({"keyId": id, "usage": usage}));
        let Some(expected) = expected else {
            assert_eq!((reply.status, &reply.json()["code"]), (400, &json!("unsupported")));
            assert_eq!(host.get(&format!("/v1/keys/keyd%2Fkey%2F{id}")).status, 404);
            continue;
        };
        assert_eq!(reply.status, 200, "{}", reply.json());
        let record = host.get(&format!("/v1/keys/keyd%2Fkey%2F{id}")).ok();
        assert_eq!(record["versions"][0]["protection"], expected, "{record}");
    }
}

#[test]
fn key_that_encrypts_beside_a_tpm_is_wrapped_and_no_floor_of_hardware_lets_it_be() {
    let swtpm = Swtpm::start().unwrap();
    let tpm = || Setup::default().with_tpm(&swtpm);
    check_protection(tpm(), "software", Some("wrapped"), Some("emulated"));
    let swtpm = Swtpm::start().unwrap();
    let tpm = || Setup::default().with_tpm(&swtpm);
    check_protection(tpm(), "emulated", None, Some("emulated"));
    let swtpm = Swtpm::start().unwrap();
    check_protection(Setup::default().with_tpm(&swtpm), "hardware", None, None);
}

#[test]
fn key_that_encrypts_inside_a_token_is_as_protected_as_every_other() {
    let hsm = SoftHsm::start("keyd", "1234").unwrap();
    let setup = Setup::default().with_hsm(&hsm);
    check_protection(setup, "emulated", Some("emulated"), Some("emulated"));
}

#[test]
fn k17_device_that_stops_is_an_error_in_bounded_time_and_comes_back_by_itself() {
    let mut swtpm = Swtpm::start().unwrap();
    let host = Setup::default().with_tpm(&swtpm).with_soft().with_keyd(&["tpm"], "").start();
    let handle = host.keyd_create("a", "sign");
    let sign = |host: &Sealhost| host.keyd("POST", "/sign", &sign(&handle, b"message"));
    let before = sign(&host).text("signature");
    swtpm.stop().unwrap();
    let reply = sign(&host);
    assert_eq!((reply.status, &reply.json()["code"]), (503, &json!("unavailable")));
    let made = host.keyd("POST", "/key", &json!({"keyId": "b", "usage": "sign"}));
    assert_eq!(made.status, 503, "a key was made elsewhere: {}", made.json());
    swtpm.start_again().unwrap();
    host.wait_until("the TPM is used again", |host| sign(host).status == 200);
    assert_eq!(sign(&host).text("signature"), before);
}

#[test]
fn k18_key_that_must_be_in_hardware_is_refused_without_it_and_no_file_appears() {
    let host = Setup::soft().with_keyd(&["soft"], "floor = \"hardware\"").start();
    let files = |dir: &Path| {
        let mut names: Vec<_> =
            std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let before = files(&host.state_dir());
    for (path, body) in [
        ("/key", json!({"keyId": "a", "usage": "encrypt"})),
        ("/key", json!({"keyId": "a", "usage": "sign", "keyBytes": "AAAA"})),
        ("/keypair", json!({"keyId": "a"})),
    ] {
        let reply = host.keyd("POST", path, &body);
        assert_eq!((reply.status, &reply.json()["code"]), (400, &json!("unsupported")));
    }
    assert_eq!(files(&host.state_dir()), before);
}

#[test]
fn dialect_that_is_not_switched_on_has_no_socket() {
    let host = Setup::soft().start();
    assert!(!host.keyd_socket().exists());
    let target = versioned("/key/a");
    assert!(http::try_request(&host.keyd_socket(), "GET", &target, b"").is_err());
    assert_eq!(http::request(&host.socket(), "GET", &target, b"").status, 404);
}
