//! The host killed at random moments while clients create, import, rotate and destroy: what was
//! answered holds, what was not is wholly there or wholly absent, and no device keeps more than
//! the registry knows.
#![expect(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "integration tests, and what they share"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use swtpm_fixtures::{CommandCounter, SoftHsm, Swtpm};
use tests::{Dice, Response, Sealhost, Setup, b64, http};
use wire::audit::{Kind, Verifier};

/// Clients at work at a time, each on keys of its own.
const CLIENTS: usize = 4;
/// Keys of a client; with so many it destroys before it makes another.
const KEYS_MAX: usize = 5;
/// Objects that the provider keeps for itself: its identity marker and its internal key. Objects
/// are counted by their files, so that what a module killed in the middle leaves counts too.
const OWN_OBJECTS: usize = 2;

/// A change of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Change {
    Make,
    Rotate,
    Destroy,
}

/// A key as its client knows it: from answers only.
#[derive(Debug)]
struct Known {
    provider: &'static str,
    usage: &'static str,
    versions: usize,
    destroyed: bool,
    /// What its versions sealed, and the MAC or public key of its first version.
    envelopes: Vec<String>,
    first: Option<String>,
}

/// One client over all rounds.
struct Client {
    name: String,
    dice: Dice,
    providers: &'static [&'static str],
    made: usize,
    keys: BTreeMap<String, Known>,
    /// The change that was not answered in this round.
    pending: Option<(String, Change)>,
}

/// What a whole run did.
#[derive(Default, Debug)]
struct Tally {
    kills: usize,
    answered: usize,
    /// Unanswered changes that were found done, and undone.
    done: usize,
    undone: usize,
}

/// No answer: the host is gone.
struct Killed;

impl Client {
    fn new(number: usize, dice: Dice, providers: &'static [&'static str]) -> Self {
        let name = format!("c{number}");
        Self { name, dice, providers, made: 0, keys: BTreeMap::new(), pending: None }
    }

    /// Makes requests until one is not answered.
    fn work(&mut self, socket: &Path) -> usize {
        let mut answered = 0;
        while self.step(socket).is_ok() {
            answered += 1;
        }
        answered
    }

    fn step(&mut self, socket: &Path) -> Result<(), Killed> {
        let living: Vec<String> = self
            .keys
            .iter()
            .filter(|(_, key)| !key.destroyed)
            .map(|(name, _)| name.clone())
            .collect();
        let change = match self.dice.below(8) {
            _ if living.is_empty() => Change::Make,
            _ if living.len() > KEYS_MAX => Change::Destroy,
            0..=3 => Change::Make,
            4 | 5 => Change::Rotate,
            _ => Change::Destroy,
        };
        let name = match change {
            Change::Make => {
                self.made += 1;
                format!("{}-{}", self.name, self.made)
            }
            Change::Rotate | Change::Destroy => living[self.dice.below(living.len())].clone(),
        };
        self.pending = Some((name.clone(), change));
        match change {
            Change::Make => self.make(socket, &name)?,
            Change::Rotate => {
                let target = format!("/v1/keys/{name}/rotate");
                ask(socket, "POST", &target, &json!({}))?.done();
                self.keys.get_mut(&name).unwrap().versions += 1;
            }
            Change::Destroy => {
                let target = format!("/v1/keys/{name}?confirm={name}");
                ask(socket, "DELETE", &target, &Value::Null)?.done();
                self.keys.get_mut(&name).unwrap().destroyed = true;
            }
        }
        self.pending = None;
        if let Some(key) = self.keys.get_mut(&name)
            && !key.destroyed
        {
            key.use_once(socket, &name)?;
        }
        Ok(())
    }

    fn make(&mut self, socket: &Path, name: &str) -> Result<(), Killed> {
        let provider = self.providers[self.dice.below(self.providers.len())];
        let usage = ["seal", "mac", "sign", "import"][self.dice.below(4)];
        // Known from here on, so that the check after the kill knows what to look for.
        let key = Known {
            provider,
            usage: if usage == "import" { "mac" } else { usage },
            versions: 1,
            destroyed: false,
            envelopes: Vec::new(),
            first: None,
        };
        let key = self.keys.entry(name.to_owned()).or_insert(key);
        let (target, body) = if usage == "import" {
            let body = json!({"usage": "mac", "key": b64(name), "providers": [provider]});
            (format!("/v1/keys/{name}/import"), body)
        } else {
            (format!("/v1/keys/{name}"), json!({"usage": usage, "providers": [provider]}))
        };
        if usage == "import" {
            key.first = Some(mac_of(name));
        }
        ask(socket, "POST", &target, &body)?.done();
        Ok(())
    }

    /// Looks at every key after a restart and settles what was not answered.
    fn check(&mut self, host: &Sealhost, tally: &mut Tally) {
        let pending = self.pending.take();
        let names: Vec<_> = self.keys.keys().cloned().collect();
        for name in names {
            let change = pending.as_ref().filter(|(of, _)| *of == name).map(|(_, change)| *change);
            let record = host.get(&format!("/v1/keys/{name}"));
            if change == Some(Change::Make) && record.status == 404 {
                tally.undone += 1;
                self.keys.remove(&name);
                continue;
            }
            let key = self.keys.get_mut(&name).unwrap();
            let states = states_of(&record.ok());
            match change {
                None => {}
                Some(Change::Make) => tally.done += 1,
                Some(Change::Rotate) if states.len() > key.versions => {
                    tally.done += 1;
                    key.versions += 1;
                }
                Some(Change::Destroy) if states.iter().all(|state| state == "destroyed") => {
                    tally.done += 1;
                    key.destroyed = true;
                }
                Some(Change::Rotate | Change::Destroy) => tally.undone += 1,
            }
            assert_eq!(states, key.expected_states(), "{name}: {key:?}, unanswered: {change:?}");
            key.check(host, &name);
        }
    }
}

impl Known {
    fn expected_states(&self) -> Vec<String> {
        let mut states =
            vec![if self.destroyed { "destroyed" } else { "decrypt-only" }; self.versions];
        if !self.destroyed {
            *states.last_mut().unwrap() = "active";
        }
        states.into_iter().map(str::to_owned).collect()
    }

    /// Seals once, or keeps what tells the first version from others.
    fn use_once(&mut self, socket: &Path, name: &str) -> Result<(), Killed> {
        if self.usage == "seal" {
            let body = json!({"plaintext": b64(name)});
            let sealed = ask(socket, "POST", &format!("/v1/keys/{name}/seal"), &body)?;
            self.envelopes.push(sealed.text("sealed"));
        } else if self.first.is_none() && self.versions == 1 {
            self.first = Some(first_of(self.usage, name, |method, target, body| {
                ask(socket, method, target, body)
            })?);
        }
        Ok(())
    }

    /// The key does what it did before; a destroyed one does nothing.
    fn check(&mut self, host: &Sealhost, name: &str) {
        let send = |method: &str, target: &str, body: &Value| {
            let body = if body.is_null() { String::new() } else { body.to_string() };
            Ok::<_, Killed>(http::request(&host.socket(), method, target, body.as_bytes()))
        };
        if self.destroyed {
            if let Some(sealed) = self.envelopes.pop() {
                host.unseal(name, &sealed).problem(404, "not_found");
            }
            return;
        }
        for sealed in &self.envelopes {
            assert_eq!(host.unseal(name, sealed).text("plaintext"), b64(name));
        }
        match &self.first {
            Some(first) => {
                let Ok(now) = first_of(self.usage, name, send) else { panic!("no answer") };
                assert_eq!(*first, now, "{name} is another key than before");
            }
            None => drop(self.use_once(&host.socket(), name)),
        }
        if self.usage == "seal" {
            let sealed = host.seal(name, name);
            assert_eq!(host.unseal(name, &sealed).text("plaintext"), b64(name));
        }
    }
}

/// HMAC-SHA256 over `x` with the key's name as the key.
fn mac_of(name: &str) -> String {
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, name.as_bytes());
    b64(aws_lc_rs::hmac::sign(&key, b"x"))
}

/// What tells the first version of a mac or sign key from any other key.
fn first_of(
    usage: &str,
    name: &str,
    send: impl Fn(&str, &str, &Value) -> Result<Response, Killed>,
) -> Result<String, Killed> {
    if usage == "mac" {
        let body = json!({"message": b64("x"), "version": 1});
        return Ok(send("POST", &format!("/v1/keys/{name}/mac"), &body)?.text("mac"));
    }
    let target = format!("/v1/keys/{name}/public?version=1");
    Ok(send("GET", &target, &Value::Null)?.text("pem"))
}

fn states_of(record: &Value) -> Vec<String> {
    let versions = record["versions"].as_array().unwrap();
    versions.iter().map(|version| version["state"].as_str().unwrap().to_owned()).collect()
}

/// Sends a request; a reply that is cut short is none.
fn ask(socket: &Path, method: &str, target: &str, body: &Value) -> Result<Response, Killed> {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let reply =
        http::try_request(socket, method, target, body.as_bytes()).map_err(|_killed| Killed)?;
    let length: usize = reply.header("content-length").unwrap().parse().unwrap();
    if reply.body.len() == length { Ok(reply) } else { Err(Killed) }
}

/// Kills and restarts a host again and again, and checks everything each time.
fn run(
    setup: Setup,
    providers: &'static [&'static str],
    hsm: Option<&SoftHsm>,
    kills: usize,
    longest_ms: usize,
) {
    let mut dice = Dice::new();
    let mut host = setup.start();
    let mut clients: Vec<_> =
        (0..CLIENTS).map(|number| Client::new(number, dice.split(), providers)).collect();
    let mut tally = Tally::default();
    let mut unanswered = BTreeSet::new();
    let begun = Instant::now();
    while tally.kills < kills {
        let after = dice.millis(longest_ms);
        tally.answered += std::thread::scope(|scope| {
            let socket = host.socket();
            let clients: Vec<_> = clients
                .iter_mut()
                .map(|client| {
                    let socket = socket.clone();
                    scope.spawn(move || client.work(&socket))
                })
                .collect();
            std::thread::sleep(after);
            host.kill();
            clients.into_iter().map(|client| client.join().unwrap()).sum::<usize>()
        });
        tally.kills += 1;
        unanswered.extend(clients.iter().filter_map(|client| client.pending.clone()));
        // The next start is killed too, now and then: completing is itself cut short.
        if dice.below(5) == 0 {
            host.start_and_kill(dice.millis(300));
            tally.kills += 1;
        }
        host.start();
        for client in &mut clients {
            client.check(&host, &mut tally);
        }
        if let Some(hsm) = hsm {
            let keys = clients.iter().flat_map(|client| client.keys.values());
            let living: usize = keys
                .filter(|key| key.provider == "hsm" && !key.destroyed)
                .map(|key| key.versions)
                .sum();
            assert_eq!(hsm.objects().unwrap(), living + OWN_OBJECTS, "objects on the token");
        }
    }
    let generation = host.get("/v1/status").ok()["generation"].as_u64().unwrap();
    assert!(host.stop().success(), "{}", host.log());
    let changes: BTreeSet<_> = unanswered.iter().map(|(key, _)| key.as_str()).collect();
    check_audit(&host, &changes, generation);
    println!("{tally:?} in {:?}", begun.elapsed());
    assert!(tally.answered > 0 && tally.undone > 0, "no kill came in the middle: {tally:?}");
}

/// The audit is whole, and each change has an outcome unless its client got no answer.
fn check_audit(host: &Sealhost, unanswered: &BTreeSet<&str>, generation: u64) {
    let text = fs::read(host.audit_path()).unwrap();
    let mut verifier = Verifier::from_start();
    let mut key_of = BTreeMap::new();
    for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let entry = verifier.feed(line).unwrap();
        match entry.kind {
            Kind::Intent => {
                key_of.insert(entry.seq, entry.key.unwrap());
            }
            Kind::Recovered => {
                let key = entry.key.unwrap();
                assert!(unanswered.contains(key.as_str()), "{key} was recovered, but answered");
            }
            Kind::Start
            | Kind::Stop
            | Kind::Reload
            | Kind::Request
            | Kind::Outcome
            | Kind::Refused
            | Kind::Checkpoint
            | Kind::Removed => {}
        }
    }
    let summary = verifier.finish();
    assert!(summary.last_generation <= generation);
    for intent in summary.open_intents {
        let key = &key_of[&intent.sequence];
        assert!(unanswered.contains(key.as_str()), "the intent about {key} has no outcome");
    }
}

#[test]
fn killed_host_loses_nothing_on_three_providers() {
    let swtpm = Swtpm::start().unwrap();
    let hsm = SoftHsm::start("edge", "1234").unwrap();
    let setup = Setup::soft().with_tpm(&swtpm).with_hsm(&hsm);
    run(setup, &["tpm", "hsm", "soft"], Some(&hsm), 50, 400);
}

#[test]
fn killed_host_loses_nothing_on_a_token() {
    let hsm = SoftHsm::start("edge", "1234").unwrap();
    run(Setup::default().with_hsm(&hsm), &["hsm"], Some(&hsm), 40, 300);
}

#[test]
fn killed_host_loses_nothing_in_software() {
    run(Setup::soft(), &["soft"], None, 60, 80);
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
        let asked = scope.spawn(move || ask(&socket, "POST", "/v1/keys/a/mac", &body).is_err());
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
