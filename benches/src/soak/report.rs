//! What a run came to.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use hdrhistogram::Histogram;
use tests::Sealhost;

use super::Run;
use super::faults::{Injected, worker_of};
use crate::load;

/// From so many requests on, what memory does says something.
pub(super) const MEMORY_REQUESTS: u64 = 200_000;
/// How much more resident memory there may be at the end than in the second tenth. In the first one
/// the allocator's arenas fill.
const GROWTH_MAX: f64 = 1.1;

/// Latencies of one operation on one provider, in microseconds.
struct Row {
    calm: Histogram<u64>,
    /// While a fault of the provider lasted, refusals included.
    in_faults: Histogram<u64>,
    refused: u64,
}

impl Default for Row {
    fn default() -> Self {
        let empty = || Histogram::new(3).unwrap();
        Self { calm: empty(), in_faults: empty(), refused: 0 }
    }
}

/// The answers of a client, or of all.
#[derive(Default)]
pub(super) struct Report {
    rows: BTreeMap<(&'static str, &'static str), Row>,
    codes: BTreeMap<&'static str, u64>,
    pub(super) gone_away: u64,
}

impl Report {
    pub(super) fn answered(
        &mut self,
        operation: &'static str,
        provider: &'static str,
        elapsed: Duration,
        in_a_fault: bool,
    ) {
        let row = self.rows.entry((provider, operation)).or_default();
        let latencies = if in_a_fault { &mut row.in_faults } else { &mut row.calm };
        latencies.record(micros(elapsed)).unwrap();
    }

    pub(super) fn refused(
        &mut self,
        operation: &'static str,
        provider: &'static str,
        elapsed: Duration,
        code: &'static str,
    ) {
        let row = self.rows.entry((provider, operation)).or_default();
        let latencies = if provider == "none" { &mut row.calm } else { &mut row.in_faults };
        latencies.record(micros(elapsed)).unwrap();
        row.refused += 1;
        *self.codes.entry(code).or_default() += 1;
    }

    pub(super) fn add(&mut self, other: &Self) {
        for (what, row) in &other.rows {
            let sum = self.rows.entry(*what).or_default();
            sum.calm.add(&row.calm).unwrap();
            sum.in_faults.add(&row.in_faults).unwrap();
            sum.refused += row.refused;
        }
        for (code, times) in &other.codes {
            *self.codes.entry(code).or_default() += times;
        }
        self.gone_away += other.gone_away;
    }

    pub(super) fn print(&self, elapsed: Duration, injected: &Injected, memory: &Memory) {
        println!(
            "\n| provider | operation | answers | p50 µs | p99 µs | in faults | p99 µs | longest ms | refused |"
        );
        println!("|---|---|---|---|---|---|---|---|---|");
        let mut all = 0;
        for ((provider, operation), Row { calm, in_faults, refused }) in &self.rows {
            all += calm.len() + in_faults.len();
            println!(
                "| {provider} | {operation} | {} | {} | {} | {} | {} | {} | {refused} |",
                calm.len(),
                calm.value_at_quantile(0.5),
                calm.value_at_quantile(0.99),
                in_faults.len(),
                in_faults.value_at_quantile(0.99),
                calm.max().max(in_faults.max()) / 1000,
            );
        }
        println!(
            "\n{all} requests in {:.1} s; codes: {:?}; clients gone away: {}",
            elapsed.as_secs_f64(),
            self.codes,
            self.gone_away
        );
        for (fault, (times, longest)) in injected {
            println!("{fault}: {times} times, all well after at most {} ms", longest.as_millis());
        }
        memory.print();
        println!("{}", load::machine());
    }
}

/// Resident memory of host and workers, in KiB, from time to time.
#[derive(Default)]
pub(super) struct Memory {
    /// How far the run was, from 0 to 1, and the memory of each process.
    samples: Vec<(f64, BTreeMap<&'static str, u64>)>,
}

impl Memory {
    pub(super) fn sample(&mut self, run: &Run, host: &Sealhost) {
        let mut now = BTreeMap::from([("host", load::resident_kib(host.pid()))]);
        for worker in ["tpm", "hsm"] {
            // One that is being replaced has nothing to say.
            let pid = worker_of(host, worker);
            let there = pid.filter(|pid| fs::exists(format!("/proc/{pid}/maps")).unwrap_or(false));
            now.extend(there.map(|pid| (worker, load::resident_kib(pid))));
        }
        let part = |number: u64| f64::from(u32::try_from(number).unwrap());
        self.samples.push((part(run.progress()) / part(run.wanted), now));
    }

    /// The most in a part of the run.
    fn most(&self, process: &str, from: f64, to: f64) -> Option<u64> {
        let within = self.samples.iter().filter(|(at, _)| (from..to).contains(at));
        within.filter_map(|(_, of)| of.get(process)).max().copied()
    }

    fn print(&self) {
        for process in ["host", "tpm", "hsm"] {
            let tenths = (0..10_u8).map(|tenth| {
                let from = f64::from(tenth) / 10.0;
                self.most(process, from, from + 0.1).unwrap_or_default()
            });
            println!("resident, {process}, KiB by tenth: {:?}", tenths.collect::<Vec<_>>());
        }
    }

    /// Memory is flat.
    pub(super) fn check(&self) {
        for process in ["host", "tpm", "hsm"] {
            let begin = self.most(process, 0.1, 0.2).unwrap();
            let end = self.most(process, 0.9, f64::INFINITY).unwrap();
            let growth =
                f64::from(u32::try_from(end).unwrap()) / f64::from(u32::try_from(begin).unwrap());
            assert!(growth <= GROWTH_MAX, "{process} grew from {begin} to {end} KiB");
        }
    }
}

fn micros(elapsed: Duration) -> u64 {
    u64::try_from(elapsed.as_micros()).unwrap()
}
