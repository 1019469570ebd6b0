//! Measures the daemon over its socket, beside bare loops on the same devices in the same run.
//!
//! `cargo build --release --workspace && target/release/sealhost-bench`
//!
//! Ratios are what counts: figures of a shared machine drift, their quotients less so.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a measurement that cannot go on has failed, and its result is for people"
)]

mod bare;
mod fairness;
mod growth;
mod hop;
mod keyd;
mod load;
mod sas;
mod secrets;
mod soak;

use std::time::Duration;

use clap::Parser;
use serde_json::{Value, json};
use swtpm_fixtures::{SoftHsm, Swtpm};
use tests::{Sealhost, Setup, b64};

/// Load on a real sealhost beside bare loops on the same devices.
#[derive(Debug, Parser)]
struct Arguments {
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Numbers of connections.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 4, 16, 256])]
    connections: Vec<usize>,
    /// Only these providers: soft, hsm, tpm.
    #[arg(long, value_delimiter = ',', default_values_t = ["soft".to_owned(), "hsm".to_owned(), "tpm".to_owned()])]
    providers: Vec<String>,
    /// Also measure growth: 10,000 keys in the registry, 1,000 objects in the token.
    #[arg(long)]
    growth: bool,
    /// Only the SAS signer over a host.
    #[arg(long)]
    sas: bool,
    /// Only the secret manager: from memory and from a sealed file, 10,000 secrets in it.
    #[arg(long)]
    secrets: bool,
    /// Only how one user fares beside another that floods the host. Needs root.
    #[arg(long)]
    fairness: bool,
    /// Only one of two users, for the bench itself.
    #[command(flatten)]
    part: fairness::Part,
    /// Only the dialect of the aziot Key Service, beside the published figures of that.
    #[arg(long)]
    keyd: bool,
    /// How often each measurement of the dialect is made; the best counts.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// How many keys are added to a token for a measurement of the dialect.
    #[arg(long, default_value_t = 200)]
    more_keys: usize,
    /// Only what a worker and its sandbox cost a request.
    #[arg(long)]
    hop: bool,
    /// Only mixed requests while things break, each answer compared.
    #[arg(long)]
    soak: bool,
    /// How many of them.
    #[arg(long, default_value_t = 1_000_000)]
    requests: u64,
    /// Only the bare loop on a token, for the bench itself.
    #[arg(long, hide = true)]
    bare_token: Option<std::path::PathBuf>,
    /// What that loop does.
    #[arg(long, hide = true, default_value = "sign")]
    bare_work: bare::Work,
}

fn main() {
    let arguments = Arguments::parse();
    let time = Duration::from_secs_f64(arguments.seconds);
    if let Some(module) = &arguments.bare_token {
        println!("{}", bare::token_loop(module, arguments.bare_work, time));
        return;
    }
    if let Some(figures) = arguments.part.play(time) {
        println!("{figures}");
        return;
    }
    if cfg!(debug_assertions) {
        println!("not a release build: the figures mean little");
    }
    if arguments.hop {
        hop::measure(time);
        println!("{}", load::machine());
        return;
    }
    if arguments.keyd {
        let plan = keyd::Plan {
            time,
            rounds: arguments.rounds,
            connections: &arguments.connections,
            more_keys: arguments.more_keys,
        };
        keyd::measure(&plan, &arguments.providers);
        println!("{}", load::machine());
        return;
    }
    if arguments.sas {
        return sas::measure(time);
    }
    if arguments.soak {
        return soak::measure(arguments.requests);
    }
    if arguments.secrets {
        secrets::measure(time);
        println!("{}", load::machine());
        return;
    }
    if arguments.fairness {
        fairness::measure(&arguments.providers, time);
        println!("{}", load::machine());
        return;
    }
    let swtpm = Swtpm::start().unwrap();
    let hsm = SoftHsm::start("bench", "1234").unwrap();
    let started = std::time::Instant::now();
    let host = Setup::default().with_tpm(&swtpm).with_hsm(&hsm).with_soft().start();
    println!("ready with three providers after {} ms", started.elapsed().as_millis());

    for provider in &arguments.providers {
        host.create(&format!("{provider}-seal"), "seal", provider);
        host.create(&format!("{provider}-mac"), "mac", provider);
    }
    println!(
        "\n| provider | operation | connections | requests/s | p50 µs | p99 µs | host CPU µs | worker CPU µs | of bare loop |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for provider in &arguments.providers {
        let bare = match provider.as_str() {
            "soft" => bare_row(provider, "bare loop", bare::software(time)),
            "hsm" => bare_row(provider, "bare loop", bare::token(&hsm, bare::Work::Sign, time)),
            "tpm" => {
                let (password, session) = bare::tpm(time);
                bare_row(provider, "bare loop, salted session", session);
                bare_row(provider, "bare loop, password", password)
            }
            other => panic!("no provider {other}"),
        };
        for operation in ["seal", "unseal", "mac"] {
            for &connections in &arguments.connections {
                row(&host, provider, operation, connections, time, bare);
            }
        }
    }
    println!("\nresident: {}", load::resident(&host));
    if arguments.growth {
        growth::measure(&host, &hsm, time);
    }
    println!("{}", load::machine());
}

fn bare_row(provider: &str, what: &str, bare: f64) -> f64 {
    println!("| {provider} | {what} | 1 thread | {bare:.0} | {:.0} | | | | |", 1e6 / bare);
    bare
}

fn row(
    host: &Sealhost,
    provider: &str,
    operation: &str,
    connections: usize,
    time: Duration,
    bare: f64,
) {
    let (key, body) = request(host, provider, operation);
    let target = format!("/v1/keys/{key}/{operation}");
    let measured = load::run(host, &target, &body, connections, time);
    let host_cpu_us = measured.cpu_us.first().copied().unwrap_or_default();
    println!(
        "| {provider} | {operation} | {connections} | {:.0} | {} | {} | {:.1} | {:.1} | {:.0} % |",
        measured.per_second,
        measured.p50_us,
        measured.p99_us,
        host_cpu_us,
        measured.cpu_us.iter().sum::<f64>() - host_cpu_us,
        100.0 * measured.per_second / bare,
    );
}

/// The key and the body of an operation on 64 bytes.
fn request(host: &Sealhost, provider: &str, operation: &str) -> (String, Value) {
    let bytes = b64([7; 64]);
    match operation {
        "seal" => (format!("{provider}-seal"), json!({"plaintext": bytes})),
        "unseal" => {
            let key = format!("{provider}-seal");
            let sealed = host.seal(&key, &"7".repeat(64));
            (key, json!({"sealed": sealed}))
        }
        _ => (format!("{provider}-mac"), json!({"message": bytes})),
    }
}
