//! The host killed at random moments while clients create, import, rotate and destroy: what was
//! answered holds, what was not is wholly there or wholly absent, and no device keeps more than
//! the registry knows.
//!
//! The long run: `TESTS_ROUNDS=2000 cargo test -p tests --test crash -- in_software --nocapture`,
//! and `TESTS_ROUNDS=300` with `on_three`.
#![expect(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "integration tests, and what they share"
)]

use std::fs;
use std::time::{Duration, Instant};

use serde_json::json;
use swtpm_fixtures::{CommandCounter, SoftHsm, Swtpm};
use tests::ledger::{
    Client, Devices, OWN_OBJECTS, Objects, Tally, check_audit, check_nothing_is_lost,
};
use tests::{Dice, Sealhost, Setup, b64, http, rounds};

/// Clients at work at a time, each on keys of its own.
const CLIENTS: usize = 4;
/// Rounds on one host and its devices; then come new ones, whose registry is short again.
const ROUNDS_MAX: usize = 200;

/// A host that is killed and started again and again, with everything checked each time.
struct Run {
    providers: &'static [&'static str],
    /// Kinds of counters that clients have, by turns.
    counters: &'static [&'static str],
    /// The longest time from a start to a kill.
    longest: usize,
}

impl Run {
    /// Goes round so often over one host.
    fn go(&self, setup: Setup, devices: Devices<'_>, kills: usize) -> Tally {
        let mut dice = Dice::new();
        let mut host = setup.start();
        let mut clients: Vec<_> =
            (0..CLIENTS).map(|number| self.client(number, dice.split())).collect();
        let mut tally = Tally::default();
        while tally.faults < kills {
            let after = dice.millis(self.longest);
            let socket = &host.socket();
            tally.answered += std::thread::scope(|scope| {
                let working: Vec<_> = clients
                    .iter_mut()
                    .map(|client| scope.spawn(move || client.work(socket)))
                    .collect();
                std::thread::sleep(after);
                host.kill();
                working.into_iter().map(|client| client.join().unwrap()).sum::<usize>()
            });
            tally.faults += 1;
            // The next start is killed too, now and then: completing is itself cut short.
            if dice.below(5) == 0 {
                host.start_and_kill(dice.millis(300));
                tally.faults += 1;
            }
            host.start();
            check_nothing_is_lost(&host, &mut clients, devices, &mut tally);
        }
        let generation = host.get("/v1/status").ok()["generation"].as_u64().unwrap();
        assert!(host.stop().success(), "{}", host.log());
        let unanswered = clients.iter().flat_map(Client::unanswered).cloned().collect();
        check_audit(&host, &unanswered, generation);
        tally
    }

    fn client(&self, number: usize, dice: Dice) -> Client {
        let client = Client::new(number, dice, self.providers);
        match self.counters {
            [] => client,
            kinds => client.with_counter(kinds[number % kinds.len()]),
        }
    }
}

/// Goes round as often as is asked for, over new hosts and devices from time to time.
fn rounds_of(usual: usize, run: impl Fn(usize) -> Tally) {
    let begun = Instant::now();
    let mut all = Tally::default();
    let wanted = rounds(usual);
    while all.faults < wanted {
        all += run((wanted - all.faults).min(ROUNDS_MAX));
        println!("{all:?} in {:?}", begun.elapsed());
    }
    assert!(all.answered > 0 && all.undone > 0, "no kill came in the middle: {all:?}");
}

#[test]
fn killed_host_loses_nothing_on_three_providers() {
    let run =
        Run { providers: &["tpm", "hsm", "soft"], counters: &["device", "registry"], longest: 400 };
    rounds_of(50, |kills| {
        let swtpm = Swtpm::start().unwrap();
        let hsm = SoftHsm::start("edge", "1234").unwrap();
        let setup = Setup::soft().with_tpm(&swtpm).with_hsm(&hsm);
        run.go(setup, Devices { hsm: Some((&hsm, Objects::All)), tpm: Some(&swtpm) }, kills)
    });
}

#[test]
fn killed_host_loses_nothing_on_a_token() {
    let run = Run { providers: &["hsm"], counters: &[], longest: 300 };
    rounds_of(40, |kills| {
        let hsm = SoftHsm::start("edge", "1234").unwrap();
        let setup = Setup::default().with_hsm(&hsm);
        run.go(setup, Devices { hsm: Some((&hsm, Objects::All)), tpm: None }, kills)
    });
}

#[test]
fn killed_host_loses_nothing_in_software() {
    let run = Run { providers: &["soft"], counters: &["registry"], longest: 80 };
    rounds_of(60, |kills| run.go(Setup::soft(), Devices::default(), kills));
}

#[test]
fn first_start_that_is_killed_leaves_no_orphan() {
    let mut dice = Dice::new();
    let swtpm = Swtpm::start().unwrap();
    let hsm = SoftHsm::start("edge", "1234").unwrap();
    let setup = || Setup::soft().with_tpm(&swtpm).with_hsm(&hsm);
    let begun = Instant::now();
    let mut host = setup().start();
    let whole = usize::try_from(begun.elapsed().as_millis()).unwrap();
    assert!(host.stop().success());
    for _ in 0..20 {
        hsm.destroy_objects().unwrap();
        host = setup().prepare();
        host.start_and_kill(dice.millis(whole));
        if dice.below(2) == 0 {
            host.start_and_kill(dice.millis(whole));
        }
        host.start();
        assert_eq!(hsm.objects().unwrap(), OWN_OBJECTS, "objects on the token");
        for provider in ["tpm", "hsm", "soft"] {
            host.create(provider, "seal", provider);
            let sealed = host.seal(provider, "x");
            assert_eq!(host.unseal(provider, &sealed).text("plaintext"), b64("x"));
        }
        assert!(host.stop().success());
    }
}

/// Whether a process runs, as opposed to having ended, reaped or not.
fn runs(pid: u32) -> bool {
    // The state follows the command name in parentheses (proc(5), /proc/pid/stat).
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

/// Kills a host whose worker is in a call to a silent TPM, and returns the worker.
fn kill_in_a_call(swtpm: &mut Swtpm) -> (Sealhost, u32) {
    let proxy = CommandCounter::in_front_of(swtpm).unwrap();
    let mut host = Setup::default().with_tpm_at(&proxy.tcti()).start();
    host.create("a", "mac", "tpm");
    let worker = host.workers()[0];
    proxy.reset();
    swtpm.suspend().unwrap();
    let socket = host.socket();
    std::thread::scope(|scope| {
        let body = json!({"message": b64("x")});
        let ask = move || {
            http::try_request(&socket, "POST", "/v1/keys/a/mac", body.to_string().as_bytes())
        };
        let asked = scope.spawn(move || ask().is_err());
        host.wait_until("the TPM has its command", |_| !proxy.counts().is_empty());
        host.kill();
        assert!(asked.join().unwrap(), "it was answered");
    });
    assert!(runs(worker), "the worker was cut off");
    (host, worker)
}

#[test]
fn worker_of_a_killed_host_finishes_its_call_and_ends() {
    let mut swtpm = Swtpm::start().unwrap();
    let (mut host, worker) = kill_in_a_call(&mut swtpm);
    swtpm.resume().unwrap();
    // The next host waits for it, and so finds nobody else at the device.
    host.reconfigure(|_| Setup::default().with_tpm(&swtpm));
    host.start();
    assert!(!runs(worker));
    host.post("/v1/keys/a/mac", json!({"message": b64("x")})).done();
}

#[test]
fn worker_of_a_killed_host_whose_call_hangs_is_ended() {
    let mut swtpm = Swtpm::start().unwrap();
    let (mut host, worker) = kill_in_a_call(&mut swtpm);
    let killed = Instant::now();
    host.reconfigure(|_| Setup::soft().with_tpm(&swtpm));
    // The TPM still hangs, so the registry cannot be verified; but the lock was to be had.
    assert!(!host.try_start().unwrap_err().success());
    assert!(!runs(worker));
    assert!(killed.elapsed() >= Duration::from_secs(1), "{:?}", killed.elapsed());
    assert!(!host.log().contains("in use by another daemon"), "{}", host.log());
    swtpm.resume().unwrap();
    host.start();
    host.post("/v1/keys/a/mac", json!({"message": b64("x")})).done();
}
