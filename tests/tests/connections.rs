//! Limits of connections and requests: an explicit `busy`, recorded, and nobody else disturbed.
#![expect(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    reason = "integration tests, and what they share"
)]

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use serde_json::{Value, json};
use swtpm_fixtures::Swtpm;
use tests::http::try_request;
use tests::{Response, Sealhost, Setup, User};

/// Compares a refusal for lack of room, and what the audit has of it.
#[track_caller]
fn check(host: &Sealhost, reply: &Response, uid: u32, detail: &str) {
    let problem = reply.problem(429, "busy");
    assert_eq!((&problem["retryable"], &problem["retry_after_ms"]), (&json!(true), &json!(1000)));
    assert_eq!(
        (reply.header("retry-after"), &problem["instance"]),
        (Some("1"), &json!(reply.id()))
    );
    assert!(problem["detail"].as_str().unwrap().contains(detail), "{problem}");
    let lines = host.audit_of(reply.id());
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!(
        (&lines[0]["outcome"], &lines[0]["principal"]["uid"]),
        (&json!("busy"), &json!(uid))
    );
}

const EVERYBODY: &str = "[[rule]]\nprincipal = { uid = 0 }\nkeys = [\"**\"]\noperations = [\"*\"]\n\
                         [[rule]]\nprincipal = { uid = 4242 }\noperations = [\"random\"]\n";

fn host(limits: &str) -> Sealhost {
    let limits = format!("[limits]\n{limits}\n");
    Setup::soft().for_everybody().with_rules(EVERYBODY).with(&limits).start()
}

/// Opens a connection and keeps it after one answered request.
fn held(host: &Sealhost) -> UnixStream {
    let mut stream = UnixStream::connect(host.socket()).unwrap();
    stream.write_all(b"GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut seen = [0; 12];
    stream.read_exact(&mut seen).unwrap();
    assert_eq!(&seen, b"HTTP/1.1 200");
    stream
}

fn random(host: &Sealhost) -> Response {
    host.post("/v1/random", json!({"bytes": 1}))
}

fn user() -> User {
    User::new(4242)
}

fn random_of_user(host: &Sealhost) -> Response {
    user().post(&host.socket(), "/v1/random", json!({"bytes": 1}))
}

#[test]
fn connection_of_a_user_past_the_limit_is_busy_and_others_are_served() {
    let host = host("connections_per_uid = 2");
    let first = held(&host);
    assert_eq!(random(&host).status, 200, "the second connection of two");
    // The second one ends with its answer; wait until the host has noticed.
    let mut second = None;
    host.wait_until("a place", |host| {
        let reply = try_request(&host.socket(), "GET", "/v1/status", b"");
        let free = reply.is_ok_and(|reply| reply.status == 200);
        if free && second.is_none() {
            second = try_hold(host);
        }
        second.is_some()
    });
    check(&host, &random(&host), 0, "2 connections of this user");
    assert_eq!(random_of_user(&host).status, 200);
    drop((first, second));
    host.wait_until("room", |host| random(host).status == 200);
}

/// As [`held`], unless there is no room yet.
fn try_hold(host: &Sealhost) -> Option<UnixStream> {
    let mut stream = UnixStream::connect(host.socket()).unwrap();
    stream.write_all(b"GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut seen = [0; 12];
    stream.read_exact(&mut seen).unwrap();
    (&seen == b"HTTP/1.1 200").then_some(stream)
}

#[test]
fn connection_of_all_past_the_limit_is_busy() {
    let host = host("connections = 1");
    let first = held(&host);
    check(&host, &random_of_user(&host), 4242, "1 connections");
    drop(first);
    host.wait_until("room", |host| random_of_user(host).status == 200);
}

#[test]
fn many_connections_at_the_limit_are_all_served() {
    let host = host("connections_per_uid = 64");
    let streams: Vec<_> = (0..64).map(|_| held(&host)).collect();
    check(&host, &random(&host), 0, "64 connections of this user");
    drop(streams);
    host.wait_until("room", |host| random(host).status == 200);
    let _whole = host.verified_audit();
}

#[test]
fn refused_connections_past_ten_a_second_are_counted() {
    let mut host = host("connections_per_uid = 1");
    let first = held(&host);
    for _ in 0..40 {
        random(&host).problem(429, "busy");
    }
    drop(first);
    assert!(host.stop().success());
    let lines = host.verified_audit();
    let written = lines.iter().filter(|line| line["outcome"] == "busy").count();
    let counted: u64 = lines.iter().filter_map(|line| line["repeated"].as_u64()).sum();
    assert_eq!(u64::try_from(written).unwrap() + counted, 40);
    assert!(written < 40);
}

#[test]
fn request_past_those_in_flight_is_busy_and_the_first_is_answered() {
    let mut swtpm = Swtpm::start().unwrap();
    let setup = Setup::default().with_tpm(&swtpm).for_everybody().with_rules(EVERYBODY);
    let host = setup.with("[limits]\nin_flight_per_uid = 1\n").start();
    host.create("a", "mac", "tpm");
    swtpm.suspend().unwrap();
    std::thread::scope(|scope| {
        let first = scope.spawn(|| host.post("/v1/keys/a/rotate", json!({})));
        let intended = |line: &Value| line["operation"] == "rotate" && line["kind"] == "intent";
        host.wait_until("the intent", |host| host.audit().iter().any(intended));
        check(&host, &host.get("/v1/keys"), 0, "1 requests of this user");
        user().get(&host.socket(), "/v1/keys").problem(403, "denied");
        swtpm.resume().unwrap();
        assert_eq!(first.join().unwrap().status, 200);
    });
    assert_eq!(host.get("/v1/keys").status, 200);
}
