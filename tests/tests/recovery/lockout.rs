//! A TPM in dictionary-attack lockout, brought there by somebody else's object: it is seen to
//! come, and it stops none of our keys.

use std::process::{Command, Output};
use std::time::Instant;

use serde_json::{Value, json};
use swtpm_fixtures::{CommandCounter, Swtpm};
use tests::sealhost::built;
use tests::{Sealhost, Setup, b64};

use crate::mac;

/// Runs one of the tpm2 tools on an emulator.
fn tool(swtpm: &Swtpm, words: &str) -> Output {
    let mut words = words.split(' ');
    let tool = format!("tpm2_{}", words.next().unwrap());
    let output = Command::new(tool).args(["-T", &swtpm.tcti()]).args(words).output();
    output.unwrap()
}

#[track_caller]
fn run(swtpm: &Swtpm, words: &str) {
    let output = tool(swtpm, words);
    assert!(output.status.success(), "{output:?}");
}

/// Makes an object that is not ours and counts for lockout.
fn define(swtpm: &Swtpm) {
    run(swtpm, "nvdefine 0x01500001 -C o -s 8 -a authread|authwrite -p right");
}

/// Shows it a wrong password.
fn guess(swtpm: &Swtpm) {
    assert!(!tool(swtpm, "nvread 0x01500001 -P wrong").status.success());
}

/// A host that asks often, with the keys of all usages and what they gave.
fn host(swtpm: &Swtpm) -> Sealhost {
    let setup = Setup::default().with_provider(&format!(
        "name = \"tpm\"\nplugin = \"provider_tpm\"\ncondition_every = \"50ms\"\n\
         [provider.settings]\ntcti = \"{}\"\n",
        swtpm.tcti()
    ));
    let host = setup.start();
    for usage in ["mac", "seal", "sign"] {
        host.create(usage, usage, "tpm");
    }
    let bound = json!({"usage": "mac", "pcrs": {"sha256": [7]}});
    host.post("/v1/keys/bound", bound).done();
    host
}

fn lockout(host: &Sealhost) -> Value {
    host.provider("tpm")["lockout"].clone()
}

fn sealctl(host: &Sealhost, words: &[&str]) -> String {
    let mut sealctl = Command::new(built("sealctl"));
    let output = sealctl.arg("--socket").arg(host.socket()).args(words).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn lockout_by_anothers_object_is_seen_coming_and_stops_none_of_our_keys() {
    let swtpm = Swtpm::start().unwrap();
    let mut host = host(&swtpm);
    let before = ["mac", "bound"].map(|key| mac(&host, key).text("mac"));
    let sealed = host.seal("seal", "x");
    // The emulator starts with three tries, each forgotten after 1000 s.
    let is = |failures: u32, last_try: bool, locked: bool| {
        json!({
            "failures": failures, "max": 3, "recovery_seconds": 1000,
            "last_try": last_try, "locked": locked,
        })
    };
    assert_eq!(lockout(&host), is(0, false, false), "known from the opening on");
    define(&swtpm);
    for seen in [is(1, false, false), is(2, true, false), is(3, false, true)] {
        let warned = seen["failures"] != 1;
        guess(&swtpm);
        let begun = Instant::now();
        host.wait_until("the failure is seen", |host| lockout(host) == seen);
        println!("{seen} after {:?}", begun.elapsed());
        let status = sealctl(&host, &["status"]);
        assert_eq!(status.contains("tpm: warning: lockout"), warned, "{status}");
        assert_eq!(sealctl(&host, &["provider", "list"]).contains("warning"), warned);
    }
    assert!(sealctl(&host, &["status"]).contains("the device is locked: 3 failed"));
    let notes = host.provider("tpm")["notes"].to_string();
    assert!(notes.contains("tpm2_dictionarylockout --clear-lockout"), "{notes}");
    let metrics = String::from_utf8(host.get("/metrics").body).unwrap();
    for line in [
        "failures{provider=\"tpm\"} 3",
        "failures_max{provider=\"tpm\"} 3",
        "locked{provider=\"tpm\"} 1",
    ] {
        assert!(metrics.contains(&format!("sealhost_lockout_{line}")), "{line}: {metrics}");
    }
    // Each change is logged once, however often the same is heard.
    let logged = |text: &str| host.log().lines().filter(|line| line.contains(text)).count();
    assert_eq!((logged("one more locks the device"), logged("the device is locked")), (1, 1));

    // Ours are noDA: old ones and new ones work, and a host opens the locked TPM.
    let check = |host: &Sealhost, new: &str| {
        assert_eq!(["mac", "bound"].map(|key| mac(host, key).text("mac")), before);
        assert_eq!(host.unseal("seal", &sealed).text("plaintext"), b64("x"));
        host.post("/v1/keys/sign/sign", json!({"digest": b64([1; 32])})).done();
        host.create(new, "mac", "tpm");
        mac(host, new).done();
        assert_eq!(host.provider("tpm")["breaker"], json!({"state": "closed"}));
    };
    check(&host, "during");
    host.restart();
    check(&host, "after");
    assert_eq!(lockout(&host), is(3, false, true), "known from the opening on");

    run(&swtpm, "dictionarylockout --clear-lockout");
    host.wait_until("the lockout is over", |host| lockout(host) == is(0, false, false));
    assert!(!sealctl(&host, &["status"]).contains("warning"));
    assert!(host.log().contains("no longer near"));
}

#[test]
fn warning_comes_past_half_of_the_tries() {
    let swtpm = Swtpm::start().unwrap();
    let many = "dictionarylockout --setup-parameters --max-tries=6 --recovery-time=7200 \
                --lockout-recovery-time=86400";
    run(&swtpm, many);
    let host = host(&swtpm);
    define(&swtpm);
    for failures in 1..=4_u64 {
        guess(&swtpm);
        host.wait_until("the failure is seen", |host| lockout(host)["failures"] == failures);
        assert_eq!(lockout(&host)["recovery_seconds"], 7200);
        let text = sealctl(&host, &["provider", "list"]);
        assert_eq!(text.contains("warning: lockout"), failures > 3, "{failures}: {text}");
    }
}

#[test]
fn refusal_has_the_device_asked_at_once() {
    let swtpm = Swtpm::start().unwrap();
    let proxy = CommandCounter::in_front_of(&swtpm).unwrap();
    // Asked by the clock it would be after a minute.
    let host = Setup::default().with_tpm_at(&proxy.tcti()).start();
    host.create("a", "mac", "tpm");
    mac(&host, "a").done();
    define(&swtpm);
    (0..3).for_each(|_| guess(&swtpm));
    for _ in 0..20 {
        assert_eq!(lockout(&host)["failures"], 0, "a request for the status asked the device");
    }
    proxy.answer_next(0x155, 0x921, 1);
    mac(&host, "a").problem(503, "locked_out");
    host.wait_until("the lockout is known", |host| lockout(host)["locked"] == true);
}

#[test]
fn lockout_is_told_apart_from_absence_and_passes() {
    let swtpm = Swtpm::start().unwrap();
    let proxy = CommandCounter::in_front_of(&swtpm).unwrap();
    let host = Setup::default().with_tpm_at(&proxy.tcti()).start();
    host.create("a", "mac", "tpm");
    mac(&host, "a").done();
    proxy.answer_next(0x155, 0x921, 1);
    let reply = mac(&host, "a");
    let problem = reply.problem(503, "locked_out");
    assert_eq!((&problem["retryable"], &problem["provider"]), (&json!(true), &json!("tpm")));
    assert!(reply.header("retry-after").is_some());
    assert_ne!(problem["detail"], Value::Null);
    assert!(host.log().contains("over after at most"), "how long it lasts is in the log");
    assert_eq!(host.provider("tpm")["state"], "open");
    mac(&host, "a").done();
}
