//! The host killed at random moments while clients make, raise and destroy counters: no value
//! that was answered comes again or is fallen below, and the TPM keeps no more counters than the
//! registry knows.
#![expect(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "integration tests, and what they share"
)]

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use swtpm_fixtures::Swtpm;
use tests::{Dice, Response, Sealhost, Setup, http};

const KILLS: usize = 30;
/// Clients at a time, half of them on the TPM's counters, half on the registry's.
const CLIENTS: usize = 4;

/// What a client does with its one counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Create,
    Increment,
    Destroy,
}

struct Client {
    name: String,
    kind: &'static str,
    dice: Dice,
    /// Whether the counter is there, by answers only.
    lives: bool,
    /// The highest value that was answered since it was made, or of the one before it.
    highest: u64,
    pending: Option<Step>,
    answered: usize,
}

impl Client {
    fn new(number: usize, dice: Dice) -> Self {
        let kind = if number.is_multiple_of(2) { "device" } else { "registry" };
        Self {
            name: format!("c{number}"),
            kind,
            dice,
            lives: false,
            highest: 0,
            pending: None,
            answered: 0,
        }
    }

    /// Makes requests until one is not answered.
    fn work(&mut self, socket: &Path) {
        while self.step(socket).is_some() {
            self.answered += 1;
        }
    }

    fn step(&mut self, socket: &Path) -> Option<()> {
        let step = match (self.lives, self.dice.below(12)) {
            (false, _) => Step::Create,
            (true, 0) => Step::Destroy,
            (true, _) => Step::Increment,
        };
        self.pending = Some(step);
        let path = format!("/v1/counters/{}", self.name);
        let reply = match step {
            Step::Create => ask(socket, "POST", &path, &json!({"kind": self.kind}))?,
            Step::Increment => ask(socket, "POST", &format!("{path}/increment"), &json!({}))?,
            Step::Destroy => {
                ask(socket, "DELETE", &format!("{path}?confirm={}", self.name), &Value::Null)?
            }
        };
        let reply = reply.ok();
        self.pending = None;
        self.lives = step != Step::Destroy;
        if self.lives {
            let value = reply["value"].as_u64().unwrap();
            assert!(value > self.highest, "{}: {value} after {}", self.name, self.highest);
            self.highest = value;
        }
        Some(())
    }

    /// Settles after a restart what was not answered.
    fn check(&mut self, host: &Sealhost) {
        let found = host.get(&format!("/v1/counters/{}", self.name));
        let lives = match self.pending.take() {
            Some(Step::Create | Step::Destroy) => found.status == 200,
            Some(Step::Increment) | None => self.lives,
        };
        self.lives = lives;
        if !lives {
            let _absent = found.problem(404, "not_found");
            return;
        }
        let value = found.ok()["value"].as_u64().unwrap();
        assert!(value >= self.highest, "{}: {value} after {}", self.name, self.highest);
        let target = format!("/v1/counters/{}/increment", self.name);
        let raised = host.post(&target, json!({})).ok()["value"].as_u64().unwrap();
        assert!(raised > value);
        self.highest = raised;
    }
}

/// Sends a request; a reply that is cut short is none.
fn ask(socket: &Path, method: &str, target: &str, body: &Value) -> Option<Response> {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let reply = http::try_request(socket, method, target, body.as_bytes()).ok()?;
    let length: usize = reply.header("content-length")?.parse().ok()?;
    (reply.body.len() == length).then_some(reply)
}

/// The NV indices of the owner that an emulator has.
fn indices(swtpm: &Swtpm) -> usize {
    let output = Command::new("tpm2_getcap")
        .args(["handles-nv-index", "-T", &swtpm.tcti()])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().matches("0x18").count()
}

#[test]
fn killed_host_takes_no_counter_back() {
    let swtpm = Swtpm::start().unwrap();
    let mut dice = Dice::new();
    let mut host = Setup::default().with_tpm(&swtpm).with_soft().start();
    let mut clients: Vec<_> =
        (0..CLIENTS).map(|number| Client::new(number, dice.split())).collect();
    let mut unanswered = BTreeSet::new();
    for _ in 0..KILLS {
        std::thread::scope(|scope| {
            let socket = host.socket();
            for client in &mut clients {
                let socket = socket.clone();
                scope.spawn(move || client.work(&socket));
            }
            std::thread::sleep(dice.millis(150));
            host.kill();
        });
        let pending = |client: &Client| Some((client.kind, client.pending?));
        unanswered.extend(clients.iter().filter_map(pending));
        if dice.below(5) == 0 {
            host.start_and_kill(dice.millis(300));
        }
        host.start();
        clients.iter_mut().for_each(|client| client.check(&host));
        let living = clients.iter().filter(|client| client.kind == "device" && client.lives);
        assert_eq!(indices(&swtpm), living.count(), "counters in the TPM");
    }
    let _whole = host.verified_audit();
    let answered: usize = clients.iter().map(|client| client.answered).sum();
    println!("{answered} answered, cut short: {unanswered:?}");
    assert!(answered > KILLS && !unanswered.is_empty(), "no kill came in the middle");
}
