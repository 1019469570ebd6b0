//! Which provider a new key version goes to: order, capability, floor, and above all that a
//! provider that was never there is passed over while one that is gone stops the search.
#![expect(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "integration tests, and what they share"
)]

use serde_json::{Value, json};
use swtpm_fixtures::{SoftHsm, Swtpm};
use tests::{Response, Sealhost, Setup, b64};

/// A TPM that is off.
fn switched_off() -> Swtpm {
    let mut swtpm = Swtpm::start().unwrap();
    swtpm.stop().unwrap();
    swtpm
}

fn create(host: &Sealhost, key: &str, body: &Value) -> Response {
    host.post(&format!("/v1/keys/{key}"), body.clone())
}

/// Makes a key and asserts where its newest version is.
#[track_caller]
fn check_goes_to(host: &Sealhost, key: &str, body: &Value, provider: &str) {
    let record = create(host, key, body).ok();
    assert_eq!(record["versions"][0]["provider"], provider, "{record}");
}

#[track_caller]
fn check_refused(reply: &Response, status: u16, code: &str, words: &[&str]) {
    let problem = reply.problem(status, code);
    let detail = problem["detail"].as_str().unwrap();
    for word in words {
        assert!(detail.contains(word), "{word} is not in: {detail}");
    }
}

#[test]
fn tpm_that_was_never_there_is_absent_and_keys_go_to_the_next() {
    let swtpm = switched_off();
    let mut host = Setup::default().with_tpm(&swtpm).with_soft().start();
    let tpm = host.provider("tpm");
    assert_eq!(tpm["state"], "absent");
    assert!(tpm["reason"].as_str().unwrap().contains("no connection to the TPM"), "{tpm}");
    let record = create(&host, "a", &json!({"usage": "seal"})).ok();
    assert_eq!(record["versions"][0]["provider"], "soft");
    assert_eq!(record["versions"][0]["protection"], "software");
    assert!(host.stop().success());
    let audit = host.audit();
    let made = audit.iter().find(|line| line["kind"] == "outcome").unwrap();
    assert_eq!((&made["provider"], &made["protection"]), (&json!("soft"), &json!("software")));
}

#[test]
fn late_tpm_is_picked_up_without_a_restart() {
    let mut swtpm = switched_off();
    let host = Setup::default().with_tpm(&swtpm).with_soft().start();
    check_goes_to(&host, "a", &json!({"usage": "seal"}), "soft");
    let sealed = host.seal("a", "x");
    swtpm.start_again().unwrap();
    host.wait_until("the TPM is open", |host| host.provider("tpm")["state"] == "open");
    check_goes_to(&host, "b", &json!({"usage": "seal"}), "tpm");
    // What is there stays where it is until it is rotated.
    assert_eq!(
        host.post("/v1/keys/a/seal", json!({"plaintext": b64("x")})).ok()["provider"],
        "soft"
    );
    let rotated = host.post("/v1/keys/a/rotate", json!({})).ok();
    assert_eq!(rotated["versions"][1]["provider"], "tpm");
    let lifted = host.post("/v1/keys/a/rewrap", json!({"sealed": sealed})).ok();
    assert_eq!((&lifted["provider"], &lifted["protection"]), (&json!("tpm"), &json!("emulated")));
    assert_eq!(host.unseal("a", &sealed).text("plaintext"), b64("x"));
}

#[test]
fn operator_can_have_a_late_tpm_tried_at_once() {
    let mut swtpm = switched_off();
    let host = Setup::default().with_tpm(&swtpm).with_soft().start();
    swtpm.start_again().unwrap();
    assert_eq!(host.post("/v1/providers/tpm/retry", json!({})).ok()["state"], "open");
}

#[test]
fn tpm_that_was_there_before_is_down_and_no_key_goes_elsewhere() {
    let mut swtpm = Swtpm::start().unwrap();
    let mut host = Setup::default().with_tpm(&swtpm).with_soft().start();
    check_goes_to(&host, "a", &json!({"usage": "mac"}), "tpm");
    check_goes_to(&host, "s", &json!({"usage": "mac", "providers": ["soft"]}), "soft");
    swtpm.stop().unwrap();
    let check = |host: &Sealhost| {
        for _ in 0..2 {
            let reply = create(host, "b", &json!({"usage": "seal"}));
            assert_eq!(reply.problem(503, "unavailable")["provider"], "tpm");
            let reply = host.post("/v1/keys/a/rotate", json!({}));
            assert_eq!(reply.problem(503, "unavailable")["provider"], "tpm");
            let import = json!({"usage": "mac", "key": b64("x")});
            let reply = host.post("/v1/keys/c/import", import);
            assert_eq!(reply.problem(503, "unavailable")["provider"], "tpm");
        }
        assert_eq!(host.provider("tpm")["state"], "down");
        for key in ["b", "c"] {
            host.get(&format!("/v1/keys/{key}")).problem(404, "not_found");
        }
        assert_eq!(host.get("/v1/keys/a").ok()["versions"].as_array().unwrap().len(), 1);
        // Whoever names the provider gets it, and a key that lives there rotates there.
        let rotated = host.post("/v1/keys/s/rotate", json!({})).ok();
        assert!(rotated["versions"].as_array().unwrap().iter().all(|it| it["provider"] == "soft"));
    };
    check(&host);
    host.restart();
    check(&host);
    swtpm.start_again().unwrap();
    host.wait_until("the TPM is open", |host| host.provider("tpm")["state"] == "open");
    check_goes_to(&host, "b", &json!({"usage": "seal"}), "tpm");
}

#[test]
fn provider_that_is_down_stops_nothing_that_comes_before_it() {
    let mut swtpm = Swtpm::start().unwrap();
    let setup = Setup::default().with_tpm(&swtpm).with_soft().with_order(&["soft", "tpm"]);
    let mut host = setup.start();
    swtpm.stop().unwrap();
    host.restart();
    assert_eq!(host.provider("tpm")["state"], "down");
    check_goes_to(&host, "a", &json!({"usage": "seal"}), "soft");
    let first_tpm = json!({"usage": "seal", "providers": ["tpm", "soft"]});
    create(&host, "b", &first_tpm).problem(503, "unavailable");
}

#[test]
fn provider_that_is_down_but_could_not_hold_the_key_is_passed_over() {
    let hsm = SoftHsm::start("edge", "1234").unwrap();
    let swtpm = Swtpm::start().unwrap();
    let setup = Setup::default().with_hsm(&hsm).with_tpm(&swtpm);
    let host = setup.with_order(&["hsm", "tpm"]).start();
    host.create("a", "mac", "hsm");
    hsm.remove_token().unwrap();
    host.post("/v1/keys/a/mac", json!({"message": b64("x")})).problem(503, "unavailable");
    // A token knows nothing of PCRs, so its absence is no reason to wait for it.
    let bound = json!({"usage": "seal", "pcrs": {"sha256": [7]}});
    check_goes_to(&host, "b", &bound, "tpm");
    create(&host, "c", &json!({"usage": "seal"})).problem(503, "unavailable");
}

#[test]
fn tpm_that_is_silent_at_the_first_start_is_not_absent() {
    let mut swtpm = Swtpm::start().unwrap();
    let tpm = format!(
        "name = \"tpm\"\nplugin = \"provider_tpm\"\n[provider.settings]\ntcti = \"{}\"\n\
         [provider.deadlines]\nopen = \"300ms\"\n",
        swtpm.tcti()
    );
    swtpm.suspend().unwrap();
    let host = Setup::default().with_provider(&tpm).with_soft().start();
    assert_eq!(host.provider("tpm")["state"], "down");
    create(&host, "a", &json!({"usage": "seal"})).problem(503, "unavailable");
    swtpm.resume().unwrap();
    host.wait_until("the TPM is open", |host| host.provider("tpm")["state"] == "open");
    check_goes_to(&host, "a", &json!({"usage": "seal"}), "tpm");
}

#[test]
fn key_below_the_floor_is_refused_with_every_reason() {
    let swtpm = Swtpm::start().unwrap();
    let host = Setup::default().with_tpm(&swtpm).with_soft().with_floor("hardware").start();
    let words = ["tpm gives emulated", "soft gives software", "below hardware"];
    check_refused(&create(&host, "a", &json!({"usage": "seal"})), 400, "unsupported", &words);
    let lower = create(&host, "a", &json!({"usage": "seal", "floor": "software"}));
    check_refused(&lower, 400, "invalid", &["below the configured floor"]);
    host.get("/v1/keys/a").problem(404, "not_found");
}

#[test]
fn key_that_asks_for_more_than_the_floor_passes_over_what_gives_less() {
    let swtpm = Swtpm::start().unwrap();
    let setup = Setup::default().with_soft().with_tpm(&swtpm);
    let host = setup.with_order(&["soft", "tpm"]).start();
    check_goes_to(&host, "a", &json!({"usage": "seal"}), "soft");
    check_goes_to(&host, "b", &json!({"usage": "seal", "floor": "emulated"}), "tpm");
    let rotated = host.post("/v1/keys/b/rotate", json!({})).ok();
    assert_eq!(rotated["versions"][1]["provider"], "tpm");
}

#[test]
fn absent_tpm_leaves_nothing_above_the_floor() {
    let swtpm = switched_off();
    let host = Setup::default().with_tpm(&swtpm).with_soft().with_floor("emulated").start();
    let words = ["tpm is absent", "soft gives software"];
    check_refused(&create(&host, "a", &json!({"usage": "seal"})), 400, "unsupported", &words);
}

#[test]
fn protection_that_the_operator_states_is_reported_as_stated() {
    let swtpm = Swtpm::start().unwrap();
    let tpm = format!(
        "name = \"tpm\"\nplugin = \"provider_tpm\"\nprotection = \"hardware\"\n\
         [provider.settings]\ntcti = \"{}\"\n",
        swtpm.tcti()
    );
    let host = Setup::default().with_provider(&tpm).with_soft().with_floor("hardware").start();
    let record = create(&host, "a", &json!({"usage": "seal"})).ok();
    assert_eq!(record["versions"][0]["protection"], "hardware");
    let sealed = host.post("/v1/keys/a/seal", json!({"plaintext": b64("x")})).ok();
    assert_eq!(sealed["protection"], "hardware");
    let status = host.provider("tpm");
    assert_eq!(status["protection"], "hardware");
    let notes = status["notes"].to_string();
    assert!(notes.contains("stated") && notes.contains("emulated"), "{notes}");
}

#[test]
fn provider_that_is_no_longer_configured_keeps_its_keys_shut_until_it_is() {
    let hsm = SoftHsm::start("edge", "1234").unwrap();
    let mut host = Setup::default().with_hsm(&hsm).with_soft().start();
    check_goes_to(&host, "a", &json!({"usage": "seal"}), "hsm");
    let only = json!({"usage": "seal", "providers": ["hsm"]});
    check_goes_to(&host, "b", &only, "hsm");
    let sealed = host.seal("a", "x");
    let objects = hsm.objects().unwrap();
    let with_hsm = Setup::default().with_hsm(&hsm).with_soft();
    host.reconfigure(|_| Setup::soft());
    host.restart();
    let problem = host.unseal("a", &sealed).problem(503, "unavailable");
    assert_eq!(problem["provider"], "hsm");
    host.delete("/v1/keys/a?confirm=a").problem(503, "unavailable");
    let rotate = host.post("/v1/keys/b/rotate", json!({}));
    check_refused(&rotate, 400, "unsupported", &["hsm is not configured"]);
    // The operator took it out of the order, so new versions go by the order that is left.
    let rotated = host.post("/v1/keys/a/rotate", json!({})).ok();
    assert_eq!(rotated["versions"][1]["provider"], "soft");
    assert_eq!(hsm.objects().unwrap(), objects, "objects were removed");
    host.reconfigure(|_| with_hsm);
    host.restart();
    assert_eq!(host.unseal("a", &sealed).text("plaintext"), b64("x"));
}

#[test]
fn other_instance_under_a_known_name_is_the_wrong_device_and_loses_nothing() {
    let (swtpm, other) = (Swtpm::start().unwrap(), Swtpm::start().unwrap());
    let mut host = Setup::default().with_tpm(&swtpm).with_soft().start();
    check_goes_to(&host, "a", &json!({"usage": "seal"}), "tpm");
    let sealed = host.seal("a", "x");
    host.reconfigure(|_| Setup::default().with_tpm(&other).with_soft());
    host.restart();
    assert_eq!(host.provider("tpm")["state"], "down");
    host.unseal("a", &sealed).problem(409, "wrong_device");
    create(&host, "b", &json!({"usage": "seal"})).problem(503, "unavailable");
    assert_eq!(host.get("/v1/keys/a").ok()["versions"][0]["state"], "active");
    host.reconfigure(|_| Setup::default().with_tpm(&swtpm).with_soft());
    host.restart();
    assert_eq!(host.unseal("a", &sealed).text("plaintext"), b64("x"));
}
