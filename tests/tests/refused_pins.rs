//! Refused PINs: what counts them is the token, so the host remembers tokens, not its instances.
#![expect(clippy::tests_outside_test_module, reason = "integration tests, and what they share")]

use std::fs;
use std::path::Path;

use serde_json::json;
use swtpm_fixtures::SoftHsm;
use tests::{Sealhost, Setup};

/// An instance on the token of a store.
fn instance(name: &str, hsm: &SoftHsm, pin_file: &Path) -> String {
    format!(
        "name = \"{name}\"\nplugin = \"provider_pkcs11\"\n\
         [provider.settings]\nmodule = \"{}\"\ntoken = \"pkcs11:token={}\"\n\
         pin_source = \"file:{}\"\n\
         [provider.env]\nSOFTHSM2_CONF = \"{}\"\n",
        hsm.module_path(),
        hsm.label(),
        pin_file.display(),
        hsm.conf_path().display(),
    )
}

/// How often a token refused a PIN.
fn attempts(host: &Sealhost) -> usize {
    let log = host.log();
    let refused = log.lines().filter(|line| line.contains("CKR_PIN_INCORRECT"));
    refused.filter(|line| !line.contains("was refused before")).count()
}

/// Waits until an instance is down because a PIN was refused before.
#[track_caller]
fn wait_until_withheld(host: &Sealhost, provider: &str) {
    host.wait_until("not trying again", |host| {
        let status = host.provider(provider);
        status["reason"].as_str().is_some_and(|reason| reason.contains("was refused before"))
    });
}

#[test]
fn two_instances_on_one_token_use_up_one_try_between_them() {
    let hsm = SoftHsm::start("edge", "1234").unwrap();
    let right = fs::read(hsm.pin_file()).unwrap();
    fs::write(hsm.pin_file(), "9999").unwrap();
    let mut host = Setup::soft()
        .with_provider(&instance("one", &hsm, &hsm.pin_file()))
        .with_provider(&instance("other", &hsm, &hsm.pin_file()))
        .start();
    for _ in 0..2 {
        wait_until_withheld(&host, "one");
        wait_until_withheld(&host, "other");
        assert_eq!(attempts(&host), 1);
        host.restart();
    }
    fs::write(hsm.pin_file(), right).unwrap();
    assert_eq!(host.post("/v1/providers/one/retry", json!({})).ok()["state"], "open");
    // The token has accepted it, so the other may show its own.
    host.wait_until("opening the other", |host| host.provider("other")["state"] == "open");
    assert_eq!(attempts(&host), 1);
}

#[test]
fn other_token_in_the_place_of_one_that_refused_is_tried() {
    let hsm = SoftHsm::start("edge", "1234").unwrap();
    fs::write(hsm.pin_file(), "9999").unwrap();
    let mut host = Setup::soft().with_provider(&instance("hsm", &hsm, &hsm.pin_file())).start();
    wait_until_withheld(&host, "hsm");
    hsm.remove_token().unwrap();
    hsm.add_token(hsm.label(), "9999").unwrap();
    host.wait_until("opening the other token", |host| host.provider("hsm")["state"] == "open");
    host.create("a", "mac", "hsm");
    host.restart();
    assert_eq!(host.provider("hsm")["state"], "open");
    assert_eq!(attempts(&host), 1);
}

#[test]
fn instance_on_another_token_is_tried_though_one_refused() {
    let (refusing, taking) =
        (SoftHsm::start("edge", "1234").unwrap(), SoftHsm::start("edge", "1234").unwrap());
    fs::write(refusing.pin_file(), "9999").unwrap();
    let mut host = Setup::soft()
        .with_provider(&instance("refusing", &refusing, &refusing.pin_file()))
        .with_provider(&instance("taking", &taking, &taking.pin_file()))
        .start();
    for _ in 0..2 {
        wait_until_withheld(&host, "refusing");
        assert_eq!(host.provider("taking")["state"], "open");
        host.restart();
    }
    assert_eq!(attempts(&host), 1);
}
