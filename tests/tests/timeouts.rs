//! Peers that take too long: over a head, over a body, and over the end of the daemon.
#![expect(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    reason = "integration tests, and what they share"
)]

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use serde_json::{Value, json};
use tests::http::raw;
use tests::{Sealhost, Setup, audit};

const HEAD: &str = "POST /v1/random HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
                    Content-Length: 11\r\n";

fn host(limits: &str) -> Sealhost {
    Setup::soft().with(&format!("[limits]\n{limits}\n")).start()
}

/// Sends bytes and no more of the request, with one timeout short; returns what comes until the
/// host ends the connection.
#[track_caller]
fn check(timeout: &str, bytes: &str, status: &str) -> (Sealhost, String) {
    let host = host(&format!("{timeout} = \"100ms\""));
    let mut stream = UnixStream::connect(host.socket()).unwrap();
    stream.write_all(bytes.as_bytes()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut seen = String::new();
    stream.read_to_string(&mut seen).unwrap();
    assert!(seen.starts_with(status), "{seen:?}");
    assert_eq!(host.get("/v1/status").status, 200, "it does not serve any more");
    (host, seen)
}

#[test]
fn body_that_comes_too_slowly_is_malformed_and_recorded() {
    let (host, seen) = check("body_timeout", &format!("{HEAD}\r\n{{\"byt"), "HTTP/1.1 400 ");
    assert!(seen.contains("body came too slowly"), "{seen:?}");
    let lines = host.verified_audit();
    let malformed: Vec<_> = lines.iter().filter(|line| line["outcome"] == "malformed").collect();
    assert_eq!(malformed.len(), 1, "{lines:?}");
    assert_eq!(malformed[0]["operation"], "random");
}

#[test]
fn head_that_comes_too_slowly_ends_the_connection() {
    let (_host, seen) = check("head_timeout", "POST /v1/ran", "");
    assert!(!seen.contains("200"), "{seen:?}");
}

#[test]
fn idle_connection_is_closed() {
    let whole = "GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n";
    check("head_timeout", whole, "HTTP/1.1 200 ");
}

#[test]
fn body_that_comes_in_time_is_answered() {
    let host = host("body_timeout = \"60m\"");
    let reply = raw(&host.socket(), format!("{HEAD}\r\n{{\"bytes\":1}}").as_bytes()).unwrap();
    assert_eq!(reply.status, 200);
}

#[test]
fn request_in_flight_when_the_drain_is_over_is_cut() {
    let mut host = host("drain_timeout = \"100ms\"\nbody_timeout = \"60m\"");
    let mut stream = UnixStream::connect(host.socket()).unwrap();
    stream.write_all(format!("{HEAD}Expect: 100-continue\r\n\r\n").as_bytes()).unwrap();
    let mut asked = [0; 12];
    stream.read_exact(&mut asked).unwrap();
    assert_eq!(&asked, b"HTTP/1.1 100", "it waits for the body");
    assert_eq!(host.stop().code(), Some(0));
    assert!(host.log().contains("connections were cut after the drain time"), "{}", host.log());
    assert_eq!(audit::last(&host.verified_audit())["kind"], "stop");
}

#[test]
fn request_in_flight_within_the_drain_is_answered() {
    let mut host = host("drain_timeout = \"60m\"");
    let mut stream = UnixStream::connect(host.socket()).unwrap();
    stream.write_all(format!("{HEAD}Expect: 100-continue\r\n\r\n").as_bytes()).unwrap();
    stream.read_exact(&mut [0; 12]).unwrap();
    host.signal("TERM");
    host.wait_until("the end of listening", |host| UnixStream::connect(host.socket()).is_err());
    stream.write_all(b"{\"bytes\":1}").unwrap();
    let mut seen = String::new();
    stream.read_to_string(&mut seen).unwrap();
    assert!(seen.contains("HTTP/1.1 200 OK"), "{seen:?}");
    assert_eq!(host.stop().code(), Some(0));
    let random = |line: &&Value| line["operation"] == "random";
    let lines = host.verified_audit();
    assert_eq!(lines.iter().filter(random).count(), 1);
    assert_eq!(audit::last(&lines)["kind"], json!("stop"));
}
