//! The life of the secret manager: start, configuration, a host that goes and comes, kill and
//! restart, a store that was altered, and the end.
#![expect(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    reason = "integration tests, and what they share"
)]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::process::Command;

use rusqlite::Connection;
use serde_json::json;
use tests::sealhost::built;
use tests::{Sealhost, SecretManager, SecretSetup, Setup, b64};

fn start(setup: SecretSetup) -> (SecretManager, Sealhost) {
    let host = Setup::soft().start();
    (setup.start(&host), host)
}

/// Tries to start, and compares the words of its refusal.
#[track_caller]
fn check(manager: &mut SecretManager, arguments: &[&str], words: &[&str]) {
    let before = manager.log().len();
    let status = manager.try_start(arguments).unwrap_err();
    assert_eq!(status.code(), Some(1));
    let log = manager.log().split_off(before);
    for word in words {
        assert!(log.contains(word), "{word:?} is not in {log}");
    }
    assert!(!manager.socket().exists());
}

#[test]
fn restart_keeps_secrets_dates_and_tombstones() {
    let (mut manager, _host) = start(SecretSetup::cached());
    let body = json!({"value": b64("alpha"), "version": "v1", "tags": {"team": "blue"}});
    let stored = manager.put("a", body).ok();
    manager.store("gone", "x");
    manager.delete("/v1/secrets/gone").done();
    manager.restart();
    assert_eq!(manager.get("/v1/secrets/a").ok()["secret"], stored["secret"]);
    manager.get("/v1/secrets/gone").problem(404, "not_found");
    let _whole = manager.verified_audit();
}

#[test]
fn first_start_without_the_key_of_the_host_leaves_nothing_behind() {
    let host = Setup::soft().start();
    let store = "[[store]]\ntype = \"file\"\nkey = \"later\"\ncounter = \"later\"\n";
    let mut manager = SecretSetup::of(store).prepare(&host);
    check(&mut manager, &[], &["cannot be verified", "sealctl key create"]);
    host.create("later", "seal", "soft");
    manager.start();
    manager.store("a", "alpha");
    manager.restart();
    assert_eq!(manager.value("a"), b"alpha");
}

#[test]
fn host_away_is_unavailable_and_back_is_served() {
    let (manager, mut host) = start(SecretSetup::cached());
    let sealed = SecretSetup::file().start(&host);
    manager.store("a", "alpha");
    sealed.store("a", "alpha");
    let _cached = manager.value("a");
    assert!(host.stop().success());
    assert_eq!(manager.value("a"), b"alpha", "what is in memory needs no host");
    for reply in [sealed.get("/v1/secrets/a"), sealed.put("b", json!({"value": ""}))] {
        let problem = reply.problem(503, "unavailable");
        assert_eq!(problem["retryable"], true);
        assert!(!problem.to_string().contains("sock"), "{problem}");
    }
    sealed.get("/v1/secrets").done();
    host.start();
    assert_eq!(sealed.value("a"), b"alpha");
    sealed.store("b", "beta");
    assert_eq!(sealed.value("b"), b"beta");
}

#[test]
fn host_that_does_not_allow_its_key_is_an_internal_fault_with_a_line_in_the_log() {
    let (manager, mut host) = start(SecretSetup::file());
    manager.store("a", "alpha");
    host.reconfigure(|setup| setup.with_rules(""));
    host.signal("HUP");
    manager.wait_until("the refusal", |manager| manager.get("/v1/secrets/a").status != 200);
    manager.get("/v1/secrets/a").problem(500, "internal");
    assert!(manager.log().contains("the host refuses"), "{}", manager.log());
}

#[test]
fn host_that_is_away_at_the_start_is_told_with_what_to_do() {
    let mut host = Setup::soft().start();
    let mut manager = SecretSetup::cached().start(&host);
    manager.store("a", "alpha");
    assert!(manager.stop().success());
    assert!(host.stop().success());
    check(&mut manager, &[], &["cannot be verified", "see that the host serves its key"]);
    host.start();
    manager.start();
    assert_eq!(manager.value("a"), b"alpha");
}

#[test]
fn m17_kill_in_the_middle_of_puts_loses_nothing_that_was_answered() {
    let (mut manager, _host) = start(SecretSetup::cached());
    let mut told = BTreeMap::new();
    for round in 0..6_u32 {
        let socket = manager.socket();
        let told_now = std::thread::scope(|scope| {
            let writers: Vec<_> = (0..3)
                .map(|writer| {
                    let socket = &socket;
                    scope.spawn(move || {
                        let mut done = Vec::new();
                        for number in 0_u32.. {
                            let name = format!("n{writer}-{}", number % 5);
                            let value = format!("{round}-{number}");
                            let body = json!({"value": b64(&value)}).to_string();
                            let target = format!("/v1/secrets/{name}");
                            let put =
                                tests::http::try_request(socket, "PUT", &target, body.as_bytes());
                            // One that was not answered may be there or not.
                            done.push((name, value, put.is_ok_and(|reply| reply.status == 200)));
                            if !done.last().unwrap().2 {
                                break;
                            }
                        }
                        done
                    })
                })
                .collect();
            let lines = manager.audit().len();
            let more = lines + 20 + usize::try_from(round).unwrap() * 7;
            manager.wait_until("some puts", |manager| {
                let text = fs::read_to_string(manager.audit_path()).unwrap();
                text.lines().count() > more
            });
            manager.kill();
            writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect::<Vec<_>>()
        });
        manager.start();
        let mut open = BTreeMap::new();
        for (name, value, answered) in told_now {
            if answered {
                told.insert(name, value);
            } else {
                open.insert(name, value);
            }
        }
        for (name, value) in &mut told {
            let found = String::from_utf8(manager.value(name)).unwrap();
            assert!(found == *value || Some(&found) == open.get(name), "{name}: {found}, {value}");
            *value = found;
        }
        let _whole = manager.verified_audit();
    }
    assert!(told.len() > 3, "{told:?}");
}

fn edit(manager: &SecretManager, sql: &str) {
    Connection::open(manager.store_path()).unwrap().execute_batch(sql).unwrap();
}

#[test]
fn m18_altered_store_is_refused_at_start_and_stays_as_it_is() {
    let (mut manager, _host) = start(SecretSetup::cached());
    manager.store("a", "alpha");
    manager.store("b", "beta");
    assert!(manager.stop().success());
    edit(&manager, "DELETE FROM secrets WHERE name = 'b'");
    let words = ["was altered", "put back its newest copy", "docs/secrets.md section 5"];
    check(&mut manager, &[], &words);
    check(&mut manager, &[], &words);
    manager.try_start(&["--accept-present"]).unwrap();
    assert_eq!(manager.value("a"), b"alpha");
    manager.get("/v1/secrets/b").problem(404, "not_found");
    manager.restart();
    assert_eq!(manager.value("a"), b"alpha");
}

#[test]
fn m18_values_that_changed_places_are_not_served() {
    let (mut manager, _host) = start(SecretSetup::cached());
    manager.store("a", "alpha");
    manager.store("b", "beta");
    assert!(manager.stop().success());
    edit(
        &manager,
        "CREATE TEMP TABLE old AS SELECT name, sealed FROM secrets;
         UPDATE secrets SET sealed = (SELECT sealed FROM old WHERE old.name <> secrets.name)",
    );
    manager.start();
    let problem = manager.get("/v1/secrets/a").problem(400, "integrity");
    assert!(!problem.to_string().contains(&b64("beta")), "{problem}");
    manager.store("a", "alpha again");
    assert_eq!(manager.value("a"), b"alpha again");
}

#[test]
fn second_daemon_on_the_same_state_is_refused() {
    let (manager, host) = start(SecretSetup::cached());
    manager.store("a", "alpha");
    let mut other = SecretSetup::cached().prepare(&host);
    let text = fs::read_to_string(other.config_path()).unwrap();
    let theirs = format!("dir = \"{}\"", manager.state_dir().display());
    let ours = format!("dir = \"{}\"", other.state_dir().display());
    fs::write(other.config_path(), text.replace(&ours, &theirs)).unwrap();
    check(&mut other, &[], &[&manager.state_dir().display().to_string()]);
    assert_eq!(manager.value("a"), b"alpha");
}

#[test]
fn graceful_stop_serves_what_is_in_flight_and_removes_its_socket() {
    let (mut manager, _host) = start(SecretSetup::cached());
    manager.store("a", "alpha");
    let _idle: Vec<_> = (0..8).map(|_| UnixStream::connect(manager.socket()).unwrap()).collect();
    assert_eq!(manager.value("a"), b"alpha");
    let begun = std::time::Instant::now();
    assert_eq!(manager.stop().code(), Some(0), "{}", manager.log());
    assert!(begun.elapsed().as_secs() < 20, "it waited for idle connections");
    assert!(!manager.socket().exists());
    assert_eq!(manager.verified_audit().last().unwrap()["kind"], "stop");
}

#[test]
fn state_directory_and_store_are_for_its_user_alone() {
    let (manager, _host) = start(SecretSetup::cached());
    manager.store("a", "alpha");
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode(&manager.state_dir()), mode(&manager.store_path())), (0o700, 0o600));
    assert_eq!(mode(&manager.audit_path()) & 0o007, 0);
}

/// Runs `--check` on a changed configuration; whether it is accepted, and what is said.
fn checked(change: impl FnOnce(String) -> String) -> (bool, String) {
    let host = Setup::soft().start();
    let manager = SecretSetup::cached().prepare(&host);
    let text = fs::read_to_string(manager.config_path()).unwrap();
    fs::write(manager.config_path(), change(text)).unwrap();
    let command = Command::new(built("secret-manager"))
        .arg("--config")
        .arg(manager.config_path())
        .arg("--check")
        .output()
        .unwrap();
    assert!(!manager.state_dir().exists(), "a check makes nothing");
    let said = [command.stdout, command.stderr].concat();
    (command.status.success(), String::from_utf8(said).unwrap())
}

#[test]
fn check_accepts_a_good_configuration_and_starts_nothing() {
    let (accepted, said) = checked(|text| text);
    assert!(accepted && said.contains("is a valid configuration"), "{said}");
}

#[test]
fn check_lists_every_fault_at_once_with_what_to_do() {
    let (accepted, said) = checked(|text| {
        let text = text.replace("key = \"secrets/store\"", "key = \".x\"");
        text.replace("[host]\n", "[host]\nuser = 1\n").replace("\"memory\"", "\"memory\"\nttl = 1")
    });
    assert!(!accepted);
    for word in ["[[store]] #2 key", "[host] user", "[[store]] #1 ttl"] {
        assert!(said.contains(word), "{word} is not in {said}");
    }
}

#[test]
fn configuration_that_others_can_write_is_refused() {
    let host = Setup::soft().start();
    let mut manager = SecretSetup::cached().prepare(&host);
    fs::set_permissions(manager.config_path(), fs::Permissions::from_mode(0o666)).unwrap();
    check(&mut manager, &[], &["chmod go-w"]);
}

#[test]
fn store_in_memory_alone_is_warned_of_and_forgets() {
    let (mut manager, _host) = start(SecretSetup::of("[[store]]\ntype = \"memory\"\n"));
    manager.store("a", "alpha");
    assert_eq!(manager.value("a"), b"alpha");
    assert!(manager.log().contains("are gone at the next start"), "{}", manager.log());
    manager.restart();
    manager.get("/v1/secrets/a").problem(404, "not_found");
}

#[test]
fn memory_sealed_by_the_host_is_read_through_it() {
    let stores = "[[store]]\ntype = \"memory\"\nkey = \"secrets/store\"\n\
                  [[store]]\ntype = \"file\"\nkey = \"secrets/store\"\n";
    let (manager, mut host) = start(SecretSetup::of(stores));
    manager.store("a", "alpha");
    let got = manager.get("/v1/secrets/a").ok();
    assert_eq!((&got["from"], &got["protection"]), (&"memory".into(), &"software".into()));
    assert!(host.stop().success());
    manager.get("/v1/secrets/a").problem(503, "unavailable");
}
