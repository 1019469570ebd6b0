//! What breaks meanwhile, one after the other, and when a provider may refuse because of it.

use std::collections::BTreeMap;
use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use swtpm_fixtures::Swtpm;
use tests::sealhost::signal;
use tests::{Dice, Sealhost};

use super::report::Memory;
use super::{PROVIDERS, Run};

/// From one fault to the next, so that most requests meet none.
const PAUSE: Duration = Duration::from_millis(700);

#[derive(Clone, Copy, Debug)]
enum Fault {
    KillWorker(&'static str),
    StallTpm,
    PowerCycleTpm,
    Reload,
    RotateAKey,
}

const FAULTS: [Fault; 6] = [
    Fault::KillWorker("hsm"),
    Fault::StallTpm,
    Fault::Reload,
    Fault::KillWorker("tpm"),
    Fault::RotateAKey,
    Fault::PowerCycleTpm,
];

/// The time in which a provider may refuse: from before its fault until it is open again.
#[derive(Default)]
struct Window {
    is_open: AtomicBool,
    times: AtomicU64,
}

#[derive(Default)]
pub(super) struct Windows {
    tpm: Window,
    hsm: Window,
}

impl Windows {
    fn of(&self, provider: &str) -> Option<&Window> {
        match provider {
            "tpm" => Some(&self.tpm),
            "hsm" => Some(&self.hsm),
            _ => None,
        }
    }

    /// How often its window was opened, and whether it is.
    pub(super) fn look(&self, provider: &str) -> (u64, bool) {
        self.of(provider).map_or((0, false), |window| {
            (window.times.load(Ordering::SeqCst), window.is_open.load(Ordering::SeqCst))
        })
    }

    /// Whether a window was open at any time since a look.
    pub(super) fn was_open(&self, provider: &str, before: (u64, bool)) -> bool {
        before.1 || self.look(provider).0 != before.0
    }

    fn open(&self, provider: &str) {
        if let Some(window) = self.of(provider) {
            window.times.fetch_add(1, Ordering::SeqCst);
            window.is_open.store(true, Ordering::SeqCst);
        }
    }

    fn close(&self, provider: &str) {
        if let Some(window) = self.of(provider) {
            window.is_open.store(false, Ordering::SeqCst);
        }
    }
}

/// How often each fault was there, and the longest time until all was well.
pub(super) type Injected = BTreeMap<String, (usize, Duration)>;

/// Lets things break until there were enough requests, and everything at least once.
pub(super) fn inject(
    run: &Run,
    host: &Sealhost,
    swtpm: &mut Swtpm,
    memory: &mut Memory,
    mut dice: Dice,
) -> Injected {
    let mut injected = Injected::new();
    for fault in FAULTS.iter().cycle() {
        let all_were = injected.len() == FAULTS.len();
        if all_were && run.progress() >= run.wanted {
            break;
        }
        std::thread::sleep(PAUSE);
        memory.sample(run, host);
        let begun = Instant::now();
        cause(*fault, run, host, swtpm, &mut dice);
        let entry = injected.entry(format!("{fault:?}")).or_default();
        *entry = (entry.0 + 1, entry.1.max(begun.elapsed()));
    }
    run.over.store(true, Ordering::Relaxed);
    injected
}

fn cause(fault: Fault, run: &Run, host: &Sealhost, swtpm: &mut Swtpm, dice: &mut Dice) {
    match fault {
        Fault::KillWorker(provider) => {
            run.windows.open(provider);
            let worker = worker_of(host, provider).unwrap();
            signal(worker, "KILL");
            host.wait_until("another worker", |host| {
                worker_of(host, provider).is_some_and(|it| it != worker) && serves(host, provider)
            });
            run.windows.close(provider);
        }
        Fault::StallTpm => {
            run.windows.open("tpm");
            swtpm.suspend().unwrap();
            std::thread::sleep(dice.millis(400));
            swtpm.resume().unwrap();
            host.wait_until("the TPM", |host| serves(host, "tpm"));
            run.windows.close("tpm");
        }
        Fault::PowerCycleTpm => {
            run.windows.open("tpm");
            swtpm.stop().unwrap();
            swtpm.start_again().unwrap();
            host.wait_until("the TPM", |host| serves(host, "tpm"));
            run.windows.close("tpm");
        }
        Fault::Reload => host.signal("HUP"),
        Fault::RotateAKey => {
            let provider = PROVIDERS[dice.below(PROVIDERS.len())];
            let usage = ["seal", "mac"][dice.below(2)];
            host.post(&format!("/v1/keys/{provider}-{usage}/rotate"), json!({})).done();
        }
    }
}

/// Whether a provider says that it is open, and answers.
fn serves(host: &Sealhost, provider: &str) -> bool {
    let mac = json!({"message": "", "version": 1});
    host.provider(provider)["state"] == "open"
        && host.post(&format!("/v1/keys/{provider}-mac/mac"), mac).status == 200
}

/// The worker of a provider, while there is one.
pub(super) fn worker_of(host: &Sealhost, provider: &str) -> Option<u32> {
    host.workers().into_iter().find(|pid| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).nth(2) == Some(provider.as_bytes())
    })
}
