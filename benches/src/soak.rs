//! Load that goes on while things break: so many mixed requests over three providers, with each
//! answer compared, while workers are killed, a TPM is stalled and power-cycled, rules are read
//! again, keys are rotated, and clients go away in the middle of a request.
//!
//! It ends in a panic at the first wrong answer, and at each refusal that no fault explains.

mod client;
mod faults;
mod line;
mod report;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use serde_json::json;
use swtpm_fixtures::{SoftHsm, Swtpm};
use tests::{Dice, Sealhost, Setup, b64};

use client::Client;
use faults::Windows;
use report::{Memory, Report};

/// Providers, each with a key `NAME-seal`, and a key `NAME-mac` of known bytes.
const PROVIDERS: [&str; 3] = ["soft", "tpm", "hsm"];
const CONNECTIONS: usize = 16;

/// What all clients and the faults share.
struct Run {
    socket: PathBuf,
    wanted: u64,
    answered: AtomicU64,
    /// Set when there were enough requests, and every fault at least once.
    over: AtomicBool,
    windows: Windows,
}

impl Run {
    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    fn progress(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }
}

/// Sends at least so many requests, prints what they came to, and checks that nothing is lost.
pub(crate) fn measure(requests: u64) {
    let mut swtpm = Swtpm::start().unwrap();
    let hsm = SoftHsm::start("soak", "1234").unwrap();
    let host = Setup::default().with_tpm(&swtpm).with_hsm(&hsm).with_soft().start();
    for provider in PROVIDERS {
        host.create(&format!("{provider}-seal"), "seal", provider);
        let key = json!({"usage": "mac", "key": b64(provider), "providers": [provider]});
        host.post(&format!("/v1/keys/{provider}-mac/import"), key).done();
    }
    host.post("/v1/counters/soak", json!({"kind": "registry"})).done();
    let run = Arc::new(Run {
        socket: host.socket(),
        wanted: requests,
        answered: AtomicU64::new(0),
        over: AtomicBool::new(false),
        windows: Windows::default(),
    });
    let mut dice = Dice::new();
    let begun = Instant::now();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let clients: Vec<_> = (0..CONNECTIONS)
        .map(|_| runtime.spawn(Client::new(Arc::clone(&run), dice.split()).work()))
        .collect();
    let mut memory = Memory::default();
    let faults = faults::inject(&run, &host, &mut swtpm, &mut memory, dice.split());
    let clients: Vec<Client> =
        clients.into_iter().map(|client| runtime.block_on(client).unwrap()).collect();
    let elapsed = begun.elapsed();
    let mut report = Report::default();
    for client in &clients {
        check_nothing_is_lost(&host, client);
        report.add(&client.report);
    }
    report.print(elapsed, &faults, &memory);
    check_end(host);
    if requests >= report::MEMORY_REQUESTS {
        memory.check();
    }
}

/// Everything that was sealed since the beginning opens, and is what was sealed.
fn check_nothing_is_lost(host: &Sealhost, client: &Client) {
    for sealed in &client.sealed {
        let body = json!({"sealed": sealed.envelope, "context": sealed.context});
        let opened = host.post(&format!("/v1/keys/{}-seal/unseal", sealed.provider), body);
        assert_eq!(opened.text("plaintext"), sealed.plaintext, "{} is lost", sealed.provider);
    }
}

/// The host stops in order, its audit is whole, and it starts with all keys.
fn check_end(mut host: Sealhost) {
    assert!(host.stop().success(), "{}", host.log());
    let lines = host.verified_audit().len();
    host.start();
    for provider in PROVIDERS {
        host.get(&format!("/v1/keys/{provider}-seal")).done();
        let text = "after all of it";
        let key = format!("{provider}-seal");
        assert_eq!(host.unseal(&key, &host.seal(&key, text)).text("plaintext"), b64(text));
    }
    println!("audit: {lines} lines, verified; no key and no envelope is lost");
}
