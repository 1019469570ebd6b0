//! What bad input gets: its code, the whole problem document, one audit line, and a host that
//! serves on.
#![expect(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    reason = "integration tests, and what they share"
)]

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

use serde_json::{Value, json};
use tests::http::{raw, request};
use tests::{Response, Sealhost, Setup, User, b64};

/// Compares everything that a refusal is made of: document, header, audit, and the next request.
#[track_caller]
fn check(host: &Sealhost, reply: &Response, (status, code): (u16, &str), about: &Value) {
    let problem = reply.problem(status, code);
    assert_eq!(problem["type"], format!("urn:sealhost:error:{code}"));
    assert_eq!(problem["status"], status);
    assert_eq!(problem["instance"], reply.id());
    assert_eq!(problem["retryable"], false);
    for field in ["title", "detail"] {
        assert!(!problem[field].as_str().unwrap().is_empty(), "no {field} in {problem}");
    }
    assert_eq!(problem["key"], about["key"], "{problem}");
    let lines = host.audit_of(reply.id());
    let kinds: Vec<_> = lines.iter().map(|line| line["kind"].as_str().unwrap()).collect();
    let kinds_of_a_change = ["intent", "outcome"];
    assert!(kinds == ["request"] || kinds == kinds_of_a_change, "{lines:?}");
    let line = lines.last().unwrap();
    assert_eq!((&line["outcome"], &line["principal"]["uid"]), (&json!(code), &json!(0)));
    assert_eq!((&line["operation"], &line["key"]), (&about["operation"], &about["key"]), "{line}");
    assert_eq!(host.get("/v1/status").status, 200, "it does not serve any more");
}

const MALFORMED: (u16, &str) = (400, "malformed");
const INVALID: (u16, &str) = (400, "invalid");

/// Sends bodies to an endpoint of key `a`; each is refused with the code.
#[track_caller]
fn check_bodies(verb: &str, bodies: &[&str], code: (u16, &str)) {
    // Refusals past ten a second are only counted in the audit.
    for some in bodies.chunks(9) {
        let host = host_with_keys();
        for body in some {
            let target = format!("/v1/keys/a/{verb}");
            let reply = request(&host.socket(), "POST", &target, body.as_bytes());
            check(&host, &reply, code, &json!({"operation": verb, "key": "a"}));
        }
    }
}

fn host_with_keys() -> Sealhost {
    let host = Setup::soft().start();
    host.create("a", "seal", "soft");
    host.create("m", "mac", "soft");
    host.create("s", "sign", "soft");
    host
}

#[test]
fn body_that_is_not_json_is_malformed() {
    check_bodies("seal", &["{", "x", "{\"plaintext\":", "{'plaintext':''}", "\u{0}"], MALFORMED);
    check_bodies(
        "seal",
        &["{\"plaintext\":\"\"} x", "{\"plaintext\":\"\"}{}", "\u{feff}{}"],
        MALFORMED,
    );
}

#[test]
fn body_that_is_no_object_is_malformed() {
    check_bodies("seal", &["[]", "[\"\"]", "null", "1", "\"\"", "true"], MALFORMED);
}

#[test]
fn missing_field_is_malformed() {
    check_bodies("seal", &["", "{}", "{\"context\":{}}"], MALFORMED);
    check_bodies("unseal", &["", "{}"], MALFORMED);
}

#[test]
fn unknown_field_is_malformed() {
    check_bodies("seal", &["{\"plaintext\":\"\",\"aad\":\"\"}"], MALFORMED);
    check_bodies("unseal", &["{\"sealed\":\"x\",\"allow_lower\":true}"], MALFORMED);
    check_bodies("rewrap", &["{\"sealed\":\"x\",\"context\":{}}"], MALFORMED);
    check_bodies("rotate", &["{\"force\":true}"], MALFORMED);
    check_bodies("sign", &["{\"message\":\"\"}"], MALFORMED);
}

#[test]
fn duplicate_field_is_malformed() {
    check_bodies("seal", &["{\"plaintext\":\"\",\"plaintext\":\"\"}"], MALFORMED);
    check_bodies(
        "seal",
        &["{\"plaintext\":\"\",\"context\":{\"a\":\"1\",\"a\":\"2\"}}"],
        MALFORMED,
    );
}

#[test]
fn field_of_another_type_is_malformed() {
    check_bodies("seal", &["{\"plaintext\":1}", "{\"plaintext\":null}"], MALFORMED);
    let bodies =
        ["{\"plaintext\":\"\",\"context\":{\"a\":1}}", "{\"plaintext\":\"\",\"context\":[]}"];
    check_bodies("seal", &bodies, MALFORMED);
    check_bodies(
        "mac",
        &["{\"message\":\"\",\"version\":\"1\"}", "{\"message\":\"\",\"version\":-1}"],
        MALFORMED,
    );
}

#[test]
fn bad_base64_is_malformed() {
    let bodies = ["A", "AA", "AAA", "AA=", "AB==", "AA==A", "A A=", "AA==\\n", "-_==", "####"];
    let bodies = bodies.map(|text| format!("{{\"plaintext\":\"{text}\"}}"));
    check_bodies("seal", &bodies.each_ref().map(String::as_str), MALFORMED);
}

#[test]
fn bytes_that_are_not_utf8_are_malformed() {
    let host = host_with_keys();
    for body in [&b"\xff\xfe"[..], b"{\"plaintext\":\"\xff\"}"] {
        let reply = request(&host.socket(), "POST", "/v1/keys/a/seal", body);
        check(&host, &reply, MALFORMED, &json!({"operation": "seal", "key": "a"}));
    }
}

#[test]
fn deep_nesting_is_malformed() {
    let deep = "[".repeat(100_000);
    let bodies = [deep.clone(), format!("{{\"plaintext\":{deep}"), "{\"a\":".repeat(50_000)];
    check_bodies("seal", &bodies.each_ref().map(String::as_str), MALFORMED);
}

#[test]
fn envelope_that_is_none_is_malformed() {
    let bodies = ["", "x", "sealhost:1:", "sealhost:2:AAAA", "sealhost:1:####", "sealhost:1:AA=="]
        .map(|text| json!({"sealed": text}).to_string());
    check_bodies("unseal", &bodies.each_ref().map(String::as_str), MALFORMED);
    check_bodies("rewrap", &bodies.each_ref().map(String::as_str), MALFORMED);
}

#[test]
fn value_out_of_its_range_is_invalid() {
    check_create(&[
        json!({"usage": "open"}),
        json!({"usage": "seal", "algorithm": "aes"}),
        json!({"usage": "sign", "algorithm": "hmac-sha256"}),
        json!({"usage": "seal", "providers": []}),
        json!({"usage": "seal", "providers": ["soft", "soft"]}),
        json!({"usage": "seal", "providers": ["Soft"]}),
        json!({"usage": "seal", "floor": "none"}),
    ]);
    check_create(&[
        json!({"usage": "mac", "fallback": true}),
        json!({"usage": "seal", "fallback": true, "pcrs": {"sha256": [7]}}),
        json!({"usage": "seal", "pcrs": {"sha256": []}}),
        json!({"usage": "seal", "pcrs": {"sha256": [24]}}),
        json!({"usage": "seal", "pcrs": {"sha256": [7, 7]}}),
    ]);
}

/// Sends bodies that make no key; each is invalid.
#[track_caller]
fn check_create(bodies: &[Value]) {
    let host = host_with_keys();
    for body in bodies {
        let reply = host.post("/v1/keys/new", body.clone());
        check(&host, &reply, INVALID, &json!({"operation": "create", "key": "new"}));
    }
    host.get("/v1/keys/new").problem(404, "not_found");
}

#[test]
fn name_out_of_its_range_is_invalid() {
    let names = [
        "", ".records", ".", "..", "-a", "a%2F", "%2Fa", "a%2F%2Fb", "a%2F.b", "a%20b", "a%00",
        "%61", "a%", "a%2", "a+b", "a:b", "a%C3%BC", "a*", "a@b", "a&b",
    ];
    for some in names.chunks(9) {
        let host = host_with_keys();
        for name in some {
            let reply = host.post(&format!("/v1/keys/{name}/seal"), json!({"plaintext": ""}));
            check(&host, &reply, INVALID, &json!({}));
        }
    }
}

#[test]
fn wrong_usage_is_refused_both_ways() {
    let host = host_with_keys();
    let sealed = host.seal("a", "text");
    let requests = [
        ("seal", json!({"plaintext": ""}), "a"),
        ("unseal", json!({"sealed": sealed}), "a"),
        ("rewrap", json!({"sealed": sealed}), "a"),
        ("mac", json!({"message": ""}), "m"),
        ("verify", json!({"message": "", "mac": b64([0; 32])}), "m"),
        ("sign", json!({"digest": b64([0; 32])}), "s"),
    ];
    for (verb, body, right) in requests {
        for key in ["a", "m", "s"].into_iter().filter(|key| *key != right) {
            let reply = host.post(&format!("/v1/keys/{key}/{verb}"), body.clone());
            check(&host, &reply, (400, "wrong_usage"), &json!({"operation": verb, "key": key}));
        }
    }
    for key in ["a", "m"] {
        let reply = host.get(&format!("/v1/keys/{key}/public"));
        check(&host, &reply, (400, "wrong_usage"), &json!({"operation": "public", "key": key}));
    }
}

#[test]
fn unknown_key_is_not_found() {
    let host = host_with_keys();
    let reply = host.post("/v1/keys/none/seal", json!({"plaintext": ""}));
    check(&host, &reply, (404, "not_found"), &json!({"operation": "seal", "key": "none"}));
    let reply = host.post("/v1/keys/none/rotate", json!({}));
    check(&host, &reply, (404, "not_found"), &json!({"operation": "rotate", "key": "none"}));
}

#[test]
fn unknown_endpoint_is_not_found() {
    let host = host_with_keys();
    let reply = host.get("/v1/nothing");
    check(&host, &reply, (404, "not_found"), &json!({}));
}

#[test]
fn forbidden_caller_is_denied() {
    let host = Setup::soft().for_everybody().start();
    host.create("a", "seal", "soft");
    let user = User::new(4242);
    let reply = user.post(&host.socket(), "/v1/keys/a/seal", json!({"plaintext": ""}));
    let problem = reply.problem(403, "denied");
    assert_eq!((&problem["instance"], &problem["retryable"]), (&json!(reply.id()), &json!(false)));
    let lines = host.audit_of(reply.id());
    assert_eq!(lines.len(), 1);
    let expected = json!({"uid": 4242, "gid": 4242, "pid": std::process::id()});
    assert_eq!((&lines[0]["principal"], &lines[0]["outcome"]), (&expected, &json!("denied")));
    assert_eq!((&lines[0]["operation"], &lines[0]["key"]), (&json!("seal"), &json!("a")));
}

#[test]
fn body_cut_short_is_malformed_and_the_host_serves_on() {
    let host = host_with_keys();
    let mut stream = UnixStream::connect(host.socket()).unwrap();
    let head = "POST /v1/keys/a/seal HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{\"plain";
    stream.write_all(head.as_bytes()).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    stream.read_to_end(&mut Vec::new()).unwrap();
    let malformed = |host: &Sealhost| {
        let lines = host.audit();
        lines.iter().filter(|line| line["outcome"] == "malformed").count() == 1
    };
    host.wait_until("the audit of the cut request", malformed);
    assert_eq!(host.post("/v1/keys/a/seal", json!({"plaintext": ""})).status, 200);
}

#[test]
fn connections_that_break_off_leave_the_host_serving() {
    let host = host_with_keys();
    let whole = b"POST /v1/keys/a/seal HTTP/1.1\r\nHost: x\r\nContent-Length: 16\r\n\r\n{\"plaintext\":\"\"}";
    for length in 0..=whole.len() {
        let mut stream = UnixStream::connect(host.socket()).unwrap();
        stream.write_all(&whole[..length]).unwrap();
    }
    assert_eq!(host.post("/v1/keys/a/seal", json!({"plaintext": ""})).status, 200);
    let _whole = host.verified_audit();
}

/// What is not HTTP never becomes a request: a bare answer, the end of the connection, and one
/// line in the audit.
#[track_caller]
fn check_no_http(bytes: &[u8], status: u16) {
    let host = host_with_keys();
    let reply = raw(&host.socket(), bytes).unwrap();
    assert_eq!((reply.status, reply.body.len()), (status, 0), "{}", reply.head);
    let malformed = |line: &Value| line["outcome"] == "malformed";
    host.wait_until("the record", |host| host.audit().iter().any(malformed));
    assert_eq!(host.get("/v1/status").status, 200);
    let lines: Vec<_> = host.verified_audit().into_iter().filter(malformed).collect();
    assert_eq!(lines.len(), 1, "{lines:?}");
    let caller = json!({"uid": 0, "gid": 0, "pid": std::process::id()});
    assert_eq!((&lines[0]["kind"], &lines[0]["principal"]), (&json!("request"), &caller));
    assert!(lines[0]["request"].is_string() && lines[0]["operation"].is_null(), "{lines:?}");
}

#[test]
fn bytes_that_are_not_http_are_answered_400() {
    check_no_http(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400);
    check_no_http(b"GET /v1/status HTTP/9.9\r\n\r\n", 400);
    check_no_http(b"GET /v1/status HTTP/1.1\r\nContent-Length: x\r\n\r\n", 400);
    check_no_http(
        b"POST /v1/random HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}",
        400,
    );
}

#[test]
fn head_past_its_limit_is_answered_431() {
    let head = format!("GET /v1/status HTTP/1.1\r\nX-Long: {}\r\n\r\n", "x".repeat(40_000));
    check_no_http(head.as_bytes(), 431);
}

#[test]
fn bytes_that_are_not_http_past_ten_a_second_are_counted() {
    let mut host = Setup::soft().start();
    for _ in 0..40 {
        assert_eq!(raw(&host.socket(), b"\x00\r\n\r\n").unwrap().status, 400);
    }
    assert!(host.stop().success());
    let lines = host.verified_audit();
    let written = lines.iter().filter(|line| line["outcome"] == "malformed").count();
    let counted: u64 = lines.iter().filter_map(|line| line["repeated"].as_u64()).sum();
    assert_eq!(u64::try_from(written).unwrap() + counted, 40);
    assert!(written < 40);
}

#[test]
fn body_in_broken_chunks_is_malformed_and_recorded_once() {
    let host = host_with_keys();
    let head = "POST /v1/keys/a/seal HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    let reply = raw(&host.socket(), format!("{head}zz\r\n{{}}\r\n0\r\n\r\n").as_bytes()).unwrap();
    check(&host, &reply, MALFORMED, &json!({"operation": "seal", "key": "a"}));
    let lines = host.verified_audit();
    assert_eq!(lines.iter().filter(|line| line["outcome"] == "malformed").count(), 1, "{lines:?}");
}

#[test]
fn requests_after_a_refused_one_on_the_same_connection_are_answered() {
    let host = host_with_keys();
    let bad = "POST /v1/keys/a/seal HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n{";
    let good = "GET /v1/keys/a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let reply = raw(&host.socket(), format!("{bad}{good}").as_bytes()).unwrap();
    let all = format!("{}\r\n\r\n{}", reply.head, String::from_utf8(reply.body).unwrap());
    assert!(all.starts_with("HTTP/1.1 400 ") && all.contains("HTTP/1.1 200 OK"), "{all}");
    let ids = |line: &str| line.strip_prefix("x-request-id: ").map(str::to_owned);
    let ids: Vec<_> = all.lines().filter_map(ids).collect();
    assert!(ids.len() == 2 && ids[0] != ids[1], "{ids:?}");
}

#[test]
fn detail_repeats_no_value() {
    let host = host_with_keys();
    for (target, body) in [
        ("/v1/keys/a/seal", "{\"plaintext\":\"MARKER\"}"),
        ("/v1/keys/a/seal", "{\"plaintext\":{\"MARKER\":1}}"),
        ("/v1/keys/a/seal", "MARKER"),
        ("/v1/keys/a/unseal", "{\"sealed\":\"sealhost:1:MARKER\"}"),
        ("/v1/keys/m/import", "{\"usage\":\"mac\",\"key\":\"MARKER\"}"),
    ] {
        let reply = request(&host.socket(), "POST", target, body.as_bytes());
        assert_eq!(reply.status, 400);
        assert!(!String::from_utf8_lossy(&reply.body).contains("MARKER"), "{target} {body}");
    }
    assert!(!host.log().contains("MARKER"));
}
