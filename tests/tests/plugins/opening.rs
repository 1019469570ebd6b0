//! Providers that do not open, or describe themselves wrongly.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tests::Sealhost;

use crate::bench::{
    Faulty, check_not_open, faulty, faulty_works, mac, soft_works, wait_until_open, within,
};

/// A provider that does not open, in a worker and in the host's process.
#[track_caller]
fn check(provider: &Faulty, state: &str, parts: &[&str]) {
    check_isolated(provider, state, parts);
    check_isolated(&provider.clone().in_process(), state, parts);
}

/// A provider that does not open, in a worker: nothing else would contain it.
#[track_caller]
fn check_isolated(provider: &Faulty, state: &str, parts: &[&str]) {
    let host = provider.start();
    check_not_open(&host, state, parts);
}

/// A provider whose `open` fails with a status.
#[track_caller]
fn check_status(status: u32, state: &str, parts: &[&str]) {
    check(&faulty("open_fails").settings(&format!("status = {status}")), state, parts);
}

#[test]
fn invalid_parameter_points_at_the_settings() {
    check_status(
        1,
        "down",
        &["InvalidParameter: the device says no", "correct [provider.settings]"],
    );
}

#[test]
fn unsupported_points_at_the_settings() {
    check_status(2, "down", &["Unsupported: the device says no", "correct [provider.settings]"]);
}

#[test]
fn too_large_points_at_the_settings() {
    check_status(3, "down", &["TooLarge: the device says no", "correct [provider.settings]"]);
}

#[test]
fn key_not_found_blames_the_plugin() {
    check_status(4, "down", &["KeyNotFound: the device says no", "the plugin's author"]);
}

#[test]
fn key_exists_blames_the_plugin() {
    check_status(5, "down", &["KeyExists: the device says no", "the plugin's author"]);
}

#[test]
fn state_mismatch_says_that_it_is_tried_again() {
    check_status(6, "down", &["StateMismatch: the device says no", "tried again"]);
}

#[test]
fn integrity_says_what_not_to_rely_on() {
    check_status(7, "down", &["Integrity: the device says no", "do not rely on"]);
}

#[test]
fn busy_says_that_it_is_tried_again() {
    check_status(8, "down", &["Busy: the device says no", "tried again"]);
}

/// A root in a file: the operator's, as a PIN is, so that a second try could lock a token.
fn operators_root(dir: &Path) -> String {
    let root = dir.join("root");
    fs::write(&root, [7; 32]).unwrap();
    fs::set_permissions(&root, fs::Permissions::from_mode(0o600)).unwrap();
    format!("file:{}", root.display())
}

/// A provider that refuses its secret: it is not shown it again.
#[track_caller]
fn check_refused_for_good(provider: &Faulty) {
    let dir = tempfile::tempdir().unwrap();
    let host = provider.clone().root(&operators_root(dir.path())).start();
    host.wait_until("the second look", |host| {
        host.provider("c")["reason"].as_str().unwrap().contains("its PIN was refused before")
    });
    check_not_open(
        &host,
        "down",
        &["its PIN was refused before", "DeviceAuth", "run: sealctl provider retry c"],
    );
}

#[test]
fn device_auth_is_not_tried_again_until_an_operator_says_so() {
    check_refused_for_good(&faulty("open_fails").settings("status = 9"));
}

#[test]
fn device_auth_of_a_plugin_that_breaks_the_rules_for_names_is_not_tried_again_either() {
    check_refused_for_good(&faulty("subject_too_long"));
}

#[test]
fn open_device_that_refuses_its_pin_is_tried_again_when_an_operator_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let told = dir.path().join("refuse");
    let provider = faulty("refuses_while")
        .root(&operators_root(dir.path()))
        .settings(&format!("while = \"{}\"", told.display()));
    for provider in [provider.clone(), provider.in_process()] {
        let host = provider.start_open();
        fs::write(&told, "").unwrap();
        mac(&host, b"x").problem(503, "unavailable");
        let refused = |host: &Sealhost| {
            let status = host.provider("c");
            status["reason"].as_str().is_some_and(|it| it.contains("was refused before"))
        };
        host.wait_until("the refusal is remembered", refused);
        fs::remove_file(&told).unwrap();
        assert_eq!(host.post("/v1/providers/c/retry", json!({})).ok()["state"], "open");
        faulty_works(&host);
    }
}

#[test]
fn start_waits_for_the_internal_key_no_longer_than_for_the_rest_of_an_opening() {
    let provider = faulty("hangs_in_seal_key").deadline("open = \"300ms\"");
    for provider in [provider.clone(), provider.in_process()] {
        let mut host = within(Duration::from_secs(10), || provider.start());
        let parts = ["did not answer within 300 ms", "raise [provider.deadlines]"];
        check_not_open(&host, "down", &parts);
        assert!(within(Duration::from_secs(15), || host.stop()).success());
    }
}

#[test]
fn locked_out_says_that_it_is_tried_again() {
    check_status(10, "down", &["LockedOut: the device says no", "tried again"]);
}

#[test]
fn device_gone_before_it_was_ever_there_is_absent() {
    check_status(11, "absent", &["DeviceGone: the device says no", "connect the device"]);
}

#[test]
fn exhausted_says_that_it_is_tried_again() {
    check_status(12, "down", &["Exhausted: the device says no", "tried again"]);
}

#[test]
fn internal_blames_the_plugin() {
    check_status(13, "down", &["Internal: the device says no", "the plugin's author"]);
}

#[test]
fn panicked_blames_the_plugin() {
    check_status(14, "down", &["Panicked: the device says no", "the plugin's author"]);
}

#[test]
fn wrong_device_says_which_to_connect() {
    check_status(15, "down", &["WrongDevice: the device says no", "connect the recorded device"]);
}

#[test]
fn unknown_status_blames_the_plugin() {
    check_status(16, "down", &["unknown status 16: the device says no", "the plugin's author"]);
}

#[test]
fn status_below_zero_blames_the_plugin() {
    // The source reads digits only; this text makes it -3.
    let provider = faulty("open_fails").settings("status = \"-\"");
    check(&provider, "down", &["unknown status -3", "the plugin's author"]);
}

#[test]
fn device_gone_after_it_was_there_is_down() {
    let mut host = faulty("open_fails").start_open();
    assert!(host.stop().success());
    host.reconfigure(|_| faulty("open_fails").settings("status = 11").setup());
    host.start();
    check_not_open(&host, "down", &["DeviceGone: the device says no", "connect the device"]);
    assert!(host.stop().success());
    host.reconfigure(|_| faulty("open_fails").setup());
    host.start();
    faulty_works(&host);
}

#[test]
fn opening_without_an_instance_is_refused() {
    let parts = ["broke the contract: open gave no instance", "the plugin's author"];
    check(&faulty("open_gives_no_instance"), "down", &parts);
}

#[test]
fn identity_past_the_limit_is_refused() {
    check(&faulty("identity_too_long"), "down", &["identity of impossible length"]);
}

#[test]
fn empty_identity_is_refused() {
    check(&faulty("identity_empty"), "down", &["identity of impossible length"]);
}

#[test]
fn another_identity_at_the_next_opening_is_the_wrong_device() {
    for provider in [faulty("changes_identity"), faulty("changes_identity").in_process()] {
        let mut host = provider.start_open();
        host.restart();
        check_not_open(&host, "down", &["WrongDevice", "connect the recorded device"]);
    }
}

#[test]
fn text_without_a_closing_zero_is_refused() {
    check(&faulty("info_not_closed"), "down", &["notes is not closed UTF-8 text"]);
}

#[test]
fn text_that_is_not_utf_8_is_refused() {
    check(&faulty("info_not_text"), "down", &["firmware is not closed UTF-8 text"]);
}

#[test]
fn unknown_protection_is_refused() {
    check(&faulty("info_unknown_protection"), "down", &["unknown protection number"]);
}

#[test]
fn kind_that_is_no_word_is_refused() {
    check(&faulty("info_kind_not_a_word"), "down", &["kind is not one lower-case word"]);
}

#[test]
fn extreme_description_is_taken_within_bounds() {
    for provider in [faulty("info_extreme"), faulty("info_extreme").in_process()] {
        let host = provider.start_open();
        faulty_works(&host);
        let status = host.provider("c");
        assert_eq!(status["manufacturer"], "m".repeat(64));
        assert_eq!(status["capabilities"].as_array().map(Vec::len), Some(3), "{status}");
        let shown = status["notes"][0].as_str().unwrap();
        assert!(!shown.contains('\n'), "{shown:?}");
    }
}

#[test]
fn wrong_answers_are_found_by_the_self_test() {
    let parts = ["Integrity: HMAC-SHA256 is wrong", "do not rely on"];
    check(&faulty("wrong_answers"), "down", &parts);
}

#[test]
fn crash_in_open_costs_its_worker() {
    let parts = ["while opening it ended with signal: 11", "the plugin's author"];
    check_isolated(&faulty("crashes_in_open"), "down", &parts);
}

#[test]
fn crash_in_info_costs_its_worker() {
    let parts = ["while opening it ended with signal: 11", "the plugin's author"];
    check_isolated(&faulty("crashes_in_info"), "down", &parts);
}

#[test]
fn hang_in_open_ends_at_its_deadline() {
    let provider = faulty("hangs_in_open").deadline("open = \"100ms\"");
    within(Duration::from_secs(10), || {
        check(&provider, "down", &["did not answer within 100 ms", "raise [provider.deadlines]"]);
    });
}

#[test]
fn hang_in_info_ends_at_its_deadline() {
    let provider = faulty("hangs_in_info").deadline("open = \"100ms\"");
    within(Duration::from_secs(10), || {
        check(&provider, "down", &["did not answer within 100 ms", "raise [provider.deadlines]"]);
    });
}

#[test]
fn hang_in_self_test_ends_at_the_deadline_of_opening() {
    let provider = faulty("hangs_in_self_test").deadline("open = \"100ms\"");
    within(Duration::from_secs(10), || {
        check_isolated(&provider, "down", &["did not answer within 100 ms"]);
    });
}

#[test]
fn hung_opening_leaves_no_worker_behind() {
    let host = faulty("hangs_in_open").deadline("open = \"50ms\"").start();
    host.wait_until("a second try", |host| {
        host.log().lines().filter(|line| line.contains("provider is not open")).count() >= 3
    });
    host.wait_until("the end of the workers", |host| host.workers().len() <= 1);
}

#[test]
fn provider_that_dies_after_each_opening_is_restarted_ever_more_slowly() {
    let host = faulty("dies_after_opening").start();
    let lost =
        |host: &Sealhost| host.log().lines().filter(|line| line.contains("worker lost")).count();
    host.wait_until("the fourth loss", |host| lost(host) >= 4);
    // 0.1, 0.2 and 0.4 s lie between the four; without growth, it were 0.3 s.
    let times: Vec<_> = host
        .log()
        .lines()
        .filter(|line| line.contains("worker lost"))
        .map(|line| line.split_whitespace().next().unwrap().parse::<jiff::Timestamp>().unwrap())
        .collect();
    assert!(times[3].duration_since(times[0]).as_millis() >= 600, "{times:?}");
    host.wait_until("being down", |host| host.provider("c")["state"] == "down");
    let status = host.provider("c");
    if let Value::String(reason) = &status["reason"] {
        assert!(reason.contains("signal: 6") && reason.contains("started again"), "{reason}");
    }
    soft_works(&host, "other");
}

#[test]
fn provider_that_was_mended_opens_without_a_restart() {
    let host = faulty("crashes_in_open").start();
    let file = host.plugin_dir().join("libcrashes_in_open.so");
    fs::remove_file(&file).unwrap();
    crate::build::compile("good", &file);
    wait_until_open(&host);
    host.create("s", "seal", "c");
    faulty_works(&host);
}
