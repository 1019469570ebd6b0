//! Plugins in the host's process: what still holds for them, though nothing contains them.

use std::fs;
use std::time::Duration;

use tests::Setup;

use crate::bench::{
    check_not_open, faulty, faulty_works, logged, mac, panics_in, soft_works, within,
};
use crate::build::install_c;

/// A provider that is given up in the host's process: its calls are refused, and the rest goes on.
#[track_caller]
fn check_given_up(host: &tests::Sealhost, reason: &str) {
    host.wait_until("giving it up", |host| host.provider("c")["state"] == "down");
    let status = host.provider("c");
    let told = status["reason"].as_str().unwrap();
    assert!(told.contains(reason) && told.contains("restart the host"), "{told}");
    let _refused = mac(host, b"message").problem(503, "unavailable");
    soft_works(host, "other");
}

#[test]
fn plugin_in_process_is_in_the_host_and_has_no_worker() {
    let host = faulty("good").in_process().start_open();
    assert_eq!(host.workers(), [0; 0]);
    let maps = fs::read_to_string(format!("/proc/{}/maps", host.pid())).unwrap();
    assert!(maps.contains(host.plugin_dir().join("libgood.so").to_str().unwrap()));
    faulty_works(&host);
}

#[test]
fn panic_in_process_is_internal_and_the_provider_is_given_up() {
    let mut host = panics_in("mac").in_process().start_open();
    let _internal = mac(&host, b"message").problem(500, "internal");
    check_given_up(&host, "panicked");
    host.restart();
    faulty_works(&host);
}

#[test]
fn hang_in_process_is_a_timeout_and_the_provider_is_given_up() {
    let provider = faulty("hangs_in_mac").in_process().deadline("mac = \"100ms\"");
    let mut host = provider.start_open();
    let reply = within(Duration::from_secs(5), || mac(&host, b"message"));
    let _timeout = reply.problem(504, "timeout");
    check_given_up(&host, "hung");
    within(Duration::from_secs(10), || host.restart());
    faulty_works(&host);
}

#[test]
fn hang_at_the_end_in_process_does_not_keep_the_host() {
    let mut host = faulty("hangs_in_close").in_process().start_open();
    let status = within(Duration::from_secs(15), || host.stop());
    assert!(status.success(), "{status}");
}

#[test]
fn hang_in_open_in_process_does_not_keep_a_host_that_cannot_start() {
    let setup = Setup::default().with_provider(
        "name = \"c\"\nplugin = \"hangs_in_open\"\nisolation = \"in-process\"\n\
         [provider.settings]\nroot_source = \"generated\"\n[provider.deadlines]\nopen = \"100ms\"\n",
    );
    let mut host = setup.prepare();
    install_c(&host, "hangs_in_open");
    let status = within(Duration::from_secs(10), || host.try_start().unwrap_err());
    assert_eq!(status.code(), Some(1));
    assert!(logged(&host, &["c: the device did not answer within 100 ms"]), "{}", host.log());
}

#[test]
fn panic_in_open_in_process_is_caught() {
    let host = panics_in("open").in_process().start();
    check_not_open(&host, "down", &["Panicked", "the plugin's author"]);
    assert!(logged(&host, &["this provider panics in open"]));
}

#[test]
fn panic_in_open_is_caught() {
    let host = panics_in("open").start();
    check_not_open(&host, "down", &["Panicked", "the plugin's author"]);
}

#[test]
fn panic_in_info_is_caught() {
    let host = panics_in("info").start();
    check_not_open(&host, "down", &["Panicked", "the plugin's author"]);
}

#[test]
fn panic_in_self_test_is_caught() {
    let host = panics_in("self_test").start();
    check_not_open(&host, "down", &["Panicked", "the plugin's author"]);
}

#[test]
fn panic_at_the_end_is_caught() {
    for provider in [panics_in("close"), panics_in("close").in_process()] {
        let mut host = provider.start_open();
        assert!(host.stop().success());
    }
}

#[test]
fn plugin_in_process_is_warned_of_at_start() {
    let host = faulty("good").in_process().start();
    assert!(logged(&host, &["WARN", "provider c runs in the host's process"]));
}
