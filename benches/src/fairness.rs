//! Whether one greedy user makes another one wait: the latencies of a modest user alone, beside
//! programs of the greedy one that only use the processors, and beside its flood of requests.
//!
//! The middle figure is what no daemon can help: on two cores, a flood of requests is a flood of
//! clients too. Each user is a process of its own.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use swtpm_fixtures::{SoftHsm, Swtpm};
use tests::{Setup, User};

use crate::load::{self, Request};

/// Who asks for little.
const MODEST: u32 = 4301;
/// Who asks for as much as it can get.
const GREEDY: u32 = 4302;
/// Connections of the greedy user: one more than it may have, so that it is refused too.
const FLOOD: usize = 513;
/// How much longer its flood goes on than what is measured beside it.
const EARLIER: Duration = Duration::from_secs(2);

/// What one user does, in a process of its own.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Part {
    /// Who asks.
    #[arg(long, hide = true)]
    as_uid: Option<u32>,
    /// Where.
    #[arg(long, hide = true, requires = "as_uid")]
    socket: Option<PathBuf>,
    /// What.
    #[arg(long, hide = true, requires = "as_uid")]
    target: Option<String>,
    /// With which body.
    #[arg(long, hide = true, requires = "as_uid")]
    body: Option<String>,
    /// On how many connections.
    #[arg(long, hide = true, requires = "as_uid", default_value_t = 1)]
    at_once: usize,
}

impl Part {
    /// Plays the part, if there is one; says its figures on standard output, in one line.
    pub(crate) fn play(&self, time: Duration) -> Option<String> {
        let user = User::new(self.as_uid?);
        let (Some(socket), Some(target)) = (&self.socket, &self.target) else {
            return user.does(|| loop_forever());
        };
        let body: Value = serde_json::from_str(self.body.as_deref()?).ok()?;
        let request = Request::post(target, &body);
        let flooded = user.does(|| load::flood(socket, &request, self.at_once, time));
        Some(flooded.line())
    }
}

/// Uses a processor until the process is killed.
fn loop_forever() -> ! {
    loop {
        std::hint::spin_loop();
    }
}

/// A process that plays a part, and ends with this value.
struct Player(Child);

impl Player {
    fn new(uid: u32, nice: u32, arguments: &[&str]) -> Self {
        let program = std::env::current_exe().unwrap();
        let child = Command::new("nice")
            .args(["-n", &nice.to_string()])
            .arg(program)
            .args(["--as-uid", &uid.to_string()])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Self(child)
    }

    fn asking(
        uid: u32,
        nice: u32,
        socket: &Path,
        (target, body): (&str, &str),
        at_once: usize,
        time: Duration,
    ) -> Self {
        let (socket, at_once) = (socket.display().to_string(), at_once.to_string());
        let seconds = time.as_secs_f64().to_string();
        let arguments = ["--socket", &socket, "--target", target, "--body", body];
        Self::new(
            uid,
            nice,
            &[&arguments[..], &["--at-once", &at_once, "--seconds", &seconds]].concat(),
        )
    }

    /// What it says at its end.
    fn figures(mut self) -> load::Flooded {
        let mut said = String::new();
        let output = self.0.stdout.as_mut().unwrap();
        std::io::Read::read_to_string(output, &mut said).unwrap();
        load::Flooded::from_line(said.trim())
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        let _ended_already = self.0.kill();
        let _ended_already = self.0.wait();
    }
}

/// Measures each provider.
pub(crate) fn measure(providers: &[String], time: Duration) {
    let swtpm = Swtpm::start().unwrap();
    let hsm = SoftHsm::start("bench", "1234").unwrap();
    let rules = [0, MODEST, GREEDY].map(|uid| {
        format!("[[rule]]\nprincipal = {{ uid = {uid} }}\nkeys = [\"**\"]\noperations = [\"*\"]\n")
    });
    let setup = Setup::default().for_everybody().with_rules(&rules.concat());
    let host = setup.with_tpm(&swtpm).with_hsm(&hsm).with_soft().start();
    println!(
        "\n| provider | operation | greedy user | p50 µs | p99 µs | p50 to alone | p99 to alone | requests/s | of the greedy user | refused |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    for provider in providers {
        host.create(&format!("{provider}-seal"), "seal", provider);
        host.create(&format!("{provider}-mac"), "mac", provider);
        for operation in ["mac", "seal"] {
            let (key, body) = crate::request(&host, provider, operation);
            let target = format!("/v1/keys/{key}/{operation}");
            let asks = (target.as_str(), &*body.to_string());
            let socket = host.socket();
            let row = |what: &str, alone: &load::Flooded, of: &load::Flooded, other: &str| {
                println!(
                    "| {provider} | {operation} | {what} | {} | {} | {:.1} | {:.1} | {:.0} | {other} |",
                    of.p50_us,
                    of.p99_us,
                    ratio(of.p50_us, alone.p50_us),
                    ratio(of.p99_us, alone.p99_us),
                    of.per_second,
                );
            };
            for nice in [0, 10] {
                let modest = || Player::asking(MODEST, nice, &socket, asks, 1, time).figures();
                let row = |what: &str, alone: &_, of: &_, other: &str| {
                    row(&format!("{what}, clients at nice {nice}"), alone, of, other);
                };
                let alone = modest();
                row("is not there", &alone, &alone, "| |");
                let spinning = [(); 2].map(|()| Player::new(GREEDY, nice, &[]));
                row("spins on both cores", &alone, &modest(), "| |");
                drop(spinning);
                let flood = Player::asking(GREEDY, nice, &socket, asks, FLOOD, time + EARLIER);
                // Until its connections are open.
                std::thread::sleep(Duration::from_millis(500));
                let beside = modest();
                let flood = flood.figures();
                let other = format!("{:.0} | {}", flood.per_second, flood.refused);
                row("floods", &alone, &beside, &other);
            }
        }
    }
}

fn ratio(of: u64, to: u64) -> f64 {
    let number = |number: u64| f64::from(u32::try_from(number).unwrap_or(u32::MAX));
    number(of) / number(to.max(1))
}
