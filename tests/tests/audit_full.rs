//! An audit that cannot be written: no record, no reply, and no harm once there is room again.
#![expect(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "integration tests, and what they share"
)]

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::json;
use tempfile::TempDir;
use tests::{Response, Sealhost, Setup, b64};

/// A small file system of its own, and a file in it that takes what room is left.
struct SmallDisk {
    dir: TempDir,
}

impl SmallDisk {
    fn mount() -> Self {
        let dir = tempfile::Builder::new().prefix("sealhost-disk-").tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=64k,mode=0700", "tmpfs"])
            .arg(dir.path())
            .status();
        assert!(mounted.unwrap().success(), "mount needs root");
        Self { dir }
    }

    fn audit(&self) -> PathBuf {
        self.dir.path().join("audit.log")
    }

    fn filler(&self) -> PathBuf {
        self.dir.path().join("filler")
    }

    /// Leaves no room, but for the rest of the page that the audit ends in.
    fn fill(&self) {
        let full = fs::write(self.filler(), vec![0; 128 * 1024]).unwrap_err();
        assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
    }

    fn make_room(&self) {
        fs::remove_file(self.filler()).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _left_behind = Command::new("umount").arg("--lazy").arg(self.dir.path()).status();
    }
}

/// Fills the disk, then asks until the answer is that it cannot be recorded; that answer holds
/// nothing else. Afterwards everything works again and the audit is whole.
#[track_caller]
fn check(ask: impl Fn(&Sealhost, usize) -> Response, secret: &str) {
    let disk = SmallDisk::mount();
    let mut host = Setup::soft().with_audit(&disk.audit()).start();
    host.create("a", "seal", "soft");
    host.create("m", "mac", "soft");
    assert!(ask(&host, 0).status < 300);

    disk.fill();
    // A page has room for some lines yet.
    let refused = (1..100).map(|round| ask(&host, round)).find(|reply| reply.status != 200);
    let refused = refused.expect("the disk is not full");
    for reply in [refused, ask(&host, 100)] {
        let problem = reply.problem(500, "internal");
        assert!(problem["detail"].as_str().unwrap().contains("audit"), "{problem}");
        let text = String::from_utf8_lossy(&reply.body).into_owned();
        assert!(!text.contains(secret) && !text.contains(&b64(secret)), "{text}");
        assert!(host.audit_of(reply.id()).is_empty());
    }
    let metrics = host.get("/metrics");
    assert_eq!(metrics.status, 200, "monitoring goes on");
    let metrics = String::from_utf8(metrics.body).unwrap();
    assert!(!metrics.contains("sealhost_audit_write_failures_total 0"), "{metrics}");

    disk.make_room();
    assert!(ask(&host, 101).status < 300);
    assert!(host.stop().success());
    let _whole = host.verified_audit();
}

#[test]
fn unseal_gives_no_plaintext_without_a_record() {
    let sealed = std::cell::OnceCell::new();
    check(
        |host, _round| host.unseal("a", sealed.get_or_init(|| host.seal("a", "MARKER"))),
        "MARKER",
    );
}

#[test]
fn mac_is_not_told_without_a_record() {
    let mac = "x";
    check(|host, _round| host.post("/v1/keys/m/mac", json!({"message": b64(mac)})), "\"mac\":");
}

#[test]
fn refusals_are_recorded_or_not_answered() {
    let disk = SmallDisk::mount();
    let host = Setup::soft().with_audit(&disk.audit()).start();
    disk.fill();
    let refused = || host.get("/v1/keys/none");
    let last = (0..100).map(|_round| refused()).find(|reply| reply.status != 404);
    last.expect("the disk is not full").problem(500, "internal");
    disk.make_room();
    refused().problem(404, "not_found");
}

#[test]
fn key_is_not_made_without_an_intent() {
    let disk = SmallDisk::mount();
    let mut host = Setup::soft().with_audit(&disk.audit()).start();
    disk.fill();
    let generation = || host.get("/v1/status").ok()["generation"].as_u64();
    let mut made = 0;
    let (refused, before) = loop {
        let before = generation();
        let reply = host.post(&format!("/v1/keys/k{made}"), json!({"usage": "seal"}));
        if reply.status != 201 {
            break (reply, before);
        }
        made += 1;
        assert!(made < 100, "the disk is not full");
    };
    refused.problem(500, "internal");
    let refused_key = format!("/v1/keys/k{made}");
    let intended = !host.audit_of(refused.id()).is_empty();
    assert_eq!(generation() != before, intended, "changed without an intent");

    disk.make_room();
    // Where the intent still found room and the outcome did not, the key is there, and the open
    // intent tells that nobody was answered.
    let there = host.get(&refused_key);
    assert_eq!(there.status == 200, intended, "{}", there.json());
    host.create("next", "seal", "soft");
    host.restart();
    let _whole = host.verified_audit();
    let text = "text";
    assert_eq!(host.unseal("next", &host.seal("next", text)).text("plaintext"), b64(text));
}

#[test]
fn increment_without_a_record_is_not_answered_and_nobody_gets_its_value() {
    let disk = SmallDisk::mount();
    let mut host = Setup::soft().with_audit(&disk.audit()).start();
    host.post("/v1/counters/n", json!({})).done();
    disk.fill();
    let raise = || host.post("/v1/counters/n/increment", json!({}));
    let mut last = 1;
    let refused = (0..100).map(|_round| raise()).find(|reply| {
        if reply.status == 200 {
            last = reply.json()["value"].as_u64().unwrap();
        }
        reply.status != 200
    });
    let problem = refused.expect("the disk is not full").problem(500, "internal");
    assert!(problem["detail"].as_str().unwrap().contains("was changed"), "{problem}");
    disk.make_room();
    assert!(raise().ok()["value"].as_u64().unwrap() > last + 1);
    host.restart();
    let _whole = host.verified_audit();
}

/// The bytes that the audit may still grow by when the disk is full: the rest of its last page.
fn rest_of_page(host: &Sealhost) -> u64 {
    const PAGE_BYTES: u64 = 4096;
    PAGE_BYTES - fs::metadata(host.audit_path()).unwrap().len() % PAGE_BYTES
}

/// Makes a change at a moment when its intent finds room on the disk and its outcome does not: the
/// reply says that it was made, and so it was.
#[track_caller]
fn check_made(change: impl Fn(&Sealhost, &str) -> Response, is_made: impl Fn(&Sealhost) -> bool) {
    let disk = SmallDisk::mount();
    let mut host = Setup::soft().with_audit(&disk.audit()).start();
    for key in ["changed", "another"] {
        host.create(key, "mac", "soft");
    }
    assert!(change(&host, "another").status < 300);
    // The checkpoint that follows a change must not take the room away later.
    host.wait_until("the change is vouched for", |host| {
        host.audit().last().unwrap()["kind"] == "checkpoint"
    });
    let text = fs::read_to_string(host.audit_path()).unwrap();
    let mut lines = text
        .lines()
        .rev()
        .filter(|line| !line.contains("\"checkpoint\""))
        .map(|line| u64::try_from(line.len()).unwrap() + 1);
    let (outcome, intent) = (lines.next().unwrap(), lines.next().unwrap());

    // Numbers in a line may be longer or shorter by some digits.
    let fits = intent + 8..intent + outcome - 8;
    let one_more = || host.get("/v1/keys/changed").ok();
    while rest_of_page(&host) < fits.end {
        one_more();
    }
    disk.fill();
    while !fits.contains(&rest_of_page(&host)) {
        assert!(rest_of_page(&host) > fits.start, "the record of a look is too long for this test");
        one_more();
    }
    let reply = change(&host, "changed");
    let problem = reply.problem(500, "internal");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("was changed") && detail.contains("look at the key"), "{detail}");
    assert_eq!(problem["key"], "changed");

    disk.make_room();
    assert!(is_made(&host), "{}", host.get("/v1/keys/changed").json());
    let left: Vec<_> = host.audit_of(reply.id());
    assert_eq!(left.len(), 1, "{left:?}");
    assert_eq!(left[0]["kind"], "intent");
    host.restart();
    assert!(is_made(&host), "it was undone");
    let _whole = host.verified_audit();
}

fn versions(host: &Sealhost) -> usize {
    host.get("/v1/keys/changed").ok()["versions"].as_array().unwrap().len()
}

#[test]
fn rotation_whose_outcome_finds_no_room_says_that_it_was_made() {
    check_made(
        |host, key| host.post(&format!("/v1/keys/{key}/rotate"), json!({})),
        |host| versions(host) == 2,
    );
}

#[test]
fn destruction_whose_outcome_finds_no_room_says_that_it_was_made() {
    check_made(
        |host, key| host.delete(&format!("/v1/keys/{key}?confirm={key}")),
        |host| host.get("/v1/keys/changed").ok()["versions"][0]["state"] == "destroyed",
    );
}
