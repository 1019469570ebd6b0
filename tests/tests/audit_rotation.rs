//! The audit in several files: under load, killed at random moments, moved by another program, and
//! under a flood of refusals.
#![expect(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    reason = "integration tests, and what they share"
)]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use tests::sealhost::built;
use tests::{Dice, Sealhost, SecretSetup, Setup, User, audit, b64, http};

const ROTATED: &str = "rotate_bytes = 16384\n";

/// What `sealctl audit verify` says of a running host's audit, which must be whole.
#[track_caller]
fn verified(host: &Sealhost) -> String {
    let output = Command::new(built("sealctl"))
        .args(["audit", "verify", "--socket"])
        .args([host.socket(), host.audit_path()])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

/// Seals until nobody answers, or somebody says so; how many were answered.
fn seal_on(socket: &Path, enough: &AtomicBool) -> usize {
    let body = json!({"plaintext": b64("text")}).to_string();
    let mut answered = 0;
    while !enough.load(Ordering::Relaxed) {
        let sent = http::try_request(socket, "POST", "/v1/keys/a/seal", body.as_bytes());
        if !sent.is_ok_and(|reply| reply.status == 200) {
            break;
        }
        answered += 1;
    }
    answered
}

#[test]
fn host_killed_while_it_rotates_starts_again_and_lacks_no_answered_request() {
    const ROUNDS: usize = 20;
    let mut dice = Dice::new();
    let mut host = Setup::soft().with_rotation(ROTATED).start();
    host.create("a", "seal", "soft");
    let (mut answered, mut slowest) = (0, Duration::ZERO);
    for _ in 0..ROUNDS {
        let never = AtomicBool::new(false);
        answered += std::thread::scope(|scope| {
            let (socket, never) = (host.socket(), &never);
            let client = || {
                scope.spawn({
                    let socket = socket.clone();
                    move || seal_on(&socket, never)
                })
            };
            let clients = [client(), client()];
            std::thread::sleep(dice.millis(100));
            host.kill();
            clients.into_iter().map(|client| client.join().unwrap()).sum::<usize>()
        });
        let begun = Instant::now();
        host.start();
        slowest = slowest.max(begun.elapsed());
    }
    let text = verified(&host);
    assert!(host.stop().success());
    let lines = host.verified_audit();
    let sealed = lines.iter().filter(|line| line["operation"] == "seal").count();
    assert!(sealed >= answered, "{sealed} lines for {answered} answers");
    let files = audit::files(&host.audit_path()).len();
    assert!(files > 3, "it was hardly rotated: {files} files");
    println!(
        "{ROUNDS} kills, {answered} answers, {} lines in {files} files, slowest start {slowest:?}\n{text}",
        lines.len()
    );
}

#[test]
fn files_beyond_those_kept_go_while_requests_go_on_and_the_log_says_so() {
    let host = Setup::soft().with_rotation("rotate_bytes = 16384\nkeep = 2\n").start();
    host.create("a", "seal", "soft");
    let enough = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let sealing = scope.spawn(|| seal_on(&host.socket(), &enough));
        host.wait_until("old files are removed", |host| {
            let first = fs::read_to_string(&audit::files(&host.audit_path())[0]).unwrap();
            !first.starts_with("{\"seq\":1,") && audit::files(&host.audit_path()).len() == 3
        });
        enough.store(true, Ordering::Relaxed);
        assert!(sealing.join().unwrap() > 0);
    });
    host.wait_until("it rests", |host| audit::files(&host.audit_path()).len() == 3);
    let text = verified(&host);
    assert!(text.contains("removed: the lines up to sequence "), "{text}");
    let mut host = host;
    host.restart();
    assert!(verified(&host).contains("removed: the lines up to sequence "));
}

#[test]
fn file_that_another_program_rotates_is_no_loss() {
    let mut host = Setup::soft().start();
    host.create("a", "seal", "soft");
    let (path, moved) = (host.audit_path(), host.dir().join("audit.log.1"));
    fs::rename(&path, &moved).unwrap();
    let _meanwhile = host.seal("a", "text");
    host.signal("HUP");
    host.wait_until("a new file", |host| host.audit_path().exists());
    // The other program may do with its name what it wants.
    fs::remove_file(moved).unwrap();
    let _after = host.seal("a", "text");
    host.wait_until("the reload", |host| host.audit().iter().any(|line| line["kind"] == "reload"));
    assert_eq!(audit::files(&path).len(), 2);
    let _whole = verified(&host);
    host.kill();
    host.start();
    let seals = host.verified_audit().iter().filter(|line| line["operation"] == "seal").count();
    assert_eq!(seals, 2);
}

#[test]
fn file_moved_away_while_the_host_is_down_is_missed_and_accepted_when_it_is_back() {
    let mut host = Setup::soft().start();
    host.create("a", "seal", "soft");
    assert!(host.stop().success());
    let (path, moved) = (host.audit_path(), host.dir().join("audit.log.1"));
    fs::rename(&path, &moved).unwrap();
    assert_eq!(host.try_start().unwrap_err().code(), Some(1));
    assert!(host.log().contains("restore registry and audit from one backup"), "{}", host.log());
    fs::rename(&moved, &path).unwrap();
    host.start();
    let _whole = verified(&host);
}

/// Sends so many requests without permission over one connection, many at a time.
fn flood(socket: &Path, requests: usize) {
    const AT_ONCE: usize = 100;
    let request = b"GET /v1/keys/a HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(AT_ONCE);
    let mut stream = UnixStream::connect(socket).unwrap();
    let mut replies = BufReader::new(stream.try_clone().unwrap());
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let (mut line, mut heads) = (Vec::new(), 0);
            while heads < requests {
                line.clear();
                assert!(replies.read_until(b'\n', &mut line).unwrap() > 0, "after {heads} replies");
                // The document before a head ends without a line break.
                heads += usize::from(line.ends_with(b"HTTP/1.1 403 Forbidden\r\n"));
            }
        });
        for _ in 0..requests / AT_ONCE {
            stream.write_all(&request).unwrap();
        }
    });
}

#[test]
fn flood_of_a_hundred_thousand_refusals_is_some_lines_and_none_is_lost() {
    const USERS: u32 = 20;
    const EACH: usize = 5_000;
    let mut host = Setup::soft().for_everybody().start();
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for uid in 5000..5000 + USERS {
            let socket = host.socket();
            scope.spawn(move || User::new(uid).does(|| flood(&socket, EACH)));
        }
    });
    let took = begun.elapsed();
    assert!(host.stop().success());
    let lines = host.verified_audit();
    let written = lines.iter().filter(|line| line["outcome"] == "denied").count();
    let counted: u64 = lines.iter().filter_map(|line| line["repeated"].as_u64()).sum();
    let asked = u64::from(USERS) * u64::try_from(EACH).unwrap();
    assert_eq!(u64::try_from(written).unwrap() + counted, asked, "one was lost");
    let windows = usize::try_from(took.as_secs()).unwrap() + 3;
    assert!(written <= 100 * windows && lines.len() <= 170 * windows, "{} lines", lines.len());
    println!("{asked} refusals in {took:?}: {written} lines, {} in all", lines.len());
}

#[test]
fn confined_daemon_goes_on_in_a_new_file_where_another_program_moved_the_old_one() {
    let host = Setup::soft().start();
    host.create("a", "seal", "soft");
    let mut manager = SecretSetup::cached().start(&host);
    let moved = manager.dir().join("audit.log.1");
    fs::rename(manager.audit_path(), &moved).unwrap();
    manager.signal("HUP");
    manager.wait_until("a new file", |manager| manager.audit_path().exists());
    fs::remove_file(moved).unwrap();
    assert!(manager.stop().success(), "{}", manager.log());
    assert_eq!(audit::files(&manager.audit_path()).len(), 2, "{}", manager.log());
    let kinds = manager.verified_audit();
    assert_eq!(kinds.last().unwrap()["kind"], "stop");
}
