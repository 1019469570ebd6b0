//! Registry and store with a byte flipped, or cut short: a daemon that finds them so says so and
//! does not serve, or serves everything as it was. Never another value, never a key less.
//!
//! The positions are the same each time. The long run: `TESTS_ROUNDS=2000 cargo test -p tests
//! --test damaged_files -- --nocapture`, so many flips of each file.
#![expect(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "integration tests, and what they share"
)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tests::{Dice, Response, Sealhost, SecretManager, SecretSetup, Setup, b64, rounds};

/// Flips of each file in `./check`.
const FLIPS: usize = 40;
const PAGE_BYTES: usize = 4096;

/// A daemon that can be started on its files, however these are.
trait Damaged {
    /// Its directory of files.
    fn files(&self) -> PathBuf;
    /// Starts it; false when it refuses.
    fn starts(&mut self) -> bool;
    fn kill(&mut self);
    fn log(&self) -> String;
    /// Asserts that everything is as it was before the damage, or is refused with a code that says
    /// so; returns whether all was served.
    fn serves(&self) -> bool;
    /// Changes something of everything; returns whether all of it was done.
    fn changes(&self) -> bool;
    /// Asserts that it is as [`changes`](Self::changes) made it.
    fn has_changed(&self);
    /// What the log says where it refuses its files.
    const REFUSALS: &'static [&'static str];
}

/// The bytes of every file of a state directory, and of the audit beside it.
struct Snapshot {
    directory: PathBuf,
    files: Vec<(PathBuf, Vec<u8>)>,
}

impl Snapshot {
    fn take(directory: PathBuf) -> Self {
        let mut paths = files_of(&directory);
        paths.push(directory.with_file_name("audit.log"));
        let read = |path: PathBuf| (path.clone(), fs::read(path).unwrap());
        Self { directory, files: paths.into_iter().map(read).collect() }
    }

    fn restore(&self) {
        for path in files_of(&self.directory) {
            fs::remove_file(path).unwrap();
        }
        for (path, bytes) in &self.files {
            fs::write(path, bytes).unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
        }
    }

    fn of(&self, name: &str) -> &(PathBuf, Vec<u8>) {
        self.files.iter().find(|(path, _)| path.ends_with(name)).unwrap()
    }
}

fn files_of(directory: &Path) -> Vec<PathBuf> {
    fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect()
}

/// What became of the damages.
#[derive(Default, Debug)]
struct Outcomes {
    refused_at_start: usize,
    refused_at_use: usize,
    served: usize,
}

impl Outcomes {
    fn check<D: Damaged>(&mut self, daemon: &mut D, what: &str) {
        let before = daemon.log().len();
        if daemon.starts() {
            let changed = daemon.serves() && daemon.changes();
            daemon.kill();
            if changed {
                // What was answered on a damaged file is there after a restart, too.
                assert!(daemon.starts(), "{what}: {}", daemon.log());
                daemon.has_changed();
                daemon.kill();
                self.served += 1;
            } else {
                self.refused_at_use += 1;
            }
        } else {
            self.refused_at_start += 1;
            let said = daemon.log()[before..].to_owned();
            assert!(D::REFUSALS.iter().any(|it| said.contains(it)), "{what}: {said}");
        }
        let said = daemon.log()[before..].to_owned();
        assert!(!said.contains("panicked"), "{what}: {said}");
    }
}

/// Flips bytes of a file of a killed daemon, one at a time.
#[track_caller]
fn check_flips<D: Damaged>(daemon: &mut D, name: &str) {
    let snapshot = Snapshot::take(daemon.files());
    let (path, whole) = snapshot.of(name);
    let mut dice = Dice::seeded(7);
    let mut outcomes = Outcomes::default();
    for round in 0..rounds(FLIPS) {
        // The first bytes, which say what the file is, and then anywhere; mostly where there is
        // something, for pages are mostly empty.
        let mut place = if round < 10 { round * 10 } else { dice.below(whole.len()) };
        while round % 8 != 0 && whole[place] == 0 {
            place = dice.below(whole.len());
        }
        let mask = u8::try_from(1 + dice.below(255)).unwrap();
        snapshot.restore();
        let mut bytes = whole.clone();
        bytes[place] ^= mask;
        fs::write(path, bytes).unwrap();
        outcomes.check(daemon, &format!("{name}, byte {place} ^ {mask:#x}"));
    }
    println!("{name}, {} bytes: {outcomes:?}", whole.len());
    assert!(outcomes.refused_at_start > 0);
    snapshot.restore();
    assert!(daemon.starts() && daemon.serves(), "the undamaged files are served");
}

/// Cuts a file of a killed daemon at each end of a page, and within pages.
#[track_caller]
fn check_cuts<D: Damaged>(daemon: &mut D, name: &str) {
    let snapshot = Snapshot::take(daemon.files());
    let (path, whole) = snapshot.of(name);
    let mut outcomes = Outcomes::default();
    let pages = (0..whole.len()).step_by(PAGE_BYTES);
    let lengths = pages.flat_map(|page| [page, page + 1, page + PAGE_BYTES / 2 + 1]);
    let lengths: Vec<_> = lengths.filter(|length| *length < whole.len()).collect();
    let step = lengths.len().div_ceil(rounds(FLIPS)).max(1);
    for length in lengths.iter().step_by(step) {
        snapshot.restore();
        fs::write(path, &whole[..*length]).unwrap();
        outcomes.check(daemon, &format!("{name}, cut at {length}"));
    }
    println!("{name}, cut: {outcomes:?}");
    assert!(outcomes.refused_at_start > 0);
}

/// A host with keys of each kind, and what it gave.
struct Host {
    host: Sealhost,
    envelopes: Vec<String>,
    shown: Vec<Value>,
}

impl Host {
    /// Killed, so that its last changes stand in the write-ahead log; or stopped, so that they
    /// stand in the file itself.
    fn new(stopped: bool) -> Self {
        let mut host = Setup::soft().start();
        host.create("a", "seal", "soft");
        let first = host.seal("a", "text");
        if stopped {
            host.restart();
        }
        host.post("/v1/keys/a/rotate", json!({})).done();
        let envelopes = vec![first, host.seal("a", "text")];
        let import = json!({"usage": "mac", "key": b64("key"), "providers": ["soft"]});
        host.post("/v1/keys/m/import", import).done();
        host.post("/v1/counters/n", json!({})).done();
        host.post("/v1/counters/n/increment", json!({})).done();
        let shown = SHOWN.map(|target| host.get(target).ok()).to_vec();
        if stopped {
            assert!(host.stop().success());
        } else {
            host.kill();
        }
        Self { host, envelopes, shown }
    }
}

const SHOWN: [&str; 3] = ["/v1/keys/a", "/v1/keys/m", "/v1/counters/n"];

impl Damaged for Host {
    const REFUSALS: &'static [&'static str] = &["registry", "soft.root"];

    fn files(&self) -> PathBuf {
        self.host.state_dir()
    }

    fn starts(&mut self) -> bool {
        self.host.try_start().is_ok()
    }

    fn kill(&mut self) {
        self.host.kill();
    }

    fn log(&self) -> String {
        self.host.log()
    }

    fn serves(&self) -> bool {
        for (target, shown) in SHOWN.iter().zip(&self.shown) {
            assert_eq!(self.host.get(target).ok(), *shown, "{target}");
        }
        for sealed in &self.envelopes {
            assert_eq!(self.host.unseal("a", sealed).text("plaintext"), b64("text"));
        }
        let mac = self.host.post("/v1/keys/m/mac", json!({"message": b64("x")})).text("mac");
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, b"key");
        assert_eq!(mac, b64(aws_lc_rs::hmac::sign(&key, b"x")));
        true
    }

    fn changes(&self) -> bool {
        let host = &self.host;
        let made = host.post("/v1/keys/new", json!({"usage": "mac"}));
        let rotated = host.post("/v1/keys/a/rotate", json!({}));
        let raised = host.post("/v1/counters/n/increment", json!({}));
        let destroyed = host.delete("/v1/keys/m?confirm=m");
        [made, rotated, raised, destroyed].iter().all(|it| served(it, &[(500, "internal")]))
    }

    fn has_changed(&self) {
        let host = &self.host;
        host.get("/v1/keys/new").done();
        assert_eq!(host.get("/v1/keys/a").ok()["versions"].as_array().unwrap().len(), 3);
        assert_eq!(host.get("/v1/counters/n").ok()["value"], 3);
        assert_eq!(host.get("/v1/keys/m").ok()["versions"][0]["state"], "destroyed");
        for sealed in &self.envelopes {
            assert_eq!(host.unseal("a", sealed).text("plaintext"), b64("text"));
        }
    }
}

/// Whether it succeeded; else it is one of these refusals.
#[track_caller]
fn served(reply: &Response, refusals: &[(u16, &str)]) -> bool {
    let json = reply.json();
    let code = json["code"].as_str().unwrap_or_default();
    assert!(reply.status < 300 || refusals.contains(&(reply.status, code)), "{json}");
    reply.status < 300
}

#[test]
fn registry_with_a_flipped_byte_is_refused_or_served_as_it_was() {
    check_flips(&mut Host::new(true), "registry.db");
}

#[test]
fn log_of_the_registry_with_a_flipped_byte_is_refused_or_served_as_it_was() {
    check_flips(&mut Host::new(false), "registry.db-wal");
}

#[test]
fn registry_that_is_cut_short_is_refused_or_served_as_it_was() {
    check_cuts(&mut Host::new(true), "registry.db");
}

#[test]
fn log_of_the_registry_that_is_cut_short_is_refused_or_served_as_it_was() {
    check_cuts(&mut Host::new(false), "registry.db-wal");
}

/// A secret manager with secrets, over a host that is well.
struct Secrets {
    manager: SecretManager,
    _host: Sealhost,
}

const SECRETS: usize = 12;

impl Secrets {
    fn new(stopped: bool) -> Self {
        let host = Setup::soft().start();
        let mut manager = SecretSetup::file().start(&host);
        manager.store("n0", value(0));
        // A deletion empties the write-ahead log, so that it comes first.
        manager.delete("/v1/secrets/n0").done();
        for number in 1..SECRETS {
            manager.store(&format!("n{number}"), value(number));
        }
        if stopped {
            assert!(manager.stop().success());
        } else {
            manager.kill();
        }
        Self { manager, _host: host }
    }
}

fn value(number: usize) -> Vec<u8> {
    format!("value {number} ").repeat(30).into_bytes()
}

impl Damaged for Secrets {
    const REFUSALS: &'static [&'static str] = &["secrets.db"];

    fn files(&self) -> PathBuf {
        self.manager.state_dir()
    }

    fn starts(&mut self) -> bool {
        self.manager.try_start(&[]).is_ok()
    }

    fn kill(&mut self) {
        self.manager.kill();
    }

    fn log(&self) -> String {
        self.manager.log()
    }

    fn serves(&self) -> bool {
        self.manager.get("/v1/secrets/n0").problem(404, "not_found");
        let mut all = true;
        for number in 1..SECRETS {
            let reply = self.manager.get(&format!("/v1/secrets/n{number}"));
            // A value's bytes are looked at when it is asked for.
            if served(&reply, &[(400, "integrity"), (500, "internal"), (500, "integrity")]) {
                assert_eq!(tests::http::bytes(&reply.json()["value"]), value(number));
            } else {
                all = false;
            }
        }
        all
    }

    fn changes(&self) -> bool {
        let value = json!({"value": b64("x")});
        let replies = [
            self.manager.put("new", value.clone()),
            self.manager.put("n1", value),
            self.manager.delete("/v1/secrets/n2"),
        ];
        replies.iter().all(|reply| served(reply, &[(500, "internal")]))
    }

    fn has_changed(&self) {
        for name in ["new", "n1"] {
            assert_eq!(self.manager.value(name), b"x");
        }
        self.manager.get("/v1/secrets/n2").problem(404, "not_found");
        assert_eq!(self.manager.value("n3"), value(3));
    }
}

#[test]
fn store_with_a_flipped_byte_is_refused_or_serves_no_other_value() {
    check_flips(&mut Secrets::new(true), "secrets.db");
}

#[test]
fn log_of_the_store_with_a_flipped_byte_is_refused_or_serves_no_other_value() {
    check_flips(&mut Secrets::new(false), "secrets.db-wal");
}

#[test]
fn store_that_is_cut_short_is_refused_or_serves_no_other_value() {
    check_cuts(&mut Secrets::new(true), "secrets.db");
}

#[test]
fn log_of_the_store_that_is_cut_short_is_refused_or_serves_no_other_value() {
    check_cuts(&mut Secrets::new(false), "secrets.db-wal");
}

#[test]
fn store_that_is_gone_is_refused_until_the_operator_accepts_it() {
    let mut secrets = Secrets::new(true);
    fs::remove_file(secrets.manager.store_path()).unwrap();
    for _again in 0..2 {
        assert!(secrets.manager.try_start(&[]).is_err());
        assert!(secrets.manager.log().contains("and the audit has seen 13"));
    }
    secrets.manager.try_start(&["--accept-present"]).unwrap();
    secrets.manager.get("/v1/secrets/n1").problem(404, "not_found");
    secrets.manager.store("n1", "new");
    secrets.manager.restart();
    assert_eq!(secrets.manager.value("n1"), b"new");
    let _whole = secrets.manager.verified_audit();
}

#[test]
fn store_put_back_alone_is_refused_and_with_its_audit_is_not() {
    let mut secrets = Secrets::new(true);
    let yesterday = Snapshot::take(secrets.files());
    secrets.manager.start();
    secrets.manager.store("n1", "newer");
    assert!(secrets.manager.stop().success());
    let (path, bytes) = yesterday.of("secrets.db");
    fs::write(path, bytes).unwrap();
    assert!(secrets.manager.try_start(&[]).is_err());
    assert!(secrets.manager.log().contains("is an older copy"), "{}", secrets.manager.log());
    yesterday.restore();
    secrets.manager.start();
    assert_eq!(secrets.manager.value("n1"), value(1));
}
