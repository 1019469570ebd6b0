//! PINs that a token refuses, and PIN files that are gone.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::session::UserType;
use cryptoki::types::AuthPin;
use serde_json::json;
use swtpm_fixtures::SoftHsm;
use tests::{Sealhost, Setup};

use crate::{mac, reason};

/// A token whose PIN file holds another PIN than the token's.
fn wrong_pin() -> (SoftHsm, String, Sealhost) {
    let hsm = SoftHsm::start("edge", "1234").unwrap();
    let setup = Setup::soft().with_hsm(&hsm);
    let right = fs::read_to_string(hsm.pin_file()).unwrap();
    fs::write(hsm.pin_file(), "9999").unwrap();
    (hsm, right, setup.start())
}

#[test]
fn refused_pin_is_not_tried_again_until_an_operator_says_so() {
    let (hsm, right, mut host) = wrong_pin();
    assert_eq!(host.provider("hsm")["state"], "down");
    assert!(reason(&host, "hsm").contains("PIN"), "{}", reason(&host, "hsm"));
    // With the right PIN in place any further attempt would succeed, and none does.
    fs::write(hsm.pin_file(), &right).unwrap();
    let attempts = |host: &Sealhost| {
        let log = host.log();
        let refused = log.lines().filter(|line| line.contains("CKR_PIN_INCORRECT"));
        refused.filter(|line| !line.contains("was refused before")).count()
    };
    let logged = |host: &Sealhost| host.log().matches("its PIN was refused before").count();
    let before = attempts(&host);
    host.wait_until("several tries have passed", |host| logged(host) > 3);
    assert_eq!(host.provider("hsm")["state"], "down");
    for _ in 0..3 {
        host.restart();
        assert_eq!(host.provider("hsm")["state"], "down");
        assert!(reason(&host, "hsm").contains("sealctl provider retry"));
    }
    assert_eq!((before, attempts(&host)), (1, 1));
    let retried = host.post("/v1/providers/hsm/retry", json!({})).ok();
    assert_eq!(retried["state"], "open");
    host.create("a", "mac", "hsm");
    mac(&host, "a").done();
    host.restart();
    mac(&host, "a").done();
}

#[test]
fn retry_with_the_wrong_pin_is_one_more_attempt_and_no_other() {
    let (hsm, right, host) = wrong_pin();
    let retried = host.post("/v1/providers/hsm/retry", json!({})).ok();
    assert_eq!(retried["state"], "down");
    fs::write(hsm.pin_file(), &right).unwrap();
    let logged = |host: &Sealhost| host.log().matches("its PIN was refused before").count();
    let before = logged(&host);
    host.wait_until("several tries have passed", |host| logged(host) > before + 3);
    assert_eq!(host.provider("hsm")["state"], "down");
    assert_eq!(host.post("/v1/providers/hsm/retry", json!({})).ok()["state"], "open");
}

/// Where the process that changes a PIN finds the token store.
const STORE: &str = "SEALHOST_TEST_STORE";

#[test]
fn pin_that_was_changed_on_the_token_is_tried_once() {
    if let Some(store) = std::env::var_os(STORE) {
        return change_pin(&SoftHsm::attach(Path::new(&store)).unwrap());
    }
    let hsm = SoftHsm::start("edge", "1234").unwrap();
    let mut host = Setup::soft().with_hsm(&hsm).start();
    host.create("a", "mac", "hsm");
    let before = mac(&host, "a").text("mac");
    // The module takes its configuration from the environment, so another process changes it.
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "pins::pin_that_was_changed_on_the_token_is_tried_once", "--nocapture"])
        .env(STORE, hsm.directory())
        .env("SOFTHSM2_CONF", hsm.conf_path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    // The login stands until the token is pulled.
    assert_eq!(mac(&host, "a").text("mac"), before);
    hsm.remove_token().unwrap();
    mac(&host, "a").problem(503, "unavailable");
    hsm.restore_token().unwrap();
    let refused = |host: &Sealhost| reason(host, "hsm").contains("was refused before");
    host.wait_until("the old PIN is refused", refused);
    // With the right PIN in place any further attempt would succeed, and none does.
    fs::write(hsm.pin_file(), "567890").unwrap();
    let tries = |host: &Sealhost| host.log().matches("was refused before").count();
    let so_far = tries(&host);
    host.wait_until("several tries have passed", |host| tries(host) > so_far + 2);
    host.restart();
    assert!(refused(&host), "{}", reason(&host, "hsm"));
    mac(&host, "a").problem(503, "unavailable");
    assert_eq!(host.post("/v1/providers/hsm/retry", json!({})).ok()["state"], "open");
    assert_eq!(mac(&host, "a").text("mac"), before);
}

fn change_pin(hsm: &SoftHsm) {
    let pkcs11 = Pkcs11::new(hsm.module_path()).unwrap();
    pkcs11.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)).unwrap();
    let slot = pkcs11.get_slots_with_initialized_token().unwrap()[0];
    let session = pkcs11.open_rw_session(slot).unwrap();
    let (old, new) = (AuthPin::new("1234".into()), AuthPin::new("567890".into()));
    session.login(UserType::User, Some(&old)).unwrap();
    session.set_pin(&old, &new).unwrap();
}

#[test]
fn pin_file_that_is_gone_is_no_refused_pin() {
    let hsm = SoftHsm::start("edge", "1234").unwrap();
    let mut host = Setup::soft().with_hsm(&hsm).start();
    let kept = fs::read(hsm.pin_file()).unwrap();
    fs::remove_file(hsm.pin_file()).unwrap();
    host.restart();
    assert!(reason(&host, "hsm").contains("pin"), "{}", reason(&host, "hsm"));
    fs::write(hsm.pin_file(), kept).unwrap();
    fs::set_permissions(hsm.pin_file(), fs::Permissions::from_mode(0o600)).unwrap();
    host.wait_until("the provider opens", |host| host.provider("hsm")["state"] == "open");
}
