//! What bad input gets from the secret manager: its code, the whole problem document, one audit
//! line, and a daemon that serves on.
#![expect(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    reason = "integration tests, and what they share"
)]

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use serde_json::{Value, json};
use tests::http::{raw, request};
use tests::{Response, Sealhost, SecretManager, SecretSetup, Setup, b64};

const MALFORMED: (u16, &str) = (400, "malformed");
const INVALID: (u16, &str) = (400, "invalid");
const TOO_LARGE: (u16, &str) = (413, "too_large");
const NOT_FOUND: (u16, &str) = (404, "not_found");

struct Both {
    manager: SecretManager,
    _host: Sealhost,
}

fn start(more: &str) -> Both {
    let host = Setup::soft().start();
    let manager = SecretSetup::cached().with(more).start(&host);
    manager.store("a", "alpha");
    Both { manager, _host: host }
}

/// Compares everything that a refusal is made of: document, header, audit, and the next request.
#[track_caller]
fn check_refused(manager: &SecretManager, reply: &Response, (status, code): (u16, &str)) {
    let problem = reply.problem(status, code);
    assert_eq!(problem["type"], format!("urn:sealhost:error:{code}"));
    assert_eq!((&problem["status"], &problem["instance"]), (&json!(status), &json!(reply.id())));
    assert_eq!(problem["retryable"], false);
    for field in ["title", "detail"] {
        assert!(!problem[field].as_str().unwrap().is_empty(), "no {field} in {problem}");
    }
    let lines = manager.audit_of(reply.id());
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!((&lines[0]["kind"], &lines[0]["outcome"]), (&json!("request"), &json!(code)));
    assert_eq!(manager.value("a"), b"alpha", "it does not serve any more");
}

/// Sends requests, each of which is refused with the code.
#[track_caller]
fn check(requests: &[(&str, &str, &str)], code: (u16, &str)) {
    // Refusals past ten a second are only counted in the audit.
    for some in requests.chunks(9) {
        let Both { manager, .. } = &start("");
        for (method, target, body) in some {
            let reply = request(&manager.socket(), method, target, body.as_bytes());
            check_refused(manager, &reply, code);
        }
    }
}

/// Puts bodies, each of which is refused with the code.
#[track_caller]
fn check_puts(bodies: &[&str], code: (u16, &str)) {
    let requests: Vec<_> = bodies.iter().map(|body| ("PUT", "/v1/secrets/a", *body)).collect();
    check(&requests, code);
}

#[test]
fn body_that_is_no_json_object_is_malformed() {
    check_puts(&["{", "x", "[]", "null", "\"\"", "{\"value\":\"\"} x", "\u{feff}{}"], MALFORMED);
}

#[test]
fn missing_unknown_and_duplicate_fields_are_malformed() {
    check_puts(
        &[
            "",
            "{}",
            "{\"version\":\"v1\"}",
            "{\"value\":\"\",\"name\":\"a\"}",
            "{\"value\":\"\",\"value\":\"\"}",
            "{\"value\":\"\",\"tags\":{\"a\":\"1\",\"a\":\"2\"}}",
        ],
        MALFORMED,
    );
    check(
        &[
            ("POST", "/v1/batch", "{\"items\":[{\"name\":\"a\",\"force\":true}]}"),
            ("POST", "/v1/batch", "{\"items\":{}}"),
            ("POST", "/v1/batch", "{\"items\":[[\"a\"]]}"),
        ],
        MALFORMED,
    );
}

#[test]
fn bad_base64_is_malformed() {
    let bodies = ["A", "AA", "AA=", "AB==", "AA==A", "A A=", "AA==\\n", "-_==", "####"];
    let bodies = bodies.map(|text| format!("{{\"value\":\"{text}\"}}"));
    check_puts(&bodies.each_ref().map(String::as_str), MALFORMED);
}

#[test]
fn field_of_another_type_is_malformed() {
    check_puts(&["{\"value\":1}", "{\"value\":null}", "{\"value\":\"\",\"tags\":[]}"], MALFORMED);
    check_puts(&["{\"value\":\"\",\"version\":1}"], MALFORMED);
}

#[test]
fn body_where_none_belongs_is_malformed() {
    check(
        &[
            ("GET", "/v1/secrets/a", "{}"),
            ("DELETE", "/v1/secrets/a", "{}"),
            ("GET", "/v1/secrets", "{}"),
            ("GET", "/v1/status", "{}"),
        ],
        MALFORMED,
    );
}

#[test]
fn dates_that_exclude_each_other_are_invalid() {
    let day = "2026-01-01T00:00:00Z";
    let body = format!("{{\"value\":\"\",\"activation\":\"{day}\",\"expiration\":\"{day}\"}}");
    check_puts(&[&body], INVALID);
}

#[test]
fn names_versions_dates_and_parameters_out_of_range_are_invalid() {
    let long = format!("/v1/secrets/{}", "n".repeat(129));
    let version = format!("/v1/secrets/a?version={}", "v".repeat(65));
    check(
        &[
            ("GET", "/v1/secrets/.hidden", ""),
            ("GET", "/v1/secrets/", ""),
            ("GET", "/v1/secrets/a%20b", ""),
            ("GET", &long, ""),
            ("GET", &version, ""),
            ("GET", "/v1/secrets/a?at=yesterday", ""),
            ("GET", "/v1/secrets/a?version=v1&version=v2", ""),
            ("GET", "/v1/secrets/a?colour=red", ""),
            ("DELETE", "/v1/secrets/a?at=2026-01-01T00:00:00Z", ""),
        ],
        INVALID,
    );
}

#[test]
fn unknown_endpoint_is_not_found() {
    check(
        &[
            ("GET", "/", ""),
            ("GET", "/v2/secrets", ""),
            ("POST", "/v1/secrets/a", ""),
            ("GET", "/v1/secrets/a/b", ""),
        ],
        NOT_FOUND,
    );
}

#[test]
fn value_one_past_limit_is_too_large() {
    let at = json!({"value": b64(vec![7; 1 << 20])});
    let past = json!({"value": b64(vec![7; (1 << 20) + 1])}).to_string();
    let Both { manager, .. } = &start("");
    manager.put("b", at).done();
    let reply = request(&manager.socket(), "PUT", "/v1/secrets/a", past.as_bytes());
    check_refused(manager, &reply, TOO_LARGE);
}

#[test]
fn body_one_past_limit_is_too_large() {
    let Both { manager, .. } = &start("");
    let start = "{\"value\":\"\",";
    let body = format!("{start}{}\"tags\":{{}}}}", " ".repeat((4 << 20) - start.len() - 10));
    assert_eq!(body.len(), 4 << 20);
    request(&manager.socket(), "PUT", "/v1/secrets/b", body.as_bytes()).done();
    let body = format!("{body} ");
    let reply = request(&manager.socket(), "PUT", "/v1/secrets/a", body.as_bytes());
    check_refused(manager, &reply, TOO_LARGE);
}

#[test]
fn bytes_that_are_not_http_are_refused_and_recorded() {
    let Both { manager, .. } = &start("");
    let reply = raw(&manager.socket(), b"\x16\x03\x01hello\r\n\r\n").unwrap();
    assert_eq!((reply.status, reply.body.len()), (400, 0));
    manager.wait_until("the record", |manager| {
        manager.audit().iter().any(|line| line["outcome"] == "malformed")
    });
}

#[test]
fn slow_body_is_malformed_and_slow_head_ends_the_connection() {
    let limits = "[limits]\nhead_timeout = \"300ms\"\nbody_timeout = \"300ms\"\n";
    let Both { manager, .. } = &start(limits);
    let head = "PUT /v1/secrets/a HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{";
    check_refused(manager, &raw_and_wait(manager, head), MALFORMED);
    let mut stream = UnixStream::connect(manager.socket()).unwrap();
    stream.write_all(b"GET /v1/sta").unwrap();
    let mut rest = Vec::new();
    let _closed_either_way = stream.read_to_end(&mut rest);
    assert!(!String::from_utf8_lossy(&rest).contains("200"));
    assert_eq!(manager.value("a"), b"alpha");
}

fn raw_and_wait(manager: &SecretManager, bytes: &str) -> Response {
    raw(&manager.socket(), bytes.as_bytes()).unwrap()
}

/// A connection that has its place, as an answer on it shows, and keeps it. Connections that are
/// just ending may still have theirs.
fn admitted(manager: &SecretManager) -> UnixStream {
    let mut held = None;
    manager.wait_until("a place", |manager| {
        let mut stream = UnixStream::connect(manager.socket()).unwrap();
        stream.write_all(b"GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let mut begins = [0; 12];
        stream.read_exact(&mut begins).unwrap();
        let is_admitted = &begins == b"HTTP/1.1 200";
        held = is_admitted.then_some(stream);
        is_admitted
    });
    held.unwrap()
}

#[test]
fn caller_past_its_connections_is_busy() {
    let Both { manager, .. } = &start("[limits]\nconnections_per_uid = 2\n");
    let held: Vec<_> = (0..2).map(|_| admitted(manager)).collect();
    let problem = manager.get("/v1/status").problem(429, "busy");
    assert_eq!(problem["retryable"], Value::Bool(true));
    drop(held);
    manager.wait_until("room", |manager| manager.get("/v1/status").status == 200);
}
