//! A TPM that was cleared: what was in it is gone for good, everything says so, other providers'
//! keys go on, and the way that `docs/providers.md` names leads out.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;
use swtpm_fixtures::Swtpm;
use tests::{Sealhost, Setup, b64};

use crate::{mac, reason};

/// TPM2_Clear (TPM 2.0 Part 3, 24.6) by a hierarchy: `p` the platform's, `l` the lockout's.
fn clear(swtpm: &Swtpm, hierarchy: &str) {
    let mut tool = Command::new("tpm2_clear");
    let output = tool.args(["-T", &swtpm.tcti(), "-c", hierarchy]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

/// The provider of a configuration under another name.
fn renamed(swtpm: &Swtpm, name: &str) -> String {
    format!(
        "name = \"{name}\"\nplugin = \"provider_tpm\"\n[provider.settings]\ntcti = \"{}\"\n",
        swtpm.tcti()
    )
}

/// Asserts what callers and operators see of a key that was in the TPM.
#[track_caller]
fn check_lost(host: &Sealhost, sealed: &str) {
    for reply in [host.unseal("a", sealed), mac(host, "m")] {
        let problem = reply.problem(409, "wrong_device");
        let key = problem["key"].as_str().unwrap();
        assert!(["a", "m"].contains(&key), "{problem}");
        assert_eq!((&problem["provider"], &problem["retryable"]), (&json!("tpm"), &json!(false)));
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains("GET /v1/providers"), "{detail}");
    }
    assert_eq!(host.provider("tpm")["state"], "down");
    let why = reason(host, "tpm");
    for words in ["cleared", "connect the recorded device again", "provider of another name"] {
        assert!(why.contains(words), "{words} is not in: {why}");
    }
}

fn check(hierarchy: &str) {
    let swtpm = Swtpm::start().unwrap();
    let mut host = Setup::default().with_tpm(&swtpm).with_soft().start();
    let made = host.post("/v1/keys/a", json!({"usage": "seal"})).ok();
    assert_eq!(made["versions"][0]["provider"], "tpm");
    host.create("m", "mac", "tpm");
    host.create("s", "mac", "soft");
    let (sealed, others) = (host.seal("a", "x"), mac(&host, "s").text("mac"));
    mac(&host, "m").done();
    clear(&swtpm, hierarchy);
    let begun = Instant::now();
    host.wait_until("the other TPM is noticed", |host| mac(host, "m").status == 409);
    println!("cleared by {hierarchy}: noticed after {:?}", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    host.wait_until("it is shown", |host| host.provider("tpm")["state"] == "down");
    check_lost(&host, &sealed);
    // No key moves to software meanwhile, and those of others go on.
    let reply = host.post("/v1/keys/new", json!({"usage": "mac"}));
    reply.problem(503, "unavailable");
    assert_eq!(mac(&host, "s").text("mac"), others);
    host.restart();
    check_lost(&host, &sealed);
    assert_eq!(mac(&host, "s").text("mac"), others);

    // The way out: the TPM under another name; a rotation of each key; sealing anew.
    let provider = renamed(&swtpm, "tpm2");
    host.reconfigure(|_| Setup::default().with_provider(&provider).with_soft());
    host.restart();
    assert_eq!(host.provider("tpm2")["state"], "open", "{}", host.log());
    let rotated = host.post("/v1/keys/a/rotate", json!({})).ok();
    assert_eq!(rotated["versions"][1]["provider"], "tpm2");
    let anew = host.seal("a", "from its source");
    assert_eq!(host.unseal("a", &anew).text("plaintext"), b64("from its source"));
    // What the old seeds sealed stays shut, and says so.
    host.unseal("a", &sealed).problem(503, "unavailable");
    assert_eq!(mac(&host, "s").text("mac"), others);
}

#[test]
fn tpm_cleared_by_the_platform_is_another_device() {
    check("p");
}

#[test]
fn tpm_cleared_by_the_lockout_hierarchy_is_another_device() {
    check("l");
}

#[test]
fn host_on_a_cleared_tpm_alone_does_not_start_and_says_what_to_do() {
    let swtpm = Swtpm::start().unwrap();
    let mut host = Setup::default().with_tpm(&swtpm).start();
    host.create("a", "seal", "tpm");
    assert!(host.stop().success());
    clear(&swtpm, "p");
    assert!(!host.try_start().unwrap_err().success());
    let log = host.log();
    for words in ["cleared", "provider of another name", "docs/providers.md"] {
        assert!(log.contains(words), "{words} is not in: {log}");
    }
}
