//! What a client of the aziot Key Service that means harm, or one that errs, cannot do.
#![expect(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    reason = "integration tests, and what they share"
)]

use serde_json::{Value, json};
use tests::keyd::{VERSION, encrypt, refused, sign};
use tests::{Response, Sealhost, Setup, User, b64, http};

const INVALID_HANDLE: &str = "parameter \"handle\" has an invalid value\ncaused by: invalid handle";
const PRINCIPALS: &str = "[[keyd.principal]]\nuid = 1000\nkeys = [\"*\"]\n";

fn host() -> Sealhost {
    Setup::soft().with_keyd(&["soft"], "").start()
}

/// A handle with one of its claims replaced.
fn with_claim(handle: &str, claim: &str, value: Value) -> String {
    let (sr, sig) = handle.split_once("&sig=").unwrap();
    let text = http::bytes(&Value::from(sr.strip_prefix("sr=").unwrap()));
    let mut claims: Value = serde_json::from_slice(&text).unwrap();
    claims[claim] = value;
    format!("sr={}&sig={sig}", b64(claims.to_string()))
}

/// Uses a handle of which one claim was replaced.
#[track_caller]
fn check_forged(claim: &str, value: Value) {
    let host = host();
    let forged = with_claim(&host.keyd_create("a", "sign"), claim, value);
    refused(&host.keyd("POST", "/sign", &sign(&forged, b"message")), 400, INVALID_HANDLE);
    refused(&host.keyd("DELETE", "/key", &json!({"keyHandle": forged})), 400, INVALID_HANDLE);
    assert!(!host.log().contains("nowhere"), "{}", host.log());
}

#[test]
fn k9_handle_with_another_claim_is_invalid_whatever_is_claimed() {
    check_forged("generation", json!(2));
    check_forged("uid", json!(1000));
    check_forged("derived_by", json!(b64("data")));
    check_forged("key_id", json!({"Key": "absent"}));
}

#[test]
fn k9_handle_that_claims_a_provider_which_is_not_there_is_invalid_and_not_logged() {
    check_forged("provider", json!("nowhere"));
}

/// What the daemon's memory was at its most, in KiB.
fn peak_kib(host: &Sealhost) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", host.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn field_that_nobody_knows_costs_no_more_memory_than_its_body() {
    let host = host();
    let handle = host.keyd_create("a", "encrypt");
    let before = peak_kib(&host);
    for path in ["/encrypt", "/decrypt", "/sign", "/derivedkey", "/key"] {
        let mut body = json!({"keyHandle": handle});
        body["unknown"] = Value::from(vec![0; 2_000_000]);
        assert_eq!(host.keyd("POST", path, &body).status, 422, "{path}");
    }
    let more = peak_kib(&host) - before;
    assert!(more < 32 * 1024, "{more} KiB more");
}

#[test]
fn principal_of_the_dialect_has_no_right_at_the_native_door() {
    let setup = Setup::soft().for_everybody();
    let host = setup.with_keyd_for(&["soft"], "floor = \"hardware\"", PRINCIPALS).start();
    User::new(1000).does(|| {
        for (usage, name) in [("mac", "keyd%2Fkey%2Fa"), ("sign", "keyd%2Fpair%2Fa")] {
            let path = format!("/v1/keys/{name}");
            host.post(&path, json!({"usage": usage})).problem(403, "denied");
            host.get(&path).problem(403, "denied");
        }
        let listed = host.get("/v1/keys");
        assert!(listed.status == 403 || !listed.ok().to_string().contains("keyd/"));
    });
}

/// Refuses the second of two encryptions under one vector, with what `between` does between.
#[track_caller]
fn check_repeat(usage: &str, derived: bool, between: impl Fn(&Sealhost, &str)) {
    let host = Setup::soft().with_keyd(&["soft"], "refuse_repeated_ivs = true").start();
    let key = host.keyd_create("a", usage);
    let handle = if derived { derive(&host, &key, b"data") } else { key.clone() };
    let seal = || host.keyd("POST", "/encrypt", &encrypt(&handle, b"iv", b"", b"text")).status;
    assert_eq!(seal(), 200);
    between(&host, &key);
    assert_eq!(seal(), 400);
}

fn derive(host: &Sealhost, base: &str, data: &[u8]) -> String {
    let body = json!({"baseKeyHandle": base, "derivationData": b64(data)});
    host.keyd("POST", "/derivedkey", &body).text("keyHandle")
}

#[test]
fn repeated_vector_of_a_derived_key_is_refused_too() {
    check_repeat("derive", true, |_, _| {});
}

#[test]
fn repeated_vector_is_told_by_the_derived_key_and_not_by_its_handle() {
    check_repeat("derive", true, |host, base| {
        let other = derive(host, base, b"other");
        let seal = |handle: &str| {
            host.keyd("POST", "/encrypt", &encrypt(handle, b"iv", b"", b"text")).status
        };
        assert_eq!(seal(&other), 200);
        assert_eq!(seal(&derive(host, base, b"data")), 400);
    });
}

#[test]
fn reply_without_a_body_names_its_request_too() {
    let host = host();
    let handle = host.keyd_create("a", "sign");
    let reply = host.keyd("DELETE", "/key", &json!({"keyHandle": handle}));
    assert_eq!((reply.status, reply.body.len()), (204, 0));
    assert_eq!((reply.header("content-type"), reply.header("transfer-encoding")), (None, None));
    assert_eq!(host.audit_of(reply.id()).len(), 2);
}

/// A request that no client of the dialect sends, as it stands.
fn odd(host: &Sealhost, method: &str, target: &str) -> Response {
    let request = format!("{method} {target} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    http::raw(&host.keyd_socket(), request.as_bytes()).unwrap()
}

#[test]
fn method_that_no_path_has_is_not_allowed() {
    let host = host();
    for method in ["OPTIONS", "PATCH", "TRACE", "BREW"] {
        refused(&odd(&host, method, &format!("/key?{VERSION}")), 400, "method not allowed");
    }
    let head = odd(&host, "HEAD", &format!("/key/a?{VERSION}"));
    assert_eq!((head.status, head.body.len()), (400, 0));
    refused(&odd(&host, "OPTIONS", &format!("/nothing?{VERSION}")), 404, "not found");
}

#[test]
fn path_that_is_written_otherwise_is_another() {
    let host = host();
    let _made = host.keyd_create("a/b", "sign");
    for (path, status) in [
        ("/key/a%2Fb", 200),
        ("/key/%61%2fb", 200),
        ("/key/a%252Fb", 400),
        ("/key/a/b", 404),
        ("/key//a%2Fb", 404),
        ("/key/a%2Fb/", 404),
        ("//key/a%2Fb", 404),
        ("/KEY/a%2Fb", 404),
        ("/key/../key/a%2Fb", 404),
    ] {
        assert_eq!(odd(&host, "GET", &format!("{path}?{VERSION}")).status, status, "{path}");
    }
}

#[test]
fn log_has_neither_keys_nor_texts_nor_handles() {
    let host = Setup::soft().with_keyd(&["soft"], "").start();
    let handle = host.keyd_import("a", "encrypt", b"SECRETSECRETSECRETSECRETSECRET12");
    let seal = || host.keyd("POST", "/encrypt", &encrypt(&handle, b"iv", b"", b"PLAINTEXT"));
    let ciphertext = [seal(), seal()].map(|reply| reply.text("ciphertext"))[0].clone();
    let wrong = tests::keyd::decrypt(&handle, b"other", b"", &ciphertext);
    assert_eq!(host.keyd("POST", "/decrypt", &wrong).status, 400);
    let texts = [host.log(), host.audit().iter().map(Value::to_string).collect()];
    for word in ["SECRET", "PLAINTEXT", &b64("SECRETSECRET"), &b64("PLAINTEXT"), &handle[3..40]] {
        assert!(texts.iter().all(|text| !text.contains(word)), "{word}");
    }
}
