//! The secret manager's disk failing at each call that it makes, one after the other, and the
//! secret manager killed at random moments: what was answered is there after a restart, what was
//! not is there or not, and no other value is ever given.
//!
//! The long runs: `TESTS_ROUNDS=1 cargo test -p tests --test secrets_faults -- fail`, each call
//! in turn, and `TESTS_ROUNDS=1000 cargo test -p tests --test secrets_faults -- killed`.
#![expect(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "integration tests, and what they share"
)]

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use serde_json::{Value, json};
use tests::faults::{Calls, Faults, How, Lasting};
use tests::{Dice, Sealhost, SecretManager, SecretSetup, Setup, b64, http, rounds};

/// Rounds on one store.
const ROUNDS_MAX: usize = 60;

/// What a client knows of secrets: the value that was answered, and those that were not since.
#[derive(Debug, Default)]
struct Known {
    /// None: it is not there, or was deleted.
    answered: BTreeMap<String, Option<String>>,
    unanswered: BTreeMap<String, Vec<Option<String>>>,
    made: usize,
    refused: usize,
    /// What the names of its secrets begin with: no two clients change the same.
    begin: &'static str,
}

impl Known {
    /// Changes a secret; false when there was no answer, or one that a fault explains.
    fn change(&mut self, socket: &Path, name: &str, value: Option<String>) -> bool {
        let target = format!("/v1/secrets/{name}");
        let (method, body) = match &value {
            Some(value) => ("PUT", json!({"value": b64(value)}).to_string()),
            None => ("DELETE", String::new()),
        };
        self.unanswered.entry(name.to_owned()).or_default().push(value.clone());
        if !asked(socket, method, &target, &body) {
            self.refused += 1;
            return false;
        }
        self.unanswered.remove(name);
        self.answered.insert(name.to_owned(), value);
        true
    }

    fn next_value(&mut self) -> String {
        self.made += 1;
        format!("value {}", self.made)
    }

    /// The same requests each time: two are made, one is replaced, one deleted.
    fn run_script(&mut self, socket: &Path) {
        let names = ["a", "b"].map(|letter| format!("{letter}{}", self.made));
        for name in &names {
            let value = self.next_value();
            self.change(socket, name, Some(value));
        }
        let value = self.next_value();
        self.change(socket, &names[0], Some(value));
        if !self.unanswered.contains_key(&names[1]) {
            self.change(socket, &names[1], None);
        }
    }

    /// Requests of chance, until one is not answered.
    fn work(&mut self, socket: &Path, dice: &mut Dice) {
        loop {
            let name = format!("{}{}", self.begin, dice.below(12));
            let there = self.answered.get(&name).is_some_and(Option::is_some);
            let value = (!there || dice.below(3) > 0).then(|| self.next_value());
            if !self.change(socket, &name, value) {
                return;
            }
        }
    }

    /// Looks at every secret, and settles what was not answered.
    fn check(&mut self, manager: &SecretManager) {
        for name in self.unanswered.keys() {
            self.answered.entry(name.clone()).or_default();
        }
        for (name, answered) in &mut self.answered {
            let reply = manager.get(&format!("/v1/secrets/{name}"));
            let found = match reply.status {
                404 => None,
                _ => Some(String::from_utf8(http::bytes(&reply.ok()["value"])).unwrap()),
            };
            let unanswered = self.unanswered.remove(name).unwrap_or_default();
            assert!(found == *answered || unanswered.contains(&found), "{name}: {found:?}");
            *answered = found;
        }
        self.unanswered.clear();
    }
}

/// Whether a request succeeded; a refusal is `internal`.
fn asked(socket: &Path, method: &str, target: &str, body: &str) -> bool {
    let Ok(reply) = http::try_request(socket, method, target, body.as_bytes()) else {
        return false;
    };
    let length: usize = reply.header("content-length").unwrap().parse().unwrap();
    if reply.body.len() != length {
        return false;
    }
    if reply.status >= 300 {
        let said: Value = reply.json();
        assert_eq!((reply.status, said["code"].as_str()), (500, Some("internal")), "{said}");
    }
    reply.status < 300
}

struct Bench {
    faults: Faults,
    manager: SecretManager,
    _host: Sealhost,
}

impl Bench {
    fn new() -> Self {
        let (faults, host) = (Faults::new(), Setup::soft().start());
        let mut manager = SecretSetup::file().prepare(&host);
        manager.suffer(&faults);
        manager.start();
        assert!(faults.is_loaded(), "the storage is not under control");
        Self { faults, manager, _host: host }
    }
}

/// Lets each of these calls fail in turn, until there are no more.
#[track_caller]
fn check(calls: Calls, ways: &[How], lasting: Lasting, step: usize) {
    let (begun, step) = (Instant::now(), u32::try_from(rounds(step)).unwrap());
    let (mut fired, mut refused) = (0, 0);
    for (number, how) in (0..).zip(ways) {
        let (mut bench, mut known, mut first) = (Bench::new(), Known::default(), 1 + number % step);
        for round in 1.. {
            let log = bench.manager.log().len();
            bench.faults.arm(bench.manager.dir(), calls, *how, first, lasting);
            known.run_script(&bench.manager.socket());
            let was_there = bench.faults.fired() > 0;
            bench.faults.disarm();
            bench.manager.kill();
            bench.manager.start();
            assert!(!bench.manager.log()[log..].contains("panicked"));
            known.check(&bench.manager);
            if !was_there {
                break;
            }
            (fired, first) = (fired + 1, first + step);
            if round % ROUNDS_MAX == 0 {
                refused += known.refused;
                (bench, known) = (Bench::new(), Known::default());
            }
        }
        refused += known.refused;
        let _whole = bench.manager.verified_audit();
        println!(
            "{calls:?} {how:?} {lasting:?}: {first} calls, {fired} failed, {refused} requests \
             refused in {:?}",
            begun.elapsed()
        );
    }
    assert!(fired > 0 && refused > 0);
}

#[test]
fn write_that_fails_once_loses_no_secret() {
    let ways = [How::Broken, How::Full, How::ReadOnly, How::Short, How::Lost];
    check(Calls::Writes, &ways, Lasting::Once, 7);
}

#[test]
fn writes_that_fail_from_then_on_lose_no_secret() {
    check(Calls::Writes, &[How::Broken, How::ReadOnly], Lasting::UntilDisarmed, 7);
}

#[test]
fn sync_that_fails_loses_no_secret() {
    check(Calls::Syncs, &[How::Broken], Lasting::Once, 5);
    check(Calls::Syncs, &[How::Broken], Lasting::UntilDisarmed, 5);
}

#[test]
fn audit_that_cannot_be_written_lets_no_value_out() {
    let bench = Bench::new();
    bench.manager.store("a", "the secret that must not leave");
    let audit = bench.manager.audit_path();
    bench.faults.arm(&audit, Calls::Writes, How::Broken, 1, Lasting::UntilDisarmed);
    let reply = bench.manager.get("/v1/secrets/a");
    let _said = reply.problem(500, "internal");
    let bytes = [reply.head.as_bytes(), &reply.body].concat();
    let text = String::from_utf8_lossy(&bytes);
    assert!(!text.contains("must not leave") && !text.contains(&b64("the secret that must n")));
    bench.faults.disarm();
    assert_eq!(bench.manager.value("a"), b"the secret that must not leave");
}

#[test]
fn killed_secret_manager_loses_no_secret() {
    let begun = Instant::now();
    let (mut dice, host) = (Dice::new(), Setup::soft().start());
    let mut manager = SecretSetup::cached().start(&host);
    let mut clients = ["m", "n"].map(|begin| Known { begin, ..Known::default() });
    let kills = rounds(40);
    for _ in 0..kills {
        let socket = &manager.socket();
        let after = dice.millis(60);
        std::thread::scope(|scope| {
            for known in &mut clients {
                let mut dice = dice.split();
                scope.spawn(move || known.work(socket, &mut dice));
            }
            std::thread::sleep(after);
            manager.kill();
        });
        manager.start();
        clients.iter_mut().for_each(|known| known.check(&manager));
    }
    let _whole = manager.verified_audit();
    let made: usize = clients.iter().map(|known| known.made).sum();
    println!("{kills} kills, {made} values in {:?}", begun.elapsed());
}
