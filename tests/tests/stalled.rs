//! A TPM that does not answer while callers wait for it: whoever asks for something else is not
//! delayed, and the daemon reloads and stops all the same.
#![expect(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    reason = "integration tests, and what they share"
)]

use std::time::{Duration, Instant};

use serde_json::json;
use swtpm_fixtures::Swtpm;
use tests::{Response, Sealhost, Setup, User, b64};

/// As many trials as those in which another key service hung in 29.
const TRIALS: usize = 36;
/// Callers of the TPM in each.
const CALLERS: usize = 8;
/// Of these one is at the device and one more with the worker.
const WAITING: usize = CALLERS - 2;
/// What 99 of 100 unrelated requests take at most; the deadline of the stalled ones is 5 s.
const SMALL: Duration = Duration::from_millis(100);
/// A bound for what has to end, on a machine that is busy with other tests.
const BOUNDED: Duration = Duration::from_secs(4);

/// Root may use the keys whose names begin with s, t or n; another user may do nothing.
const RULES: &str = "[[rule]]\nprincipal = { uid = 0 }\nkeys = [\"s*\", \"t*\", \"n*\"]\n\
                     operations = [\"*\"]\n";

/// A host with key `t` in a TPM and key `s` in software.
struct Bench {
    swtpm: Swtpm,
    host: Sealhost,
}

impl Bench {
    fn new() -> Self {
        let swtpm = Swtpm::start().unwrap();
        let setup = Setup::default().with_tpm(&swtpm).with_soft().with_rules(RULES);
        let host = setup.for_everybody().start();
        host.create("t", "mac", "tpm");
        host.create("s", "mac", "soft");
        mac(&host, "t").done();
        Self { swtpm, host }
    }

    /// Lets the TPM fall silent, sends it the callers, and runs `meanwhile` once all of them wait
    /// for it; then lets it speak, and returns what the callers were answered.
    fn stalled<T>(&mut self, meanwhile: impl FnOnce(&Sealhost) -> T) -> (T, Vec<Response>) {
        self.swtpm.suspend().unwrap();
        let host = &self.host;
        let swtpm = &mut self.swtpm;
        std::thread::scope(|scope| {
            let callers: Vec<_> = (0..CALLERS).map(|_| scope.spawn(|| mac(host, "t"))).collect();
            host.wait_until("all callers wait for the TPM", |host| waiting(host) >= WAITING);
            let seen = meanwhile(host);
            assert!(callers.iter().all(|caller| !caller.is_finished()), "no caller hangs");
            swtpm.resume().unwrap();
            (seen, callers.into_iter().map(|caller| caller.join().unwrap()).collect())
        })
    }
}

fn mac(host: &Sealhost, key: &str) -> Response {
    host.post(&format!("/v1/keys/{key}/mac"), json!({"message": b64("x")}))
}

/// How many calls wait for a turn at the TPM.
fn waiting(host: &Sealhost) -> usize {
    let text = String::from_utf8(host.get("/metrics").body).unwrap();
    let line = "sealhost_provider_queue_length{provider=\"tpm\"} ";
    text.lines().find_map(|it| it.strip_prefix(line)).map_or(0, |count| count.parse().unwrap())
}

/// How long a request takes.
fn timed(request: impl FnOnce()) -> Duration {
    let begun = Instant::now();
    request();
    begun.elapsed()
}

/// One of each sort of request that has nothing to do with the TPM, and how long each took.
fn unrelated(host: &Sealhost, trial: usize) -> Vec<(&'static str, Duration)> {
    let new = format!("/v1/keys/n{trial}");
    let stranger = User::new(4242);
    vec![
        ("soft key", timed(|| mac(host, "s").done())),
        ("status", timed(|| host.get("/v1/status").done())),
        ("providers", timed(|| host.get("/v1/providers").done())),
        ("metrics", timed(|| assert_eq!(host.get("/metrics").status, 200))),
        ("list of keys", timed(|| host.get("/v1/keys").done())),
        ("record of the TPM key", timed(|| host.get("/v1/keys/t").done())),
        (
            "missing key",
            timed(|| {
                mac(host, "nobody").problem(404, "not_found");
            }),
        ),
        ("missing page", timed(|| assert_eq!(host.get("/v2").status, 404))),
        (
            "forbidden key",
            timed(|| {
                mac(host, "forbidden").problem(403, "denied");
            }),
        ),
        (
            "forbidden user",
            timed(|| {
                let body = json!({"message": b64("x")});
                stranger.post(&host.socket(), "/v1/keys/t/mac", body).problem(403, "denied");
            }),
        ),
        (
            "new software key",
            timed(|| host.post(&new, json!({"usage": "mac", "providers": ["soft"]})).done()),
        ),
    ]
}

#[test]
fn unrelated_requests_are_quick_while_callers_hang_on_a_tpm() {
    let mut bench = Bench::new();
    let mut seen = Vec::new();
    for trial in 0..TRIALS {
        let (times, answers) = bench.stalled(|host| unrelated(host, trial));
        seen.extend(times);
        answers.iter().for_each(Response::done);
    }
    seen.sort_by_key(|(_, time)| *time);
    let at = |percent: usize| seen[(seen.len() - 1) * percent / 100];
    println!("{} requests: p50 {:?}, p99 {:?}, slowest {:?}", seen.len(), at(50), at(99), at(100));
    assert!(at(99).1 < SMALL, "p99 is {:?}; slowest is {:?}", at(99), at(100));
    assert!(at(100).1 < Duration::from_secs(1), "{:?}", at(100));
    assert_eq!(bench.host.provider("tpm")["state"], "open", "a short stall is no fault");
}

#[test]
fn rules_are_read_again_while_callers_hang_on_a_tpm() {
    let mut bench = Bench::new();
    let reloads =
        |host: &Sealhost| host.audit().iter().filter(|line| line["kind"] == "reload").count();
    let (took, answers) = bench.stalled(|host| {
        timed(|| {
            host.signal("HUP");
            host.wait_until("the reload", |host| reloads(host) == 1);
        })
    });
    println!("reload while callers hang: {took:?}");
    assert!(took < BOUNDED, "{took:?}");
    answers.iter().for_each(Response::done);
}

#[test]
fn stop_while_callers_hang_on_a_tpm_ends_in_bounded_time() {
    let mut swtpm = Swtpm::start().unwrap();
    let tpm = format!(
        "name = \"tpm\"\nplugin = \"provider_tpm\"\n[provider.settings]\ntcti = \"{}\"\n\
         [provider.deadlines]\nmac = \"1s\"\nqueue = \"1s\"\n",
        swtpm.tcti()
    );
    let mut host = Setup::default().with_provider(&tpm).with_soft().start();
    host.create("t", "mac", "tpm");
    swtpm.suspend().unwrap();
    let (socket, body) = (host.socket(), json!({"message": b64("x")}).to_string());
    let call = || tests::http::request(&socket, "POST", "/v1/keys/t/mac", body.as_bytes());
    std::thread::scope(|scope| {
        let callers: Vec<_> = (0..CALLERS).map(|_| scope.spawn(call)).collect();
        host.wait_until("all callers wait for the TPM", |host| waiting(host) >= WAITING);
        let begun = Instant::now();
        assert!(host.stop().success(), "{}", host.log());
        println!("stop while callers hang: {:?}", begun.elapsed());
        // The deadline, and the grace of a worker whose call was cut off.
        assert!(begun.elapsed() < Duration::from_secs(1) + 2 * BOUNDED, "{:?}", begun.elapsed());
        for caller in callers {
            let reply = caller.join().unwrap();
            assert!([429, 503, 504].contains(&reply.status), "{}", reply.json());
        }
    });
    assert!(host.verified_audit().iter().any(|line| line["kind"] == "stop"));
}
