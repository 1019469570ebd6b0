//! Start and stop.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;

use serde_json::json;

use crate::harness::{K1, K2, Signer};

#[test]
fn signer_starts_without_a_host_and_serves_when_it_comes() {
    let mut signer = Signer::start_soft();
    signer.import("dev", K1, "primary");
    assert!(signer.stop().success());
    assert!(signer.host.stop().success());
    signer.start();
    signer.token("dev", json!({})).problem(503, "unavailable");
    signer.get("/v1/status").done();
    signer.host.start();
    signer.token("dev", json!({})).done();
}

#[test]
fn second_signer_on_one_state_directory_is_refused() {
    let mut signer = Signer::start_soft();
    assert!(!signer.try_start().unwrap_err().success());
    assert!(signer.log().contains("is in use by another daemon"), "{}", signer.log());
    signer.get("/v1/status").done();
}

#[test]
fn stop_removes_the_socket_and_ends_the_audit() {
    let mut signer = Signer::start_soft();
    assert!(signer.stop().success());
    assert!(UnixStream::connect(signer.socket()).is_err());
    let kinds: Vec<_> = signer.verified_audit().iter().map(|line| line["kind"].clone()).collect();
    assert_eq!(kinds, [json!("start"), json!("stop")]);
}

#[test]
fn configuration_with_faults_is_refused_with_all_of_them() {
    let mut signer = Signer::start_soft();
    assert!(signer.stop().success());
    signer.reconfigure("[[rule]]\nprincipal = {}\n", "[tokens]\nrenew_at_percent = 0\n");
    assert_eq!(signer.try_start().unwrap_err().code(), Some(1));
    for fault in ["[tokens] renew_at_percent: 0 is out of range", "[[rule]] #1 principal: names 0"]
    {
        assert!(signer.log().contains(fault), "{}", signer.log());
    }
}

#[test]
fn state_directory_is_the_signers_alone() {
    let signer = Signer::start_soft();
    let mode = fs::metadata(signer.path("state")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}

#[test]
fn kill_in_the_middle_of_changes_leaves_each_done_or_not() {
    let mut signer = Signer::start_soft();
    signer.import("dev", K1, "primary");
    signer.import("dev", K2, "secondary");
    for round in 0..8 {
        let before = signer.get("/v1/keys/dev").ok()["active"].clone();
        std::thread::scope(|scope| {
            let socket = signer.socket();
            let rotating = scope.spawn(move || {
                let target = "/v1/keys/dev/rotate";
                tests::http::try_request(&socket, "POST", target, b"{}").map(|it| it.status)
            });
            // At another moment of the change in each round.
            std::thread::sleep(std::time::Duration::from_micros(300 * round));
            signer.kill();
            let answered = rotating.join().unwrap();
            signer.start();
            let after = signer.get("/v1/keys/dev").ok()["active"].clone();
            if answered.is_ok_and(|status| status == 200) {
                assert_ne!(after, before);
            }
        });
        let slot = signer.get("/v1/keys/dev").ok()["active"].clone();
        assert_eq!(signer.token("dev", json!({})).ok()["slot"], slot);
        let _intact = signer.verified_audit();
    }
}

#[test]
fn signer_is_confined_wholly() {
    let signer = Signer::start_soft();
    let level = "the daemon is confined reached=filesystem full, network full, syscalls full";
    assert!(signer.log().contains(level), "{}", signer.log());
    let status = fs::read_to_string(format!("/proc/{}/status", signer.pid())).unwrap();
    for line in ["Seccomp:\t2", "NoNewPrivs:\t1"] {
        assert!(status.lines().any(|it| it == line), "{status}");
    }
}
