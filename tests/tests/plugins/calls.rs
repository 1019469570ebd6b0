//! Calls that come back with something wrong: a status, an output, a detail.

use serde_json::json;
use tests::{Sealhost, b64};

use crate::bench::{faulty, faulty_works, logged, mac, soft_works, wait_until_open};

/// A MAC that fails with a status: what the caller gets, and that nothing else suffers.
#[track_caller]
fn check_status(status: u8, http: u16, code: &str) {
    let host = faulty("mac_fails").start_open();
    let problem = mac(&host, &[status]).problem(http, code);
    assert_eq!((&problem["key"], &problem["provider"]), (&json!("m"), &json!("c")));
    assert!(!problem.to_string().contains("the device says no"), "device text reaches the client");
    assert!(logged(&host, &["provider call failed", "provider=c", "the device says no"]));
    soft_works(&host, "other");
    wait_until_open(&host);
    faulty_works(&host);
}

#[test]
fn invalid_parameter_is_invalid() {
    check_status(1, 400, "invalid");
}

#[test]
fn unsupported_is_unsupported() {
    check_status(2, 400, "unsupported");
}

#[test]
fn too_large_is_too_large() {
    check_status(3, 413, "too_large");
}

#[test]
fn key_not_found_is_not_found() {
    check_status(4, 404, "not_found");
}

#[test]
fn key_exists_is_conflict() {
    check_status(5, 409, "conflict");
}

#[test]
fn state_mismatch_is_state_mismatch() {
    check_status(6, 409, "state_mismatch");
}

#[test]
fn integrity_is_integrity() {
    check_status(7, 400, "integrity");
}

#[test]
fn busy_is_busy() {
    check_status(8, 429, "busy");
}

#[test]
fn device_auth_is_unavailable() {
    check_status(9, 503, "unavailable");
}

#[test]
fn locked_out_is_locked_out() {
    check_status(10, 503, "locked_out");
}

#[test]
fn device_gone_is_unavailable() {
    check_status(11, 503, "unavailable");
}

#[test]
fn exhausted_is_unavailable() {
    check_status(12, 503, "unavailable");
}

#[test]
fn internal_is_internal() {
    check_status(13, 500, "internal");
}

#[test]
fn panicked_is_internal() {
    check_status(14, 500, "internal");
}

#[test]
fn wrong_device_is_wrong_device() {
    check_status(15, 409, "wrong_device");
}

#[test]
fn unknown_status_is_internal() {
    check_status(16, 500, "internal");
}

#[test]
fn status_below_zero_is_internal() {
    check_status(255, 500, "internal");
}

#[test]
fn provider_that_reports_a_panic_is_started_anew() {
    let host = faulty("mac_fails").start_open();
    let before = host.workers();
    let _internal = mac(&host, &[14]).problem(500, "internal");
    host.wait_until("another worker", |host| {
        let now = host.workers();
        !now.is_empty() && now.iter().all(|worker| !before.contains(worker))
    });
    wait_until_open(&host);
    faulty_works(&host);
}

/// A key whose making goes wrong: it is not there afterwards, and nothing else suffers.
#[track_caller]
fn check_blob(source: &'static str) {
    for provider in [faulty(source), faulty(source).in_process()] {
        let host = provider.start();
        host.create("s", "seal", "c");
        let body = json!({"usage": "mac", "providers": ["c"]});
        let _internal = host.post("/v1/keys/m", body).problem(500, "internal");
        assert!(logged(&host, &["ERROR", "request failed", "blob of impossible length"]));
        let _absent = host.get("/v1/keys/m").problem(404, "not_found");
        soft_works(&host, "other");
        faulty_works(&host);
    }
}

#[test]
fn blob_past_the_limit_makes_no_key() {
    check_blob("blob_too_long");
}

#[test]
fn empty_blob_makes_no_key() {
    check_blob("blob_empty");
}

#[test]
fn unwritten_blob_makes_no_key() {
    check_blob("blob_unwritten");
}

fn check_no_bytes(host: &Sealhost) {
    let _internal = mac(host, b"message").problem(500, "internal");
    assert!(logged(host, &["request failed", "broke the contract: mac gave no bytes"]));
    soft_works(host, "other");
    faulty_works(host);
}

#[test]
fn unwritten_mac_is_internal() {
    check_no_bytes(&faulty("mac_unwritten").start_open());
}

#[test]
fn unwritten_mac_in_process_is_internal() {
    check_no_bytes(&faulty("mac_unwritten").in_process().start_open());
}

#[test]
fn half_of_a_mac_is_not_filled_up_with_another_calls() {
    for provider in [faulty("mac_half_written"), faulty("mac_half_written").in_process()] {
        let host = provider.start_open();
        faulty_works(&host);
        let zeros = b64([0; 16]);
        let half = mac(&host, b"message").text("mac");
        assert_eq!(bytes(&half)[16..], bytes(&zeros)[..]);
    }
}

fn bytes(text: &str) -> Vec<u8> {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.decode(text).unwrap()
}

#[test]
fn mac_that_came_with_a_failure_is_not_told() {
    let host = faulty("mac_writes_and_fails").start_open();
    let problem = mac(&host, b"message").problem(429, "busy");
    assert!(problem.get("mac").is_none());
}

#[test]
fn unwritten_random_bytes_are_internal() {
    let mut host = faulty("random_unwritten").prepare();
    host.reconfigure(|setup| setup.with_order(&["c", "soft"]));
    host.start();
    let _internal = host.post("/v1/random", json!({"bytes": 16})).problem(500, "internal");
    assert!(logged(&host, &["broke the contract: random gave no bytes"]));
    soft_works(&host, "other");
}

#[test]
fn detail_that_lies_about_its_length_reaches_the_log_as_text() {
    let host = faulty("detail_lies").start_open();
    let problem = mac(&host, b"message").problem(503, "unavailable");
    assert!(!problem.to_string().contains("forged"));
    let log = host.log();
    let line = log.lines().find(|line| line.contains("forged")).unwrap();
    assert!(line.contains("provider call failed"), "a line of its own: {line:?}");
    assert!(!line.contains("\u{1b}[2J"), "{line:?}");
    faulty_works(&host);
}

#[test]
fn failure_without_a_detail_is_its_status_alone() {
    let host = faulty("last_error_silent").start_open();
    let _unavailable = mac(&host, b"message").problem(503, "unavailable");
    assert!(logged(&host, &["provider call failed", "Exhausted"]));
    faulty_works(&host);
}

#[test]
fn device_gone_on_the_third_call_is_back_by_itself() {
    let host = faulty("fails_on_third_mac").start_open();
    let first = mac(&host, b"message").text("mac");
    assert_eq!(mac(&host, b"message").text("mac"), first);
    let _gone = mac(&host, b"message").problem(503, "unavailable");
    let status = host.provider("c");
    if status["state"] == "down" {
        let reason = status["reason"].as_str().unwrap();
        assert!(reason.contains("asked after"), "{reason}");
    }
    soft_works(&host, "other");
    host.wait_until("the device", |host| host.provider("c")["state"] == "open");
    assert!(logged(&host, &["device is back", "provider=c"]));
    assert_eq!(mac(&host, b"message").text("mac"), first);
}

#[test]
fn noise_on_standard_output_and_error_harms_nothing() {
    for provider in [faulty("prints_on_load"), faulty("prints_on_load").in_process()] {
        let host = provider.start_open();
        let first = mac(&host, b"message").text("mac");
        assert_eq!(mac(&host, b"message").text("mac"), first);
        assert!(logged(&host, &["noise on stderr"]));
        faulty_works(&host);
        soft_works(&host, "other");
    }
}

#[test]
fn nonsense_on_the_workers_socket_costs_the_worker() {
    let host = faulty("writes_to_the_socket").start_open();
    let _gone = mac(&host, b"message").problem(503, "unavailable");
    assert!(logged(&host, &["worker lost", "it sent a malformed packet"]));
    soft_works(&host, "other");
    wait_until_open(&host);
    faulty_works(&host);
}

#[test]
fn closed_socket_costs_the_worker() {
    // Other threads of the worker wait at the same socket, so it stays open, and silent.
    let host = faulty("closes_the_socket").deadline("mac = \"100ms\"").start_open();
    let _late = mac(&host, b"message").problem(504, "timeout");
    assert!(logged(&host, &["worker lost", "did not answer in time"]));
    soft_works(&host, "other");
    wait_until_open(&host);
    faulty_works(&host);
}
