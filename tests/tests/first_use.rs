//! A device that says that it made a key, and did not, or not that one: the key is not there, what
//! the device kept of it is removed, and the caller hears that it failed.
#![expect(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    reason = "integration tests, and what they share"
)]

use serde_json::{Value, json};
use swtpm_fixtures::{SoftHsm, Swtpm};
use tests::{Sealhost, Setup, b64};

/// Time enough on a machine that others use too: nothing here shall end by a deadline.
const PATIENT: &str = "[provider.deadlines]\nopen = \"60s\"\nmac = \"30s\"\ngenerate = \"30s\"\n";

/// Asks for a new key under a plan. It is refused so, is not there, nothing of it stays announced,
/// and it can be made when the device is well again.
#[track_caller]
fn check(host: &Sealhost, plan: &str, verb: &str, body: &Value, status: u16, code: &str) {
    let name = format!("{plan}.{}.{}", body["usage"].as_str().unwrap(), body.to_string().len());
    let name = name.replace(|it: char| !it.is_ascii_alphanumeric(), "-");
    let key = format!("/v1/keys/{name}");
    host.plan("faulty", plan);
    let refused = host.post(&format!("{key}{verb}"), body.clone());
    let problem = refused.problem(status, code);
    assert_eq!(problem["provider"], "faulty", "{problem}");
    host.plan("faulty", "");
    host.wait_until("being open", |host| host.provider("faulty")["state"] == "open");
    host.get(&key).problem(404, "not_found");
    let made = |host: &Sealhost| host.post(&format!("{key}{verb}"), body.clone()).status;
    host.wait_until("making it", |host| matches!(made(host), 200 | 201));
    host.delete(&format!("{key}?confirm={name}")).done();
    assert!(!host.verified_audit().is_empty());
}

#[track_caller]
fn check_create(host: &Sealhost, usage: &str, plan: &str, status: u16, code: &str) {
    let body = json!({"usage": usage, "providers": ["faulty"]});
    check(host, plan, "", &body, status, code);
}

fn soft() -> Sealhost {
    Setup::soft().with_soft_behind_faults("faulty", PATIENT).start()
}

/// The fault plugin in front of another plugin, as provider `faulty`.
fn behind_faults(plugin: &str, settings: &str) -> Setup {
    Setup::default().with_provider(&format!(
        "name = \"faulty\"\nplugin = \"provider_fault\"\n[provider.settings]\n\
         plugin = \"@HOST_DIR@/plugins/lib{plugin}.so\"\n\
         plan_file = \"@HOST_DIR@/faults/faulty.plan\"\n\
         journal = \"@HOST_DIR@/faults/faulty.journal\"\n{settings}{PATIENT}"
    ))
}

#[test]
fn blob_that_is_spoilt_makes_no_key_in_software() {
    let host = soft();
    for usage in ["seal", "mac", "sign"] {
        check_create(&host, usage, "generate:1 wrong", 500, "internal");
    }
}

#[test]
fn blob_that_is_spoilt_makes_no_key_in_a_tpm() {
    let swtpm = Swtpm::start().unwrap();
    let settings = format!("tcti = \"{}\"\n", swtpm.tcti());
    let host = behind_faults("provider_tpm", &settings).start();
    for usage in ["seal", "mac", "sign"] {
        check_create(&host, usage, "generate:1 wrong", 500, "internal");
    }
}

#[test]
fn blob_that_is_spoilt_leaves_nothing_on_a_token() {
    let hsm = SoftHsm::start("edge", "4711").unwrap();
    let settings = format!(
        "module = \"{}\"\ntoken = \"pkcs11:token=edge\"\npin_source = \"file:{}\"\n\
         [provider.env]\nSOFTHSM2_CONF = \"{}\"\n",
        hsm.module_path(),
        hsm.pin_file().display(),
        hsm.conf_path().display(),
    );
    let host = behind_faults("provider_pkcs11", &settings).start();
    let before = hsm.objects().unwrap();
    for usage in ["seal", "mac", "sign"] {
        check_create(&host, usage, "generate:1 wrong", 500, "internal");
        assert_eq!(hsm.objects().unwrap(), before, "{usage}");
    }
}

#[test]
fn caller_and_log_are_told_what_is_wrong_and_the_device_is_told_to_forget_it() {
    let host = soft();
    host.plan("faulty", "generate:1 wrong");
    let body = json!({"usage": "seal", "providers": ["faulty"]});
    let problem = host.post("/v1/keys/new", body).problem(500, "internal");
    assert_eq!(problem["retryable"], false, "{problem}");
    assert!(problem.to_string().contains("a key that does not work"), "{problem}");
    assert_eq!(host.journal("faulty"), ["generate wrong", "mac", "destroy", "destroy"]);
    assert!(host.log().contains("provider call failed"), "{}", host.log());
}

#[test]
fn good_key_takes_one_call_more_and_a_pair_two() {
    let host = soft();
    for (usage, calls) in [
        ("seal", &["generate", "mac"][..]),
        ("mac", &["generate", "mac"]),
        ("sign", &["generate", "public_key", "sign"]),
    ] {
        host.plan("faulty", &format!("# {usage}"));
        host.create(usage, usage, "faulty");
        assert_eq!(host.journal("faulty"), calls);
    }
}

#[test]
fn pair_that_does_not_belong_together_makes_no_key() {
    let host = soft();
    check_create(&host, "sign", "sign:1 wrong", 500, "internal");
    check_create(&host, "sign", "public_key:1 wrong", 500, "internal");
}

#[test]
fn imported_key_that_computes_wrongly_is_not_kept() {
    let host = soft();
    let body = |key: &[u8]| json!({"usage": "mac", "key": b64(key), "providers": ["faulty"]});
    for length in [1, 63, 65, 1024] {
        check(&host, "mac:1 wrong", "/import", &body(&vec![7; length]), 500, "internal");
    }
    check(&host, "import:1 wrong", "/import", &body(&[7; 32]), 500, "internal");
}

#[test]
fn device_that_goes_away_before_the_first_use_is_an_outage_and_no_broken_key() {
    let host = soft();
    for (plan, status, code) in [
        ("mac:1 gone", 503, "unavailable"),
        ("mac:1 busy", 429, "busy"),
        ("mac:1 locked_out", 503, "locked_out"),
        ("mac:1 crash", 503, "unavailable"),
    ] {
        check_create(&host, "mac", plan, status, code);
    }
}

#[test]
fn device_that_hangs_in_the_first_use_is_a_timeout_and_no_broken_key() {
    let deadline = "[provider.deadlines]\nopen = \"60s\"\nmac = \"1s\"\n";
    let host = Setup::soft().with_soft_behind_faults("faulty", deadline).start();
    check_create(&host, "mac", "mac:1 hang", 504, "timeout");
}

#[test]
fn rotation_that_gives_a_broken_key_leaves_the_key_as_it_was() {
    let host = soft();
    host.create("a", "seal", "faulty");
    let sealed = host.seal("a", "kept");
    host.plan("faulty", "generate:1 wrong");
    host.post("/v1/keys/a/rotate", json!({})).problem(500, "internal");
    host.plan("faulty", "");
    let record = host.get("/v1/keys/a").ok();
    assert_eq!(record["versions"].as_array().unwrap().len(), 1, "{record}");
    assert_eq!(host.unseal("a", &sealed).text("plaintext"), b64("kept"));
    assert_eq!(host.unseal("a", &host.seal("a", "new")).text("plaintext"), b64("new"));
}

#[test]
fn broken_fallback_version_seals_nothing() {
    let host = Setup::default()
        .with_soft_behind_faults("first", PATIENT)
        .with_soft_behind_faults("faulty", PATIENT)
        .with_order(&["first", "faulty"])
        .with_fallback_after("10ms")
        .start();
    host.post("/v1/keys/a", json!({"usage": "seal", "fallback": true})).done();
    host.plan("faulty", "generate:1 wrong");
    host.plan("first", "any unplug");
    let seal = |host: &Sealhost| host.post("/v1/keys/a/seal", json!({"plaintext": b64("x")}));
    host.wait_until("the other's turn", |host| seal(host).status == 500);
    let sealed = seal(&host);
    assert_eq!(sealed.ok()["fallback"], true);
    let sealed = sealed.text("sealed");
    assert_eq!(host.unseal("a", &sealed).text("plaintext"), b64("x"));
}
