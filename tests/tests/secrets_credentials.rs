//! The socket for credentials, byte by byte, as systemd speaks with it: who is believed, what is
//! answered, and that no is said so that no unit starts on it.
#![expect(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    reason = "integration tests, and what they share"
)]

use std::fs;
use std::io::Read;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use rustix::net::{AddressFamily, SocketAddrUnix, SocketType, bind, connect, socket};
use serde_json::json;
use tests::{Sealhost, SecretManager, SecretSetup, Setup, User, b64};

/// One byte more than a credential may have.
const REFUSAL_BYTES: usize = 1024 * 1024 + 1;

fn start(mode: &str) -> (SecretManager, Sealhost) {
    let host = Setup::soft().start();
    let credential = |unit: &str, credential: &str, secret: &str| {
        format!(
            "[[credential]]\nunit = \"{unit}\"\ncredential = \"{credential}\"\nsecret = \"{secret}\"\n"
        )
    };
    let mut manager = SecretSetup::cached().for_everybody().prepare(&host);
    let socket = socket_of(&manager);
    let credentials = [
        format!("[credentials]\nsocket = \"{}\"\nmode = \"{mode}\"\n", socket.display()),
        credential("web.service", "db", "web/db"),
        credential("web.service", "large", "large"),
        credential("web.service", "empty", "empty"),
        credential("web.service", "absent", "absent"),
        credential("web.service", "old", "web/db") + "version = \"v1\"\n",
    ];
    manager.reconfigure(|setup| setup.with(&credentials.join("\n")));
    manager.start();
    manager.put("web%2Fdb", json!({"value": b64("old"), "version": "v1"})).done();
    // Of two that are active since ever the one that was created last is preferred.
    manager.store("web%2Fdb", "correct horse\0\n");
    (manager, host)
}

fn socket_of(manager: &SecretManager) -> PathBuf {
    manager.dir().join("credentials.sock")
}

/// Connects from an abstract address, or from none, and reads to the end.
fn ask(socket_path: PathBuf, address: Option<&str>) -> Vec<u8> {
    let stream = socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
    if let Some(address) = address {
        let own = SocketAddrUnix::new_abstract_name(address.as_bytes()).unwrap();
        bind(&stream, &own).unwrap();
    }
    connect(&stream, &SocketAddrUnix::new(socket_path).unwrap()).unwrap();
    let mut stream = UnixStream::from(stream);
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    answer
}

/// An address that no other test has at the same time.
fn address(rest: &str) -> String {
    let mut random = [0; 8];
    aws_lc_rs::rand::fill(&mut random).unwrap();
    format!("{:x}/{rest}", u64::from_be_bytes(random))
}

/// Asks from an address: the value, or a refusal.
#[track_caller]
fn check(manager: &SecretManager, rest: &str, value: Option<&[u8]>) {
    let answer = ask(socket_of(manager), Some(&address(rest)));
    match value {
        Some(value) => assert!(answer == value, "{rest} got {} bytes", answer.len()),
        None => assert!(answer == vec![0; REFUSAL_BYTES], "{rest} got {} bytes", answer.len()),
    }
}

/// The last line that the audit has of a credential.
#[track_caller]
fn check_last(manager: &SecretManager, unit: &str, secret: &str, outcome: &str) {
    let audit = manager.audit();
    let line = audit.iter().rfind(|line| line["operation"] == "credential").unwrap();
    let text = |field: &str| line[field].as_str().unwrap_or_default().to_owned();
    let found = (text("unit"), text("secret"), text("outcome"));
    assert_eq!(found, (unit.into(), secret.into(), outcome.into()), "{line}");
}

#[test]
fn configured_credential_gets_the_exact_bytes() {
    let (manager, _host) = start("0600");
    check(&manager, "unit/web.service/db", Some(b"correct horse\0\n"));
    check_last(&manager, "web.service", "web/db", "ok");
    check(&manager, "unit/web.service/old", Some(b"old"));
    manager.store("empty", "");
    check(&manager, "unit/web.service/empty", Some(b""));
}

#[test]
fn credential_of_one_mebibyte_is_given_whole() {
    let (manager, _host) = start("0600");
    let value: Vec<u8> = (0..=255).cycle().take(1 << 20).collect();
    manager.store("large", &value);
    check(&manager, "unit/web.service/large", Some(&value));
}

#[test]
fn credential_that_is_not_configured_is_refused() {
    let (manager, _host) = start("0600");
    check(&manager, "unit/web.service/other", None);
    check_last(&manager, "web.service", "", "not_found");
    check(&manager, "unit/mail.service/db", None);
    check_last(&manager, "mail.service", "", "not_found");
}

#[test]
fn credential_whose_secret_is_absent_or_erased_is_refused() {
    let (manager, _host) = start("0600");
    check(&manager, "unit/web.service/absent", None);
    check_last(&manager, "web.service", "absent", "not_found");
    manager.delete("/v1/secrets/web%2Fdb").done();
    check(&manager, "unit/web.service/db", None);
}

#[test]
fn address_that_systemd_would_not_have_is_refused() {
    let (manager, _host) = start("0600");
    for rest in ["user/web.service/db", "unit/web.service", "unit/web.service/db/x", "x"] {
        check(&manager, rest, None);
        check_last(&manager, "", "", "malformed");
    }
    assert_eq!(ask(socket_of(&manager), None).len(), REFUSAL_BYTES);
}

#[test]
fn forged_address_of_another_user_gets_nothing() {
    let (manager, _host) = start("0666");
    let socket = socket_of(&manager);
    let forged = address("unit/web.service/db");
    let answer = User::new(4242).does(|| ask(socket.clone(), Some(&forged)));
    assert!(answer == vec![0; REFUSAL_BYTES], "{} bytes", answer.len());
    check_last(&manager, "", "", "denied");
    check(&manager, "unit/web.service/db", Some(b"correct horse\0\n"));
}

#[test]
fn sealing_host_away_refuses_and_tells_why_in_the_audit() {
    let (mut manager, mut host) = start("0600");
    manager.restart();
    assert!(host.stop().success());
    check(&manager, "unit/web.service/db", None);
    check_last(&manager, "web.service", "web/db", "unavailable");
    host.start();
    check(&manager, "unit/web.service/db", Some(b"correct horse\0\n"));
}

#[test]
fn caller_that_reads_nothing_holds_up_nobody_and_not_the_end() {
    let (mut manager, _host) = start("0600");
    manager.store("large", vec![7; 1 << 20]);
    let stream = socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
    let own = address("unit/web.service/large");
    bind(&stream, &SocketAddrUnix::new_abstract_name(own.as_bytes()).unwrap()).unwrap();
    connect(&stream, &SocketAddrUnix::new(socket_of(&manager)).unwrap()).unwrap();
    check(&manager, "unit/web.service/db", Some(b"correct horse\0\n"));
    let begun = std::time::Instant::now();
    assert_eq!(manager.stop().code(), Some(0), "{}", manager.log());
    assert!(begun.elapsed().as_secs() < 20, "it waited for a reader");
    assert!(!socket_of(&manager).exists());
}

#[test]
fn audit_has_each_credential_and_no_value() {
    let (mut manager, _host) = start("0600");
    check(&manager, "unit/web.service/db", Some(b"correct horse\0\n"));
    check(&manager, "unit/web.service/other", None);
    assert!(manager.stop().success());
    let given = |line: &&serde_json::Value| line["operation"] == "credential";
    assert_eq!(manager.verified_audit().iter().filter(given).count(), 2);
    let text = fs::read_to_string(manager.audit_path()).unwrap() + &manager.log();
    assert!(!text.contains("correct horse") && !text.contains(&b64("correct horse")));
}
