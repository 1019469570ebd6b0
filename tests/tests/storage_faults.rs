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
use tests::{Dice, Sealhost, Setup, rounds};

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
    check(Calls::Writes, &EVERY_WAY, Lasting::Once, 23);
}

#[test]
fn writes_that_fail_from_then_on_lose_nothing() {
    check(Calls::Writes, &ERRORS, Lasting::UntilDisarmed, 23);
}

#[test]
fn sync_that_fails_once_loses_nothing() {
    check(Calls::Syncs, &[How::Broken, How::Full], Lasting::Once, 7);
}

#[test]
fn syncs_that_fail_from_then_on_lose_nothing() {
    check(Calls::Syncs, &[How::Broken], Lasting::UntilDisarmed, 7);
}
