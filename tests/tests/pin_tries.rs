//! How often a PIN is shown to a token, counted at the module: a refused one once, and none where
//! the token says that a wrong one would lock it. SoftHSM says neither; the module in front does.
#![expect(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    reason = "integration tests, and what they share"
)]

use std::fs;

use serde_json::json;
use swtpm_fixtures::SoftHsm;
use tests::shim::{ALWAYS, ONCE};
use tests::{Response, Sealhost, Setup, Shim, b64};

const COUNT_LOW: u64 = 0x0001_0000;
const FINAL_TRY: u64 = 0x0002_0000;
const LOCKED: u64 = 0x0004_0000;

const PIN_INCORRECT: u64 = 0xA0;
const PIN_LOCKED: u64 = 0xA4;
const SESSION_HANDLE_INVALID: u64 = 0xB3;

fn hsm() -> (SoftHsm, Shim) {
    let hsm = SoftHsm::start("edge", "1234").unwrap();
    let shim = Shim::over(&hsm);
    shim.control(&[]);
    (hsm, shim)
}

/// A host with `soft` and the token as `hsm`.
fn setup(hsm: &SoftHsm, shim: &Shim) -> Setup {
    Setup::soft().with_provider(&shim.provider("hsm", hsm, ""))
}

fn mac(host: &Sealhost) -> Response {
    host.post("/v1/keys/m/mac", json!({"message": b64("x")}))
}

fn retry(host: &Sealhost) -> serde_json::Value {
    host.post("/v1/providers/hsm/retry", json!({})).ok()
}

fn reason(host: &Sealhost, provider: &str) -> String {
    host.provider(provider)["reason"].as_str().unwrap_or_default().to_owned()
}

/// Waits until the host has looked at a provider that does not open so many times more.
fn wait_for_tries(host: &Sealhost, provider: &str, more: usize) {
    let named = format!("provider={provider}");
    let tries = |host: &Sealhost| {
        let log = host.log();
        log.lines().filter(|it| it.contains("provider is not open") && it.contains(&named)).count()
    };
    let before = tries(host);
    host.wait_until("several tries", |host| tries(host) >= before + more);
}

#[test]
fn refused_pin_is_shown_once_through_retries_restarts_and_another_instance() {
    let (hsm, shim) = hsm();
    let right = fs::read(hsm.pin_file()).unwrap();
    fs::write(hsm.pin_file(), "9999").unwrap();
    let mut host = setup(&hsm, &shim).with_provider(&shim.provider("other", &hsm, "")).start();
    for _ in 0..3 {
        wait_for_tries(&host, "hsm", 2);
        wait_for_tries(&host, "other", 2);
        assert_eq!(shim.calls("C_Login"), 1);
        assert!(
            reason(&host, "hsm").contains("sealctl provider retry"),
            "{}",
            reason(&host, "hsm")
        );
        host.restart();
    }
    host.kill();
    host.start();
    assert_eq!(shim.calls("C_Login"), 1);
    fs::write(hsm.pin_file(), right).unwrap();
    assert_eq!(retry(&host)["state"], "open");
    host.wait_until("opening the other", |host| host.provider("other")["state"] == "open");
    assert_eq!(shim.calls("C_Login"), 3);
}

#[test]
fn pin_is_not_shown_while_one_try_is_left() {
    let (hsm, shim) = hsm();
    shim.control(&[("C_GetTokenInfo", ALWAYS, "flags", FINAL_TRY)]);
    let mut host = setup(&hsm, &shim).start();
    for _ in 0..2 {
        wait_for_tries(&host, "hsm", 2);
        let reason = reason(&host, "hsm");
        assert!(reason.contains("CKF_USER_PIN_FINAL_TRY"), "{reason}");
        assert!(reason.contains("log in by hand once"), "{reason}");
        host.restart();
    }
    // Nor when an operator asks for another try too early.
    assert_eq!(retry(&host)["state"], "down");
    assert_eq!(shim.calls("C_Login"), 0);
    shim.control(&[]);
    assert_eq!(retry(&host)["state"], "open");
    assert_eq!(shim.calls("C_Login"), 1);
}

#[test]
fn last_try_that_comes_while_it_runs_is_left_to_people() {
    let (hsm, shim) = hsm();
    let host = setup(&hsm, &shim).start();
    host.create("m", "mac", "hsm");
    let before = mac(&host).text("mac");
    // The session is lost, so that another login is needed.
    let lost = ("C_SignInit", ONCE, "rv", SESSION_HANDLE_INVALID);
    shim.control(&[lost, ("C_GetTokenInfo", ALWAYS, "flags", FINAL_TRY)]);
    mac(&host).problem(503, "unavailable");
    host.wait_until("giving up", |host| reason(host, "hsm").contains("FINAL_TRY"));
    wait_for_tries(&host, "hsm", 2);
    mac(&host).problem(503, "unavailable");
    assert_eq!(shim.calls("C_Login"), 0);
    shim.control(&[]);
    assert_eq!(retry(&host)["state"], "open");
    assert_eq!(mac(&host).text("mac"), before);
}

#[test]
fn token_that_is_locked_is_shown_no_pin_and_opens_by_itself_when_it_is_not() {
    let (hsm, shim) = hsm();
    shim.control(&[("C_GetTokenInfo", ALWAYS, "flags", LOCKED)]);
    let host = setup(&hsm, &shim).start();
    wait_for_tries(&host, "hsm", 2);
    let reason = reason(&host, "hsm");
    assert!(reason.contains("CKF_USER_PIN_LOCKED"), "{reason}");
    assert!(reason.contains("security officer must reset the PIN"), "{reason}");
    assert_eq!(shim.calls("C_Login"), 0);
    shim.control(&[]);
    host.wait_until("opening it", |host| host.provider("hsm")["state"] == "open");
    assert_eq!(shim.calls("C_Login"), 1);
}

#[test]
fn token_that_gets_locked_while_it_runs_is_locked_out() {
    let (hsm, shim) = hsm();
    let host = setup(&hsm, &shim).start();
    host.create("m", "mac", "hsm");
    let before = mac(&host).text("mac");
    let lost = ("C_SignInit", ONCE, "rv", SESSION_HANDLE_INVALID);
    shim.control(&[lost, ("C_GetTokenInfo", ALWAYS, "flags", LOCKED)]);
    let problem = mac(&host).problem(503, "locked_out");
    assert_eq!(problem["retryable"], true);
    mac(&host).problem(503, "locked_out");
    assert_eq!(shim.calls("C_Login"), 0);
    shim.control(&[]);
    host.wait_until("answering again", |host| mac(host).status == 200);
    assert_eq!(mac(&host).text("mac"), before);
}

#[test]
fn login_that_finds_the_pin_locked_is_not_repeated() {
    let (hsm, shim) = hsm();
    // This token sets no flag.
    shim.control(&[("C_Login", ALWAYS, "rv", PIN_LOCKED)]);
    let mut host = setup(&hsm, &shim).start();
    for _ in 0..2 {
        wait_for_tries(&host, "hsm", 2);
        let reason = reason(&host, "hsm");
        assert!(reason.contains("CKR_PIN_LOCKED"), "{reason}");
        assert!(reason.contains("security officer must reset"), "{reason}");
        assert!(reason.contains("sealctl provider retry"), "{reason}");
        assert_eq!(shim.calls("C_Login"), 1);
        host.restart();
    }
    shim.control(&[]);
    assert_eq!(retry(&host)["state"], "open");
}

#[test]
fn pin_that_is_locked_at_another_login_is_shown_once_and_can_be_tried_again() {
    let (hsm, shim) = hsm();
    let host = setup(&hsm, &shim).start();
    host.create("m", "mac", "hsm");
    let before = mac(&host).text("mac");
    let lost = ("C_SignInit", ONCE, "rv", SESSION_HANDLE_INVALID);
    shim.control(&[lost, ("C_Login", ALWAYS, "rv", PIN_LOCKED)]);
    mac(&host).problem(503, "locked_out");
    mac(&host).problem(503, "unavailable");
    host.wait_until("giving up", |host| reason(host, "hsm").contains("CKR_PIN_LOCKED"));
    wait_for_tries(&host, "hsm", 2);
    assert_eq!(shim.calls("C_Login"), 1);
    shim.control(&[]);
    assert_eq!(retry(&host)["state"], "open");
    assert_eq!(mac(&host).text("mac"), before);
}

#[test]
fn pin_that_is_refused_at_another_login_is_shown_once_by_many_callers() {
    let (hsm, shim) = hsm();
    let host = setup(&hsm, &shim).start();
    host.create("m", "mac", "hsm");
    let before = mac(&host).text("mac");
    // Somebody has changed it, and then the sessions are lost.
    let lost = ("C_SignInit", (1, 4), "rv", SESSION_HANDLE_INVALID);
    shim.control(&[lost, ("C_Login", ALWAYS, "rv", PIN_INCORRECT)]);
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| mac(&host).problem(503, "unavailable"));
        }
    });
    wait_for_tries(&host, "hsm", 2);
    assert_eq!(shim.calls("C_Login"), 1);
    shim.control(&[]);
    assert_eq!(retry(&host)["state"], "open");
    assert_eq!(mac(&host).text("mac"), before);
}

#[test]
fn wrong_pins_of_others_are_shown_before_they_lock_the_token() {
    let (hsm, shim) = hsm();
    shim.control(&[("C_GetTokenInfo", ALWAYS, "flags", COUNT_LOW)]);
    let host = setup(&hsm, &shim).start();
    assert_eq!(host.provider("hsm")["state"], "open");
    let shown = host.provider("hsm").to_string();
    assert!(shown.contains("CKF_USER_PIN_COUNT_LOW"), "{shown}");
    assert_eq!(shim.calls("C_Login"), 1);
}

#[test]
fn wrong_pins_of_others_are_shown_while_it_runs() {
    let (hsm, shim) = hsm();
    let section = shim.provider("hsm", &hsm, "");
    let section = section.replacen("plugin = ", "condition_every = \"100ms\"\nplugin = ", 1);
    let host = Setup::soft().with_provider(&section).start();
    let lockout = |host: &Sealhost| host.provider("hsm")["lockout"].clone();
    assert_eq!(lockout(&host)["last_try"], false);
    shim.control(&[("C_GetTokenInfo", ALWAYS, "flags", FINAL_TRY)]);
    host.wait_until("showing the last try", |host| lockout(host)["last_try"] == true);
    shim.control(&[("C_GetTokenInfo", ALWAYS, "flags", LOCKED)]);
    host.wait_until("showing the lockout", |host| lockout(host)["locked"] == true);
    // The login of before stands, and no other is tried.
    assert_eq!(host.provider("hsm")["state"], "open");
    host.create("m", "mac", "hsm");
    mac(&host).done();
    assert_eq!(shim.calls("C_Login"), 0);
}

#[test]
fn refusal_says_how_many_tries_are_left_where_the_token_tells() {
    let (hsm, shim) = hsm();
    fs::write(hsm.pin_file(), "9999").unwrap();
    // The flag is there from the refusal on: before it, auth_subject and open read it once each.
    shim.control(&[("C_GetTokenInfo", (3, u32::MAX), "flags", FINAL_TRY)]);
    let host = setup(&hsm, &shim).start();
    let reason = reason(&host, "hsm");
    assert!(reason.contains("CKR_PIN_INCORRECT"), "{reason}");
    assert!(reason.contains("one try is left"), "{reason}");
    assert_eq!(shim.calls("C_Login"), 1);
}
