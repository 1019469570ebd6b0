//! systemd boots over this machine's `/usr`, and its units see what they are given.
#![expect(clippy::tests_outside_test_module, reason = "an integration test is a test module")]

use std::fs;
use std::time::Duration;

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
