//! systemd boots over this machine's `/usr`, and its units see what they are given.
#![expect(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    reason = "an integration test is a test module, its helpers too"
)]

use std::fs;
use std::time::{Duration, Instant};

use swtpm_fixtures::Systemd;

const LIMIT: Duration = Duration::from_secs(60);

fn oneshot(command: &str) -> String {
    format!("[Service]\nType=oneshot\nExecStart=/bin/sh -c '{command}'\n")
}

#[test]
fn unit_runs_under_a_real_systemd() {
    let mut systemd = Systemd::new().unwrap();
    let shared = systemd.shared();
    let command = format!("cat /proc/1/comm > {}/one", shared.display());
    systemd.unit("it.service", &oneshot(&command)).unwrap();
    let ended = systemd.run("it.service", LIMIT).unwrap();
    assert!(ended.success, "{}", ended.console);
    assert_eq!(fs::read_to_string(shared.join("one")).unwrap(), "systemd\n");
}

#[test]
fn unit_that_fails_is_told() {
    let mut systemd = Systemd::new().unwrap();
    systemd.unit("it.service", &oneshot("exit 3")).unwrap();
    assert!(!systemd.run("it.service", LIMIT).unwrap().success);
}

/// Whether a process has this word among its arguments.
fn runs(word: &str) -> bool {
    fs::read_dir("/proc").unwrap().any(|entry| {
        let arguments = fs::read(entry.unwrap().path().join("cmdline")).unwrap_or_default();
        arguments.split(|byte| *byte == 0).any(|found| found == word.as_bytes())
    })
}

#[test]
fn container_that_takes_too_long_is_killed_with_all_in_it() {
    let seconds = format!("{}.25", 80_000 + std::process::id());
    let mut systemd = Systemd::new().unwrap();
    let started = systemd.shared().join("started");
    let command = format!("touch {} && exec sleep {seconds}", started.display());
    systemd.unit("it.service", &oneshot(&command)).unwrap();
    let error = systemd.run("it.service", Duration::from_secs(5)).unwrap_err();
    assert!(started.exists(), "{error}");
    let until = Instant::now() + LIMIT;
    while runs(&seconds) {
        assert!(Instant::now() < until, "a process of the container is left");
        std::thread::yield_now();
    }
}
