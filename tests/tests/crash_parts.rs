//! Workers and the TPM killed at random moments under a host that goes on: what was answered is
//! there when they are back, what was not is wholly there or wholly absent, and no device keeps
//! more than the registry knows.
//!
//! The long run: `TESTS_ROUNDS=300 cargo test -p tests --test crash_parts -- --nocapture`.
#![expect(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "integration tests, and what they share"
)]

use std::time::Instant;

use swtpm_fixtures::{SoftHsm, Swtpm};
use tests::ledger::{Client, Devices, Objects, Tally, check_audit, check_nothing_is_lost};
use tests::sealhost::signal;
use tests::{Dice, Sealhost, Setup, rounds};

/// What a client may hear while its provider is being replaced.
const REFUSALS: &[(u16, &str)] = &[(503, "unavailable"), (504, "timeout"), (409, "conflict")];
const CLIENTS: usize = 3;

/// Lets something happen in the middle of changes, again and again.
fn check(
    setup: Setup,
    providers: &'static [&'static str],
    mut devices: (Option<&SoftHsm>, Option<&mut Swtpm>),
    usual: usize,
    mut happens: impl FnMut(&Sealhost, Option<&mut Swtpm>, &mut Dice),
) {
    let begun = Instant::now();
    let mut dice = Dice::new();
    let mut host = setup.start();
    let mut clients: Vec<_> = (0..CLIENTS)
        .map(|number| Client::new(number, dice.split(), providers).expecting(REFUSALS))
        .collect();
    let mut tally = Tally::default();
    for _ in 0..rounds(usual) {
        let socket = &host.socket();
        let after = dice.millis(150);
        tally.answered += std::thread::scope(|scope| {
            let working: Vec<_> =
                clients.iter_mut().map(|client| scope.spawn(move || client.work(socket))).collect();
            std::thread::sleep(after);
            // Until each has met it: one that is just between two requests goes on.
            while !working.iter().all(std::thread::ScopedJoinHandle::is_finished) {
                happens(&host, devices.1.as_deref_mut(), &mut dice);
                tally.faults += 1;
                std::thread::sleep(dice.millis(50));
            }
            working.into_iter().map(|client| client.join().unwrap()).sum::<usize>()
        });
        host.wait_until("all providers are back", |host| {
            providers.iter().all(|provider| host.provider(provider)["state"] == "open")
        });
        let hsm = devices.0.map(|hsm| (hsm, Objects::Identified));
        let counted = Devices { hsm, tpm: devices.1.as_deref() };
        check_nothing_is_lost(&host, &mut clients, counted, &mut tally);
    }
    let generation = host.get("/v1/status").ok()["generation"].as_u64().unwrap();
    assert!(host.stop().success(), "{}", host.log());
    let unanswered = clients.iter().flat_map(Client::unanswered).cloned().collect();
    check_audit(&host, &unanswered, generation);
    println!("{tally:?} in {:?}", begun.elapsed());
    assert!(tally.answered > 0 && tally.undone > 0, "nothing was cut short: {tally:?}");
}

fn kill_workers(host: &Sealhost) {
    for worker in host.workers() {
        // Another may have ended by itself meanwhile.
        if host.workers().contains(&worker) {
            signal(worker, "KILL");
        }
    }
}

#[test]
fn killed_workers_lose_nothing() {
    let mut swtpm = Swtpm::start().unwrap();
    let hsm = SoftHsm::start("edge", "1234").unwrap();
    let setup = Setup::soft().with_tpm(&swtpm).with_hsm(&hsm);
    let devices = (Some(&hsm), Some(&mut swtpm));
    check(setup, &["hsm", "tpm"], devices, 6, |host, _, _| kill_workers(host));
}

#[test]
fn killed_tpm_loses_nothing() {
    let mut swtpm = Swtpm::start().unwrap();
    let setup = Setup::soft().with_tpm(&swtpm);
    check(setup, &["tpm"], (None, Some(&mut swtpm)), 8, |_, swtpm, _| {
        let swtpm = swtpm.unwrap();
        swtpm.stop().unwrap();
        swtpm.start_again().unwrap();
    });
}
