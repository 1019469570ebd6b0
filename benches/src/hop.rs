//! What a worker and its sandbox cost a request: one provider, in the host's process, in a worker,
//! and in a worker that is not confined, in turns, so that a machine that slows down slows all.

use std::time::Duration;

use serde_json::json;
use tests::{Sealhost, Setup, b64};

use crate::load;

const ROUNDS: u32 = 9;
const PLACES: [(&str, &str); 3] = [
    ("soft", "in-process"),
    ("confined", "in a worker"),
    ("open", "in a worker without a sandbox"),
];

pub(crate) fn measure(time: Duration) {
    let host = Setup::soft()
        .with_soft_worker("confined")
        .with_provider(
            "name = \"open\"\nplugin = \"provider_soft\"\n[provider.sandbox]\nlevel = \"off\"\n",
        )
        .start();
    for (provider, _) in PLACES {
        host.create(provider, "mac", provider);
    }
    let mut medians = PLACES.map(|_| Vec::new());
    for _ in 0..ROUNDS {
        for ((provider, _), medians) in PLACES.iter().zip(&mut medians) {
            medians.push(median_ns(&host, provider, time / ROUNDS));
        }
    }
    let medians = medians.map(|mut all| {
        all.sort_unstable();
        all.get(all.len() / 2).copied().unwrap_or_default()
    });
    let [inside, ..] = medians;
    println!("\n| mac of 64 bytes, 1 connection | p50 µs | more than in-process, µs |");
    println!("|---|---|---|");
    for ((_, place), median) in PLACES.iter().zip(medians) {
        let us = |ns: u64| ns as f64 / 1e3;
        println!("| {place} | {:.1} | {:.1} |", us(median), us(median.saturating_sub(inside)));
    }
}

fn median_ns(host: &Sealhost, key: &str, time: Duration) -> u64 {
    let body = json!({"message": b64([7; 64])});
    load::run(host, &format!("/v1/keys/{key}/mac"), &body, 1, time).p50_ns
}
