//! The circuit breaker of a provider, through the whole host: what opens it, that calls then fail
//! at once without the device, that the host alone asks, and what is shown of it.
#![expect(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "integration tests, and what they share"
)]

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use swtpm_fixtures::{Aim, CommandCounter, Deed, Swtpm};
use tests::sealhost::built;
use tests::{Response, Sealhost, Setup, b64};

/// TPM2_HMAC (TPM 2.0 Part 2, table 12).
const HMAC: u32 = 0x155;
/// TPM_RC_FAILURE and TPM_RC_LOCKOUT (TPM 2.0 Part 2, table 16).
const RC_FAILURE: u32 = 0x101;
const RC_LOCKOUT: u32 = 0x921;
/// Faults in a row that open a breaker (`host/src/router/breaker.rs`).
const FAULTS: u32 = 5;
/// Every command from now on.
const ALL: Aim = Aim { command: None, skip: 0, times: u32::MAX };

struct Bench {
    proxy: CommandCounter,
    host: Sealhost,
    _swtpm: Swtpm,
}

impl Bench {
    fn new() -> Self {
        let swtpm = Swtpm::start().unwrap();
        let proxy = CommandCounter::in_front_of(&swtpm).unwrap();
        let tpm = format!(
            "name = \"tpm\"\nplugin = \"provider_tpm\"\n[provider.settings]\ntcti = \"{}\"\n\
             [provider.deadlines]\nmac = \"500ms\"\nopen = \"2s\"\n",
            proxy.tcti()
        );
        let host = Setup::default().with_provider(&tpm).with_soft().start();
        host.create("t", "mac", "tpm");
        host.create("s", "mac", "soft");
        mac(&host).done();
        assert_eq!(breaker(&host), json!({"state": "closed"}));
        Self { proxy, host, _swtpm: swtpm }
    }

    fn hmacs(&self) -> u64 {
        self.proxy.counts().get(&HMAC).copied().unwrap_or_default()
    }

    /// Asserts that calls fail at once, with a time to come back, and leave the device alone,
    /// while the others go on.
    #[track_caller]
    fn check_fails_fast(&self, cause: &str, words: &str) {
        self.host.wait_until("the breaker is open", |host| breaker(host)["cause"] == cause);
        let before = self.hmacs();
        let mut slowest = Duration::ZERO;
        for _ in 0..20 {
            let begun = Instant::now();
            let reply = mac(&self.host);
            slowest = slowest.max(begun.elapsed());
            let problem = reply.problem(503, "unavailable");
            assert_eq!(
                (&problem["provider"], &problem["retryable"]),
                (&json!("tpm"), &json!(true))
            );
            let detail = problem["detail"].as_str().unwrap();
            assert!(detail.contains(words), "{detail}");
            let after: u64 = reply.header("retry-after").unwrap().parse().unwrap();
            assert!((1..=5).contains(&after), "{after}");
        }
        println!("{cause}: the slowest of 20 calls that failed at once took {slowest:?}");
        assert!(slowest < Duration::from_millis(400), "{slowest:?} is no failing at once");
        assert_eq!(self.hmacs(), before, "a caller's call reached the device");
        let key = self.host.post("/v1/keys/s/mac", json!({"message": b64("x")}));
        key.done();
        assert_eq!(self.host.provider("tpm")["state"], "down");
    }

    /// Mends the device and waits until the host has found out, without any request to it.
    #[track_caller]
    fn check_closes_by_itself(&self) {
        self.proxy.forget_orders();
        let begun = Instant::now();
        self.host.wait_until("the breaker closes", |host| breaker(host)["state"] == "closed");
        println!("closed {:?} after the device was mended", begun.elapsed());
        assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
        mac(&self.host).done();
        assert_eq!(self.host.provider("tpm")["state"], "open");
    }
}

fn mac(host: &Sealhost) -> Response {
    host.post("/v1/keys/t/mac", json!({"message": b64("x")}))
}

fn breaker(host: &Sealhost) -> Value {
    host.provider("tpm")["breaker"].clone()
}

#[test]
fn gone_device_opens_it_and_callers_no_longer_ask_it() {
    let bench = Bench::new();
    bench.proxy.order(ALL, Deed::Close);
    mac(&bench.host).problem(503, "unavailable");
    bench.check_fails_fast("gone", "has lost its device");
    bench.check_closes_by_itself();
}

#[test]
fn faults_in_a_row_open_it_at_the_limit() {
    let bench = Bench::new();
    bench.proxy.order(Aim { command: Some(HMAC), ..ALL }, Deed::Answer(RC_FAILURE));
    for _ in 1..FAULTS {
        mac(&bench.host).problem(500, "internal");
    }
    assert_eq!(breaker(&bench.host), json!({"state": "closed"}));
    mac(&bench.host).problem(500, "internal");
    bench.host.wait_until("the self test failed too", |host| {
        breaker(host)["next_probe_ms"].as_u64().is_some_and(|wait| wait > 300)
    });
    // The self test is an HMAC too; in this pause there is none.
    let pause = breaker(&bench.host)["next_probe_ms"].as_u64().unwrap();
    assert!(pause <= 1000, "{pause}");
    let problem = mac(&bench.host).problem(503, "unavailable");
    assert!(problem["detail"].as_str().unwrap().contains("failed too many calls in a row"));
    assert_eq!(breaker(&bench.host)["cause"], "failing");
    bench.check_closes_by_itself();
}

#[test]
fn one_timeout_opens_it() {
    let bench = Bench::new();
    bench.proxy.order(ALL, Deed::Delay(Duration::from_secs(30)));
    mac(&bench.host).problem(504, "timeout");
    bench.check_fails_fast("silent", "is down");
    bench.check_closes_by_itself();
}

#[test]
fn lockouts_leave_it_closed() {
    let bench = Bench::new();
    bench.proxy.order(Aim { command: Some(HMAC), ..ALL }, Deed::Answer(RC_LOCKOUT));
    for _ in 0..3 * FAULTS {
        mac(&bench.host).problem(503, "locked_out");
    }
    assert_eq!(breaker(&bench.host), json!({"state": "closed"}));
    bench.proxy.forget_orders();
    mac(&bench.host).done();
}

#[test]
fn it_is_shown_in_metrics_and_by_sealctl() {
    let bench = Bench::new();
    let metric = |line: &str| {
        let text = String::from_utf8(bench.host.get("/metrics").body).unwrap();
        assert!(text.lines().any(|it| it == line), "{line} is not in\n{text}");
    };
    let list = || {
        let mut sealctl = Command::new(built("sealctl"));
        sealctl.arg("--socket").arg(bench.host.socket()).args(["provider", "list"]);
        let output = sealctl.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    metric("sealhost_breaker_state{provider=\"tpm\"} 0");
    metric("sealhost_breaker_openings_total{provider=\"tpm\"} 0");
    assert!(!list().contains("calls fail at once"), "{}", list());
    bench.proxy.order(ALL, Deed::Close);
    mac(&bench.host).problem(503, "unavailable");
    bench.host.wait_until("a pause between two probes", |host| {
        breaker(host)["next_probe_ms"].as_u64().is_some_and(|wait| wait > 500)
    });
    metric("sealhost_breaker_state{provider=\"tpm\"} 2");
    metric("sealhost_breaker_openings_total{provider=\"tpm\"} 1");
    metric("sealhost_breaker_state{provider=\"soft\"} 0");
    assert!(list().contains("tpm: calls fail at once (gone)"), "{}", list());
    bench.check_closes_by_itself();
    metric("sealhost_breaker_state{provider=\"tpm\"} 0");
}

#[test]
fn operator_can_have_the_device_asked_now() {
    let bench = Bench::new();
    bench.proxy.order(ALL, Deed::Close);
    mac(&bench.host).problem(503, "unavailable");
    bench.host.wait_until("a pause between two probes", |host| {
        breaker(host)["next_probe_ms"].as_u64().is_some_and(|wait| wait > 500)
    });
    bench.proxy.forget_orders();
    let retried = bench.host.post("/v1/providers/tpm/retry", json!({})).ok();
    assert_eq!(
        (&retried["state"], &retried["breaker"]["state"]),
        (&json!("open"), &json!("closed"))
    );
}
