//! How far the daemons confine themselves; their workers are in `plugins/sandbox.rs`.
#![expect(clippy::unwrap_used, reason = "the helpers of a test fail it as it does itself")]
#![expect(clippy::tests_outside_test_module, reason = "an integration test is a test module")]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use tests::sealhost::built;
use tests::{Sealhost, SecretManager, SecretSetup, Setup};

/// Whether the kernel has filters in force for every thread of a process, and gives it no
/// privileges.
fn is_filtered(pid: u32) -> bool {
    let mut tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    tasks.all(|task| {
        let status = fs::read_to_string(task.unwrap().path().join("status")).unwrap();
        ["Seccomp:\t2", "NoNewPrivs:\t1"].iter().all(|line| status.lines().any(|it| it == *line))
    })
}

fn host() -> Sealhost {
    let host = Setup::soft().with_soft_worker("worker").start();
    host.create("vault", "seal", "soft");
    host
}

#[test]
fn host_and_worker_are_filtered_in_every_thread() {
    let host = host();
    assert!(is_filtered(host.pid()));
    assert!(host.workers().into_iter().all(is_filtered));
    let confined = host.get("/v1/status").ok()["sandbox"].clone();
    assert_eq!((&confined["filesystem"], &confined["syscalls"]), (&"none".into(), &"full".into()));
    let mut off = host;
    off.reconfigure(|setup| setup.with("[sandbox]\nlevel = \"off\""));
    off.restart();
    assert!(!is_filtered(off.pid()));
    assert!(off.workers().into_iter().all(is_filtered), "workers have filters of their own");
}

#[test]
fn host_that_is_required_to_be_confined_starts_here() {
    let host = Setup::soft().with("[sandbox]\nlevel = \"required\"").start();
    assert!(host.log().contains("the daemon is confined"), "{}", host.log());
}

/// Has a secret manager read its rules again from a file that it is not left, and tells whether
/// it could.
fn reads_a_file_elsewhere(manager: &SecretManager) -> bool {
    let elsewhere = tempfile::tempdir().unwrap();
    let moved = elsewhere.path().join("config.toml");
    fs::rename(manager.config_path(), &moved).unwrap();
    symlink(&moved, manager.config_path()).unwrap();
    manager.signal("HUP");
    manager
        .wait_until("the end of the reload", |manager| manager.log().contains("access rules are"));
    manager.log().contains("access rules are read again")
}

#[test]
fn secret_manager_reads_no_files_but_its_own() {
    let host = host();
    let manager = SecretSetup::file().start(&host);
    assert!(is_filtered(manager.pid()));
    let level = "the daemon is confined reached=filesystem full, network full, syscalls full";
    assert!(manager.log().contains(level), "{}", manager.log());
    assert!(!reads_a_file_elsewhere(&manager));
    let manager = SecretSetup::file().with("[sandbox]\nlevel = \"off\"").start(&host);
    assert!(!is_filtered(manager.pid()));
    assert!(reads_a_file_elsewhere(&manager));
}

#[test]
fn secret_manager_takes_over_rules_that_an_editor_replaced() {
    let manager = SecretSetup::file().start(&host());
    let text = fs::read(manager.config_path()).unwrap();
    let new = manager.config_path().with_extension("new");
    fs::write(&new, text).unwrap();
    fs::rename(&new, manager.config_path()).unwrap();
    manager.signal("HUP");
    manager.wait_until("the new rules", |manager| {
        manager.log().contains("access rules are read again")
    });
}

#[test]
fn level_that_is_none_is_a_fault() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("config.toml");
    fs::write(&config, "[sandbox]\nlevel = \"most\"\n").unwrap();
    let check = |daemon: &str, config: &Path| {
        let output = std::process::Command::new(built(daemon))
            .arg("--config")
            .arg(config)
            .arg("--check")
            .output()
            .unwrap();
        String::from_utf8(output.stderr).unwrap()
    };
    for daemon in ["sealhost", "secret-manager", "sas-signer"] {
        let said = check(daemon, &config);
        assert!(said.contains("[sandbox] level: "), "{said}");
        assert!(said.contains("\"required\""), "{said}");
    }
}
