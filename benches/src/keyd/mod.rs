//! The dialect of the aziot Key Service: what a request costs, beside what the Key Service itself
//! was measured to need for the same one, and beside the device's own library in the same run.

mod peer;

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use swtpm_fixtures::{CommandCounter, SoftHsm, Swtpm};
use tests::keyd::{decrypt, encrypt, sign, versioned};
use tests::{Sealhost, Setup, b64};

use crate::bare::{self, Work};
use crate::load::{self, Measured, Request};

/// What the first client sends with every request, so that vectors repeat here as they do there.
const IV: &[u8] = b"0123456";
const AAD: &[u8] = b"7891011";
/// Requests whose TPM commands are counted.
const COUNTED: u64 = 20;

/// How long, how often and on how many connections is measured.
#[derive(Debug)]
pub(crate) struct Plan<'a> {
    pub(crate) time: Duration,
    pub(crate) rounds: usize,
    pub(crate) connections: &'a [usize],
    /// How many keys are added to a token.
    pub(crate) more_keys: usize,
}

impl Plan<'_> {
    /// The best of the rounds of a bare loop.
    fn best(&self, measure: impl Fn() -> f64) -> f64 {
        (0..self.rounds).map(|_| measure()).fold(0.0, f64::max)
    }
}

/// One request, and what it is called in the table.
struct Case {
    what: String,
    request: Request,
    /// What the device's library does for it.
    work: Work,
}

/// Measures the providers named.
pub(crate) fn measure(plan: &Plan<'_>, providers: &[String]) {
    println!(
        "\n| provider | request | connections | requests/s | p50 µs | p99 µs | host CPU µs | worker CPU µs | aziot requests/s | times | aziot p99 µs | times | aziot CPU µs | times | of bare loop |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|");
    let mut notes = Vec::new();
    for provider in providers {
        match provider.as_str() {
            "soft" => {
                let host = Setup::soft().with_keyd(&["soft"], "").start();
                rows(plan, &host, "soft", &cases(&host), &BTreeMap::new());
            }
            "hsm" => token(plan),
            "tpm" => {
                let swtpm = Swtpm::start().unwrap();
                let host = Setup::default().with_tpm(&swtpm).with_keyd(&["tpm"], "").start();
                let bare = BTreeMap::from([(Work::Sign, plan.best(|| bare::tpm(plan.time).0))]);
                let mut cases = cases(&host);
                cases.retain(|case| matches!(&*case.what, "sign 64 B" | "encrypt 32 B"));
                rows(plan, &host, "tpm", &cases, &bare);
                notes.push(commands());
            }
            other => panic!("no provider {other}"),
        }
    }
    for note in notes {
        println!("\n{note}");
    }
}

/// A token with few keys, then with many.
fn token(plan: &Plan<'_>) {
    let hsm = SoftHsm::start("keyd", "1234").unwrap();
    let host = Setup::default().with_hsm(&hsm).with_keyd(&["hsm"], "").start();
    let loops = |works: &[Work]| -> BTreeMap<_, _> {
        let best = |work| plan.best(|| bare::token(&hsm, work, plan.time));
        works.iter().map(|work| (*work, best(*work))).collect()
    };
    let bare = loops(&[Work::Sign, Work::Gcm(32), Work::Gcm(4096)]);
    for (work, per_second) in &bare {
        println!(
            "| hsm | {work}, bare loop | 1 thread | {per_second:.0} | {:.0} | | | | | | | | | | |",
            1e6 / per_second
        );
    }
    rows(plan, &host, "hsm", &cases(&host), &bare);
    for number in 0..plan.more_keys {
        let _handle = host.keyd_create(&format!("more-{number}"), "sign");
    }
    let handle = host.keyd_load("/key/mac").text("keyHandle");
    let what = format!("sign 64 B, {} keys more", plan.more_keys);
    let many = [post(&what, "/sign", &sign(&handle, &[7; 64]), Work::Sign)];
    rows(plan, &host, "hsm", &many, &loops(&[Work::Sign]));
}

/// The requests, on keys that are made for them.
fn cases(host: &Sealhost) -> Vec<Case> {
    let mac = host.keyd_create("mac", "sign");
    let base = host.keyd_create("base", "derive");
    let aead = host.keyd_create("aead", "encrypt");
    let derived = json!({"baseKeyHandle": base, "derivationData": b64("device")});
    let derived = host.keyd("POST", "/derivedkey", &derived).text("keyHandle");
    let mut cases = vec![post("sign 64 B", "/sign", &sign(&mac, &[7; 64]), Work::Sign)];
    for (encrypts, decrypts, bytes) in
        [("encrypt 32 B", "decrypt 32 B", 32), ("encrypt 4 KiB", "decrypt 4 KiB", 4096)]
    {
        let body = encrypt(&aead, IV, AAD, &vec![7; bytes]);
        let sealed = host.keyd("POST", "/encrypt", &body).text("ciphertext");
        cases.push(post(encrypts, "/encrypt", &body, Work::Gcm(bytes)));
        let body = decrypt(&aead, IV, AAD, &sealed);
        cases.push(post(decrypts, "/decrypt", &body, Work::Gcm(bytes)));
    }
    let request = Request::get(&versioned("/key/mac"));
    cases.push(Case { what: "GET /key".into(), request, work: Work::None });
    // One HMAC of the device makes the key, and the host's own signs.
    cases.push(post("sign 64 B, derived key", "/sign", &sign(&derived, &[7; 64]), Work::Sign));
    cases
}

fn post(what: &str, path: &str, body: &Value, work: Work) -> Case {
    Case { what: what.to_owned(), request: Request::post(&versioned(path), body), work }
}

/// The best of the rounds of each case, as the peer's figures are.
fn rows(
    plan: &Plan<'_>,
    host: &Sealhost,
    provider: &str,
    cases: &[Case],
    bare: &BTreeMap<Work, f64>,
) {
    let mut best = BTreeMap::new();
    for _ in 0..plan.rounds {
        for (number, case) in cases.iter().enumerate() {
            for &connections in plan.connections {
                let pids = [vec![host.pid()], host.workers()].concat();
                let socket = host.keyd_socket();
                let measured = load::run_on(&socket, &pids, &case.request, connections, plan.time);
                let cell = best.entry((number, connections)).or_insert_with(Vec::new);
                cell.push(measured);
            }
        }
    }
    for ((number, connections), rounds) in best {
        let case = &cases[number];
        row(provider, case, connections, &rounds, bare.get(&case.work).copied());
    }
}

fn row(provider: &str, case: &Case, connections: usize, rounds: &[Measured], bare: Option<f64>) {
    let best = rounds.iter().max_by(|a, b| a.per_second.total_cmp(&b.per_second)).unwrap();
    let cpu = |round: &Measured| round.cpu_us.iter().sum::<f64>();
    let cheapest = rounds.iter().min_by(|a, b| cpu(a).total_cmp(&cpu(b))).unwrap();
    let host_us = cheapest.cpu_us.first().copied().unwrap_or_default();
    let all_us = cpu(cheapest);
    let theirs = peer::figure(provider, &case.what, connections);
    let cell = |value: Option<u32>, ratio: &dyn Fn(f64) -> f64| {
        let value = value.map(|value| (value, ratio(f64::from(value))));
        value.map_or_else(|| " | ".to_owned(), |(value, times)| format!("{value} | {times:.1}"))
    };
    let p99 = f64::from(u32::try_from(best.p99_us).unwrap());
    println!(
        "| {provider} | {} | {connections} | {:.0} | {} | {} | {host_us:.1} | {:.1} | {} | {} | {} | {} |",
        case.what,
        best.per_second,
        best.p50_us,
        best.p99_us,
        all_us - host_us,
        cell(theirs.map(|theirs| theirs.per_second), &|theirs| best.per_second / theirs),
        cell(theirs.and_then(|theirs| theirs.p99_us), &|theirs| theirs / p99),
        cell(theirs.and_then(|theirs| theirs.cpu_us), &|theirs| theirs / all_us),
        bare.map_or_else(String::new, |bare| format!("{:.0} %", 100.0 * best.per_second / bare)),
    );
}

/// How many commands reach the TPM when keys are warm.
fn commands() -> String {
    let swtpm = Swtpm::start().unwrap();
    let counter = CommandCounter::in_front_of(&swtpm).unwrap();
    let host = Setup::default().with_tpm_at(&counter.tcti()).with_keyd(&["tpm"], "").start();
    let (mac, aead) = (host.keyd_create("mac", "sign"), host.keyd_create("aead", "encrypt"));
    let count = |path: &str, body: &Value| {
        host.keyd("POST", path, body).done();
        counter.reset();
        (0..COUNTED).for_each(|_| host.keyd("POST", path, body).done());
        counter.counts().values().sum::<u64>()
    };
    let signed = count("/sign", &sign(&mac, &[7; 64]));
    let encrypted = count("/encrypt", &encrypt(&aead, IV, AAD, &[7; 32]));
    format!("TPM commands of {COUNTED} requests: sign {signed}, encrypt {encrypted}")
}
