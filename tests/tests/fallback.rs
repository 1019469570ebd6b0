//! Fallback for sealing: new seals go to the next provider while a key's own is gone, openly, and
//! come back with it.
#![expect(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    reason = "integration tests, and what they share"
)]

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use swtpm_fixtures::{CommandCounter, Swtpm};
use tests::{Response, Sealhost, Setup, b64};

/// TPM2_HMAC (TPM 2.0 Part 2, table 12).
const HMAC: u32 = 0x155;
/// The response code of a TPM in lockout (TPM 2.0 Part 2, table 16).
const RC_LOCKOUT: u32 = 0x921;

/// A host on a TPM and software, with a key `a` in the TPM that allows fallback.
struct Bench {
    swtpm: Swtpm,
    host: Sealhost,
}

impl Bench {
    fn new() -> Self {
        Self::of(|setup, swtpm| setup.with_tpm(swtpm).with_soft())
    }

    /// As `new`, with providers as given.
    fn of(configure: impl FnOnce(Setup, &Swtpm) -> Setup) -> Self {
        let swtpm = Swtpm::start().unwrap();
        let host = configure(Setup::default(), &swtpm).start();
        let key = host.post("/v1/keys/a", json!({"usage": "seal", "fallback": true})).ok();
        assert_eq!(key["versions"][0]["provider"], "tpm");
        Self { swtpm, host }
    }

    fn seal(&self) -> Response {
        seal(&self.host)
    }

    /// Cuts the TPM's power and seals until a seal succeeds.
    fn fall_back(&mut self) -> Value {
        self.swtpm.stop().unwrap();
        let mut sealed = Value::Null;
        self.host.wait_until("fallback", |host| {
            let reply = seal(host);
            if reply.status == 200 {
                sealed = reply.ok();
                return true;
            }
            reply.problem(503, "unavailable");
            false
        });
        sealed
    }

    /// Brings the TPM back and seals until it is used.
    fn return_to_tpm(&mut self) -> Value {
        self.swtpm.start_again().unwrap();
        let mut sealed = Value::Null;
        self.host.wait_until("the way back", |host| {
            sealed = seal(host).ok();
            sealed["provider"] == "tpm"
        });
        sealed
    }

    fn versions(&self) -> Vec<Value> {
        self.host.get("/v1/keys/a").ok()["versions"].as_array().unwrap().clone()
    }

    /// Seals for several times the time after which a fallback would be due, and asserts that
    /// each is refused so and that no version was made.
    #[track_caller]
    fn check_stays(&self, status: u16, code: &str) {
        let until = Instant::now() + Duration::from_secs(1);
        while Instant::now() < until {
            self.seal().problem(status, code);
        }
        assert_eq!(self.versions().len(), 1, "a fallback version was made");
        assert!(!self.host.log().contains("fallback:"));
    }
}

fn seal(host: &Sealhost) -> Response {
    host.post("/v1/keys/a/seal", json!({"plaintext": b64("secret")}))
}

#[test]
fn seals_go_elsewhere_only_after_the_time_set() {
    let mut bench =
        Bench::of(|setup, tpm| setup.with_tpm(tpm).with_soft().with_fallback_after("1500ms"));
    let stopped = Instant::now();
    let sealed = bench.fall_back();
    assert!(stopped.elapsed() >= Duration::from_millis(1500), "{:?}", stopped.elapsed());
    assert_eq!(sealed["provider"], "soft");
}

#[test]
fn fallback_is_told_in_reply_record_audit_status_and_metrics() {
    let mut bench = Bench::new();
    let metric = |host: &Sealhost, line: &str| {
        let text = String::from_utf8(host.get("/metrics").body).unwrap();
        assert!(text.lines().any(|it| it == line), "{line} is not in\n{text}");
    };
    metric(&bench.host, "sealhost_fallback_active{provider=\"tpm\"} 0");
    let sealed = bench.fall_back();
    assert_eq!(
        (&sealed["provider"], &sealed["protection"], &sealed["fallback"], &sealed["version"]),
        (&json!("soft"), &json!("software"), &json!(true), &json!(2))
    );
    let versions = bench.versions();
    assert_eq!(
        (&versions[0]["state"], &versions[0]["fallback"], &versions[0]["provider"]),
        (&json!("active"), &json!(false), &json!("tpm"))
    );
    assert_eq!(
        (&versions[1]["state"], &versions[1]["fallback"], &versions[1]["provider"]),
        (&json!("decrypt-only"), &json!(true), &json!("soft"))
    );
    assert_eq!(bench.host.provider("tpm")["state"], "down");
    assert_eq!(bench.host.provider("tpm")["fallback_active"], true);
    metric(&bench.host, "sealhost_fallback_active{provider=\"tpm\"} 1");
    metric(&bench.host, "sealhost_fallback_versions_total 1");

    assert!(bench.host.stop().success());
    let audit = bench.host.audit();
    let of = |kind: &str, operation: &str| -> Vec<&Value> {
        let of = |line: &&Value| line["kind"] == kind && line["operation"] == operation;
        audit.iter().filter(of).collect()
    };
    assert_eq!(of("intent", "fallback").len(), 1);
    let outcome = of("outcome", "fallback")[0];
    assert_eq!(
        (&outcome["fallback"], &outcome["version"], &outcome["provider"], &outcome["outcome"]),
        (&json!(true), &json!(2), &json!("soft"), &json!("ok"))
    );
    let seals = of("request", "seal");
    let last = seals.last().unwrap();
    assert_eq!(
        (&last["fallback"], &last["provider"], &last["protection"]),
        (&json!(true), &json!("soft"), &json!("software"))
    );
}

#[test]
fn seals_return_to_the_provider_and_rewrap_lifts_what_was_sealed_elsewhere() {
    let mut bench = Bench::new();
    let first = bench.seal().text("sealed");
    let elsewhere = bench.fall_back()["sealed"].clone();
    let back = bench.return_to_tpm();
    assert_eq!(
        (&back["version"], &back["fallback"], &back["protection"]),
        (&json!(1), &json!(false), &json!("emulated"))
    );
    let lifted = bench.host.post("/v1/keys/a/rewrap", json!({"sealed": elsewhere})).ok();
    assert_eq!(
        (&lifted["provider"], &lifted["version"], &lifted["fallback"]),
        (&json!("tpm"), &json!(1), &json!(false))
    );
    for sealed in [first.as_str(), elsewhere.as_str().unwrap(), lifted["sealed"].as_str().unwrap()]
    {
        assert_eq!(bench.host.unseal("a", sealed).text("plaintext"), b64("secret"));
    }
    assert_eq!(bench.host.provider("tpm")["fallback_active"], false);
}

#[test]
fn second_outage_uses_the_same_version_and_rotation_retires_it() {
    let mut bench = Bench::new();
    assert_eq!(bench.fall_back()["version"], 2);
    bench.return_to_tpm();
    let second = bench.fall_back();
    assert_eq!(second["version"], 2);
    assert_eq!(bench.versions().len(), 2);
    bench.return_to_tpm();
    let rotated = bench.host.post("/v1/keys/a/rotate", json!({})).ok();
    let states: Vec<_> =
        rotated["versions"].as_array().unwrap().iter().map(|it| &it["state"]).collect();
    assert_eq!(states, ["decrypt-only", "decrypt-only", "active"]);
    assert_eq!(bench.fall_back()["version"], 4);
    let opened = bench.host.unseal("a", second["sealed"].as_str().unwrap());
    assert_eq!(opened.text("plaintext"), b64("secret"));
}

#[test]
fn fallback_outlives_a_restart_in_the_outage() {
    let mut bench = Bench::new();
    let sealed = bench.fall_back()["sealed"].clone();
    bench.host.restart();
    let again = {
        let mut again = Value::Null;
        bench.host.wait_until("fallback after the restart", |host| {
            let reply = seal(host);
            again = reply.json();
            reply.status == 200
        });
        again
    };
    assert_eq!((&again["version"], &again["fallback"]), (&json!(2), &json!(true)));
    let opened = bench.host.unseal("a", sealed.as_str().unwrap());
    assert_eq!(opened.text("plaintext"), b64("secret"));
    assert_eq!(bench.return_to_tpm()["fallback"], false);
}

#[test]
fn blob_of_a_gone_provider_stays_shut_until_it_is_back() {
    let mut bench = Bench::new();
    let sealed = bench.seal().text("sealed");
    bench.fall_back();
    let problem = bench.host.unseal("a", &sealed).problem(503, "unavailable");
    assert_eq!((&problem["retryable"], &problem["provider"]), (&json!(true), &json!("tpm")));
    let rewrap = bench.host.post("/v1/keys/a/rewrap", json!({"sealed": sealed}));
    rewrap.problem(503, "unavailable");
    bench.return_to_tpm();
    assert_eq!(bench.host.unseal("a", &sealed).text("plaintext"), b64("secret"));
}

#[test]
fn rewrap_in_the_outage_does_not_lower_what_was_sealed_in_the_tpm() {
    let mut bench = Bench::new();
    let elsewhere = bench.fall_back()["sealed"].clone();
    // Its active version is in the TPM, which is gone: there is nowhere to lift it to.
    let rewrap = bench.host.post("/v1/keys/a/rewrap", json!({"sealed": elsewhere}));
    rewrap.problem(503, "unavailable");
    assert_eq!(
        bench.host.unseal("a", elsewhere.as_str().unwrap()).text("plaintext"),
        b64("secret")
    );
}

#[test]
fn key_without_fallback_does_not_fall_back() {
    let mut bench = Bench::new();
    bench.host.post("/v1/keys/b", json!({"usage": "seal"})).done();
    bench.fall_back();
    let sealed = bench.host.post("/v1/keys/b/seal", json!({"plaintext": b64("x")}));
    sealed.problem(503, "unavailable");
}

#[test]
fn macs_signatures_and_bound_keys_do_not_fall_back() {
    let mut bench = Bench::new();
    let create = |key: &str, body: Value| bench.host.post(&format!("/v1/keys/{key}"), body);
    for usage in ["mac", "sign"] {
        create("no", json!({"usage": usage, "fallback": true})).problem(400, "invalid");
    }
    let bound = json!({"usage": "seal", "fallback": true, "pcrs": {"sha256": [7]}});
    create("no", bound).problem(400, "invalid");
    create("m", json!({"usage": "mac"})).done();
    create("s", json!({"usage": "sign"})).done();
    create("p", json!({"usage": "seal", "pcrs": {"sha256": [7]}})).done();
    bench.fall_back();
    for (target, body) in [
        ("/v1/keys/m/mac", json!({"message": b64("x")})),
        ("/v1/keys/s/sign", json!({"digest": b64([1; 32])})),
        ("/v1/keys/p/seal", json!({"plaintext": b64("x")})),
    ] {
        bench.host.post(target, body).problem(503, "unavailable");
    }
}

#[test]
fn fallback_does_not_go_below_the_keys_floor() {
    let mut bench = Bench::new();
    let body = json!({"usage": "seal", "fallback": true, "floor": "emulated"});
    bench.host.post("/v1/keys/f", body).done();
    bench.fall_back();
    let sealed = bench.host.post("/v1/keys/f/seal", json!({"plaintext": b64("x")}));
    let problem = sealed.problem(503, "unavailable");
    assert_eq!(problem["provider"], "tpm");
    assert_eq!(bench.host.get("/v1/keys/f").ok()["versions"].as_array().unwrap().len(), 1);
}

#[test]
fn lockout_is_no_reason_to_fall_back() {
    let swtpm = Swtpm::start().unwrap();
    let proxy = CommandCounter::in_front_of(&swtpm).unwrap();
    let host = Setup::default().with_tpm_at(&proxy.tcti()).with_soft().start();
    host.post("/v1/keys/a", json!({"usage": "seal", "fallback": true})).done();
    let bench = Bench { swtpm, host };
    proxy.answer_next(HMAC, RC_LOCKOUT, u32::MAX);
    bench.check_stays(503, "locked_out");
}

#[test]
fn altered_answers_are_no_reason_to_fall_back() {
    let swtpm = Swtpm::start().unwrap();
    let proxy = CommandCounter::in_front_of(&swtpm).unwrap();
    let host = Setup::default().with_tpm_at(&proxy.tcti()).with_soft().start();
    host.post("/v1/keys/a", json!({"usage": "seal", "fallback": true})).done();
    let bench = Bench { swtpm, host };
    proxy.alter_next(HMAC, u32::MAX);
    bench.check_stays(400, "integrity");
}

#[test]
fn another_tpm_in_its_place_is_no_reason_to_fall_back() {
    let mut bench = Bench::new();
    bench.seal().done();
    bench.swtpm.fresh().unwrap();
    bench.check_stays(409, "wrong_device");
    assert_eq!(bench.host.provider("tpm")["state"], "down");
}

#[test]
fn another_tpm_after_an_outage_ends_the_fallback() {
    let mut bench = Bench::new();
    bench.fall_back();
    bench.swtpm.fresh().unwrap();
    bench.host.wait_until("the other TPM is noticed", |host| seal(host).status == 409);
    bench.seal().problem(409, "wrong_device");
    assert_eq!(bench.host.provider("tpm")["fallback_active"], false);
}

#[test]
fn tpm_that_hangs_is_no_reason_to_fall_back() {
    let mut bench = Bench::of(|setup, swtpm| {
        let deadlines = "[provider.deadlines]\nmac = \"300ms\"\nopen = \"300ms\"";
        setup
            .with_provider(&format!(
                "name = \"tpm\"\nplugin = \"provider_tpm\"\n\
                 [provider.settings]\ntcti = \"{}\"\n{deadlines}\n",
                swtpm.tcti()
            ))
            .with_soft()
    });
    bench.seal().done();
    bench.swtpm.suspend().unwrap();
    bench.seal().problem(504, "timeout");
    let until = Instant::now() + Duration::from_secs(2);
    while Instant::now() < until {
        let reply = bench.seal();
        assert!([503, 504].contains(&reply.status), "{}", reply.json());
    }
    assert_eq!(bench.versions().len(), 1, "a fallback version was made");
    bench.swtpm.resume().unwrap();
    bench.host.wait_until("the TPM is back", |host| seal(host).status == 200);
    assert_eq!(bench.seal().ok()["provider"], "tpm");
}

#[test]
fn rotation_cut_short_by_the_outage_does_not_stop_the_fallback() {
    let mut bench = Bench::new();
    bench.swtpm.stop().unwrap();
    bench.host.post("/v1/keys/a/rotate", json!({})).problem(503, "unavailable");
    let sealed = bench.fall_back();
    assert_eq!((&sealed["provider"], &sealed["fallback"]), (&json!("soft"), &json!(true)));
    assert_eq!(bench.return_to_tpm()["version"], 1);
    let rotated = bench.host.post("/v1/keys/a/rotate", json!({})).ok();
    let active = rotated["versions"].as_array().unwrap().last().unwrap();
    assert_eq!((&active["state"], &active["provider"]), (&json!("active"), &json!("tpm")));
    let opened = bench.host.unseal("a", sealed["sealed"].as_str().unwrap());
    assert_eq!(opened.text("plaintext"), b64("secret"));
}

#[test]
fn destruction_without_the_device_does_not_pass_for_a_living_one() {
    let mut bench = Bench::new();
    for key in ["c", "d"] {
        bench.host.create(key, "mac", "tpm");
    }
    bench.swtpm.stop().unwrap();
    // A TPM keeps nothing of a key, so its provider destroys one without it.
    bench.host.delete("/v1/keys/c?confirm=c").done();
    bench.seal().problem(503, "unavailable");
    bench.host.delete("/v1/keys/d?confirm=d").problem(503, "unavailable");
    assert_eq!(bench.host.provider("tpm")["state"], "down");
    // Undoing what was begun is a destruction too.
    bench.host.post("/v1/keys/x", json!({"usage": "mac"})).problem(503, "unavailable");
    assert_eq!(bench.host.provider("tpm")["state"], "down");
    assert_eq!(bench.fall_back()["provider"], "soft");
}

#[test]
fn changed_pcrs_are_a_state_mismatch_and_no_outage() {
    let bench = Bench::new();
    let body = json!({"usage": "seal", "pcrs": {"sha256": [16]}});
    bench.host.post("/v1/keys/p", body).done();
    let sealed = bench.host.seal("p", "x");
    let extended = std::process::Command::new("tpm2_pcrextend")
        .args(["-T", &bench.swtpm.tcti()])
        .arg(format!("16:sha256={}", "01".repeat(32)))
        .status()
        .unwrap();
    assert!(extended.success());
    let problem = bench.host.unseal("p", &sealed).problem(409, "state_mismatch");
    assert_eq!(problem["provider"], "tpm");
    let seal = bench.host.post("/v1/keys/p/seal", json!({"plaintext": b64("x")}));
    seal.problem(409, "state_mismatch");
    assert!(bench.host.log().contains("16"), "the log names the PCR");
    assert_eq!(bench.host.provider("tpm")["state"], "open");
    assert_eq!(bench.seal().ok()["provider"], "tpm");
}

#[test]
fn fallback_keeps_to_the_providers_of_the_key() {
    let mut bench = Bench::new();
    let body = json!({"usage": "seal", "fallback": true, "providers": ["tpm"]});
    bench.host.post("/v1/keys/t", body).done();
    bench.fall_back();
    let sealed = bench.host.post("/v1/keys/t/seal", json!({"plaintext": b64("x")}));
    assert_eq!(sealed.problem(503, "unavailable")["provider"], "tpm");
}

#[test]
fn full_queue_is_no_reason_to_fall_back() {
    let bench = Bench::of(|setup, swtpm| {
        setup
            .with_provider(&format!(
                "name = \"tpm\"\nplugin = \"provider_tpm\"\n\
                 [provider.settings]\ntcti = \"{}\"\n\
                 [provider.deadlines]\nqueue_length = 1\nqueue = \"10ms\"\n",
                swtpm.tcti()
            ))
            .with_soft()
            .with_fallback_after("10ms")
    });
    let until = Instant::now() + Duration::from_secs(1);
    let busy = std::sync::atomic::AtomicU32::new(0);
    std::thread::scope(|scope| {
        for _ in 0..12 {
            scope.spawn(|| {
                while Instant::now() < until {
                    let reply = bench.seal();
                    match reply.status {
                        200 => assert_eq!(reply.ok()["provider"], "tpm"),
                        _ => {
                            reply.problem(429, "busy");
                            busy.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                        }
                    }
                }
            });
        }
    });
    assert!(busy.into_inner() > 0, "the queue was never full");
    assert_eq!(bench.versions().len(), 1);
}
