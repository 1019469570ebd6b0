//! The secret manager: reading a secret from memory, and one that the host unseals for it.

use std::time::Duration;

use serde_json::json;
use tests::{Sealhost, SecretManager, SecretSetup, Setup, b64};

use crate::load::{self, Request};

/// Secrets in the store, when it is full.
const SECRETS: usize = 10_000;
const CONNECTIONS: [usize; 2] = [1, 16];

/// Measures both over a host with a key in software, with one secret stored and with many.
pub(crate) fn measure(time: Duration) {
    let host = Setup::soft().start();
    println!(
        "\n| secret manager, get of 64 bytes | secrets | connections | requests/s | p50 µs | p99 µs | CPU µs | of it the host's |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    let cached = SecretSetup::cached().start(&host);
    let sealed = SecretSetup::file().start(&host);
    for manager in [&cached, &sealed] {
        manager.store("bench", [7; 64]);
    }
    let both = [("memory", &cached), ("sealed file", &sealed)];
    for (what, manager) in both {
        rows(&host, manager, what, 1, time);
    }
    for (what, manager) in both {
        fill(manager);
        rows(&host, manager, what, SECRETS, time);
    }
    for (what, manager) in both {
        println!("resident, {what}: {} KiB", load::resident_kib(manager.pid()));
    }
}

fn rows(host: &Sealhost, manager: &SecretManager, what: &str, secrets: usize, time: Duration) {
    let request = Request::get("/v1/secrets/bench");
    let pids = [vec![manager.pid(), host.pid()], host.workers()].concat();
    for connections in CONNECTIONS {
        let measured = load::run_on(&manager.socket(), &pids, &request, connections, time);
        let own = measured.cpu_us.first().copied().unwrap_or_default();
        let all = measured.cpu_us.iter().sum::<f64>();
        println!(
            "| {what} | {secrets} | {connections} | {:.0} | {} | {} | {all:.1} | {:.1} |",
            measured.per_second,
            measured.p50_us,
            measured.p99_us,
            all - own,
        );
    }
}

/// Stores secrets until there are many, in files of edge-secrets, which takes seconds.
fn fill(manager: &SecretManager) {
    let numbers: Vec<_> = (1..SECRETS).collect();
    for some in numbers.chunks(5_000) {
        let entry = |number: &usize| {
            let version = json!({"v1": {"Value": b64([7; 48])}});
            (format!("grown/{number}"), version)
        };
        let file: serde_json::Map<_, _> = some.iter().map(entry).collect();
        manager.post("/v1/import", file.into()).done();
    }
}
