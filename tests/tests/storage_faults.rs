//! The host's disk failing at each call that it makes, one after the other, in each way: the
//! caller hears of it or nothing happened, and what was answered is there after a restart.
//!
//! The long run takes each call in turn: `TESTS_ROUNDS=1 cargo test -p tests --test
//! storage_faults`; the number is the step from one call to the next, as it is for `./check`.
#![expect(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "integration tests, and what they share"
)]

use std::time::Instant;

use tests::faults::{Calls, Faults, How, Lasting};
use tests::ledger::{Client, Devices, Tally, check_audit, check_nothing_is_lost};
use tests::{Dice, Sealhost, Setup, b64, rounds};

/// What a client may hear of a disk that fails.
const REFUSALS: &[(u16, &str)] = &[(500, "internal")];
/// Rounds on one host, whose registry is then long.
const ROUNDS_MAX: u32 = 60;
const EVERY_WAY: [How; 5] = [How::Broken, How::Full, How::ReadOnly, How::Short, How::Lost];
const ERRORS: [How; 3] = [How::Broken, How::Full, How::ReadOnly];

/// A host whose storage is under control, with one client.
struct Bench {
    faults: Faults,
    host: Sealhost,
    clients: [Client; 1],
    tally: Tally,
    rounds: u32,
}

impl Bench {
    fn new() -> Self {
        let faults = Faults::new();
        let mut host = Setup::soft().prepare();
        host.suffer(&faults);
        host.start();
        assert!(faults.is_loaded(), "the storage is not under control");
        let client = Client::new(0, Dice::new(), &["soft"]).with_counter("registry");
        let clients = [client.expecting(REFUSALS)];
        Self { faults, host, clients, tally: Tally::default(), rounds: 0 }
    }

    /// Lets the n-th call fail while a client does everything once; returns whether there were so
    /// many calls.
    fn round(&mut self, calls: Calls, how: How, first: u32, lasting: Lasting) -> bool {
        self.rounds += 1;
        let log = self.host.log().len();
        self.faults.arm(self.host.dir(), calls, how, first, lasting);
        let socket = self.host.socket();
        self.tally.answered += self.clients[0].run_script(&socket);
        let fired = self.faults.fired() > 0;
        self.tally.faults += usize::from(fired);
        self.faults.disarm();
        // Not asked to stop: whatever it holds in memory alone is gone.
        self.host.kill();
        self.host.start();
        let said = self.host.log()[log..].to_owned();
        assert!(!said.contains("panicked"), "{said}");
        check_nothing_is_lost(&self.host, &mut self.clients, Devices::default(), &mut self.tally);
        fired
    }

    fn finish(mut self) -> Tally {
        let status = self.host.get("/v1/status").ok();
        assert!(self.host.stop().success(), "{}", self.host.log());
        let generation = status["generation"].as_u64().unwrap();
        check_audit(&self.host, self.clients[0].unanswered(), generation);
        self.tally
    }
}

/// Lets each of these calls fail in turn, until there are no more.
#[track_caller]
fn check(calls: Calls, ways: &[How], lasting: Lasting, step: usize) {
    let begun = Instant::now();
    let step = u32::try_from(rounds(step)).unwrap();
    let mut all = Tally::default();
    for (number, how) in (0..).zip(ways) {
        let mut bench = Bench::new();
        // Each way begins elsewhere, so that together they meet more calls.
        let mut first = 1 + number % step;
        while bench.round(calls, *how, first, lasting) {
            first += step;
            if bench.rounds == ROUNDS_MAX {
                all += std::mem::replace(&mut bench, Bench::new()).finish();
            }
        }
        all += bench.finish();
        println!("{calls:?} {how:?} {lasting:?}: {first} calls, {all:?} in {:?}", begun.elapsed());
    }
    assert!(all.faults > ways.len() && all.undone > 0, "{all:?}");
}

#[test]
fn write_that_fails_once_loses_nothing() {
    check(Calls::Writes, &EVERY_WAY, Lasting::Once, 31);
}

#[test]
fn writes_that_fail_from_then_on_lose_nothing() {
    check(Calls::Writes, &ERRORS, Lasting::UntilDisarmed, 41);
}

#[test]
fn sync_that_fails_once_loses_nothing() {
    check(Calls::Syncs, &[How::Broken, How::Full], Lasting::Once, 7);
}

#[test]
fn syncs_that_fail_from_then_on_lose_nothing() {
    check(Calls::Syncs, &[How::Broken], Lasting::UntilDisarmed, 7);
}

/// Starts a host while each of these calls fails in turn: it starts, or says why not and what to
/// look at; afterwards it starts, and everything is as it was.
#[track_caller]
fn check_start(calls: Calls, how: How, step: usize) {
    let step = u32::try_from(rounds(step)).unwrap();
    let (mut refused, mut started) = (0, 0);
    let faults = Faults::new();
    let mut first = 1;
    loop {
        let mut fresh = Setup::soft().prepare();
        fresh.suffer(&faults);
        faults.arm(fresh.dir(), calls, how, first, Lasting::Once);
        let begun = fresh.try_start();
        faults.disarm();
        let fired = faults.fired() > 0;
        match begun {
            Ok(()) => {
                started += 1;
                fresh.kill();
            }
            Err(status) => {
                refused += 1;
                assert_eq!(status.code(), Some(1), "{}", fresh.log());
                assert!(fresh.log().contains("ERROR") || fresh.log().contains("sealhost: "));
            }
        }
        fresh.start();
        fresh.create("a", "seal", "soft");
        let sealed = fresh.seal("a", "text");
        // The same at a start that finds a registry with keys.
        fresh.kill();
        faults.arm(fresh.dir(), calls, how, first, Lasting::Once);
        match fresh.try_start() {
            Ok(()) => fresh.kill(),
            Err(status) => {
                refused += 1;
                assert_eq!(status.code(), Some(1), "{}", fresh.log());
            }
        }
        faults.disarm();
        fresh.start();
        assert_eq!(fresh.unseal("a", &sealed).text("plaintext"), b64("text"));
        assert!(fresh.stop().success());
        let _whole = fresh.verified_audit();
        assert!(!fresh.log().contains("panicked"), "{}", fresh.log());
        if !fired {
            break;
        }
        first += step;
    }
    println!("{calls:?} {how:?}: {first} calls, {refused} refused, {started} started");
    // SQLite goes on after half a write, and so a start whose writes are short may well succeed.
    assert!(refused > 0 || how == How::Short, "no start was refused");
}

#[test]
fn start_whose_write_fails_is_refused_or_loses_nothing() {
    check_start(Calls::Writes, How::Broken, 7);
    check_start(Calls::Writes, How::Short, 19);
}

#[test]
fn start_whose_sync_fails_is_refused_or_loses_nothing() {
    check_start(Calls::Syncs, How::Broken, 3);
}

#[test]
fn start_whose_names_cannot_be_made_is_refused_or_loses_nothing() {
    check_start(Calls::Creates, How::Full, 1);
    check_start(Calls::Renames, How::ReadOnly, 1);
    check_start(Calls::Truncates, How::Broken, 1);
}

/// A host with a sealed text whose audit takes nothing any more.
fn with_mute_audit(calls: Calls) -> (Bench, String) {
    let bench = Bench::new();
    bench.host.create("a", "seal", "soft");
    let sealed = bench.host.seal("a", SECRET);
    bench.faults.arm(&bench.host.audit_path(), calls, How::Broken, 1, Lasting::UntilDisarmed);
    (bench, sealed)
}

const SECRET: &str = "the secret that must not leave";

/// Every request is refused, and no byte of what it would have told is on the socket.
#[track_caller]
fn check_refused(host: &Sealhost, sealed: &str) {
    let items = serde_json::json!({"items": [{"sealed": sealed}]});
    for reply in [
        host.unseal("a", sealed),
        host.post("/v1/keys/a/unseal", items),
        host.get("/v1/keys/a"),
        host.get("/v1/keys/none"),
        host.post("/v1/keys/b", serde_json::json!({"usage": "mac"})),
    ] {
        let _said = reply.problem(500, "internal");
        let bytes = [reply.head.as_bytes(), &reply.body].concat();
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains(SECRET) && !text.contains(&b64(SECRET)), "{text}");
    }
}

#[test]
fn audit_that_cannot_be_written_lets_no_plaintext_out_until_it_can() {
    let (bench, sealed) = with_mute_audit(Calls::Writes);
    check_refused(&bench.host, &sealed);
    bench.faults.disarm();
    assert_eq!(bench.host.unseal("a", &sealed).text("plaintext"), b64(SECRET));
    let _whole = bench.host.verified_audit();
}

#[test]
fn audit_that_cannot_be_synced_refuses_everything_until_the_restart() {
    let (mut bench, sealed) = with_mute_audit(Calls::Syncs);
    bench.host.wait_until("a failed sync", |host| host.unseal("a", &sealed).status == 500);
    check_refused(&bench.host, &sealed);
    bench.faults.disarm();
    // The disk is well again; what it lost it has lost, so nothing changes until somebody looks.
    check_refused(&bench.host, &sealed);
    assert_eq!(bench.host.get("/metrics").status, 200);
    assert!(!bench.host.stop().success());
    assert!(bench.host.log().contains("could not be synced"), "{}", bench.host.log());
    bench.host.start();
    assert_eq!(bench.host.unseal("a", &sealed).text("plaintext"), b64(SECRET));
    let _whole = bench.host.verified_audit();
}
