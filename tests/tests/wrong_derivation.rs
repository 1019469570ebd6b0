//! A device that computes a wrong HMAC while its instance is being opened, of which everything
//! that authenticates the registry and the audit is derived: once, it is asked again and nothing
//! is lost; for good, nothing of it is believed.
#![expect(
    clippy::tests_outside_test_module,
    clippy::expect_used,
    reason = "integration tests, and what they share"
)]

use serde_json::json;
use tests::{Sealhost, Setup};

/// Time enough on a machine that others use too: nothing here shall end by a deadline.
const PATIENT: &str = "[provider.deadlines]\nopen = \"60s\"\nmac = \"30s\"\ngenerate = \"30s\"\n";

/// A host that was stopped, with a key on `faulty`, behind the fault plugin.
fn stopped() -> Sealhost {
    let mut host = Setup::default().with_soft_behind_faults("faulty", PATIENT).start();
    host.create("a", "mac", "faulty");
    assert!(host.stop().success());
    host
}

/// Starts it under a plan. What was there is right, and so is what is changed from then on.
#[track_caller]
fn check(plan: &str) {
    let mut host = stopped();
    host.plan("faulty", plan);
    host.start();
    assert!(host.log().contains("the device answered wrongly"), "{}", host.log());
    host.create("b", "mac", "faulty");
    host.plan("faulty", "");
    host.restart();
    for key in ["a", "b"] {
        host.post(&format!("/v1/keys/{key}/mac"), json!({"message": ""})).done();
    }
    assert!(!host.verified_audit().is_empty());
}

/// What a start under a plan says that is refused.
#[track_caller]
fn refusal(host: &mut Sealhost, plan: &str) -> String {
    host.plan("faulty", plan);
    let before = host.log().len();
    let status = host.try_start().expect_err("it started");
    assert_eq!(status.code(), Some(1));
    host.log()[before..].to_owned()
}

#[test]
fn wrong_record_key_is_noticed_and_asked_for_again() {
    check("mac:1 wrong");
    check("mac:4 wrong");
}

#[test]
fn wrong_checkpoint_key_is_noticed_and_asked_for_again() {
    check("mac:2 wrong");
    check("mac:5 wrong");
}

#[test]
fn wrong_handle_key_is_noticed_and_asked_for_again() {
    check("mac:3 wrong");
    check("mac:6 wrong");
}

#[test]
fn wrong_answer_at_the_first_opening_of_all_is_not_recorded() {
    let setup = Setup::default().with_soft_behind_faults("faulty", PATIENT);
    let mut host = setup.prepare();
    host.plan("faulty", "mac:1 wrong");
    host.start();
    assert!(host.log().contains("the device answered wrongly"), "{}", host.log());
    host.create("a", "mac", "faulty");
    host.plan("faulty", "");
    host.restart();
    host.post("/v1/keys/a/mac", json!({"message": ""})).done();
}

#[test]
fn device_that_answers_wrongly_for_good_is_refused_and_named() {
    let mut host = stopped();
    let said = refusal(&mut host, "mac wrong");
    assert!(said.contains("does not verify at provider faulty"), "{said}");
    assert!(said.contains("look after the device"), "{said}");
    // Nothing was written meanwhile.
    host.plan("faulty", "");
    host.start();
    host.post("/v1/keys/a/mac", json!({"message": ""})).done();
}

#[test]
fn device_that_contradicts_itself_is_not_believed_and_the_registry_not_blamed() {
    let mut host = stopped();
    let said = refusal(&mut host, "mac:1 wrong; mac:7 wrong");
    assert!(said.contains("computes the same HMAC differently each time"), "{said}");
    assert!(said.contains("none of the providers that authenticated it is open (faulty)"));
    assert!(!said.contains("was altered"), "{said}");
}

#[test]
fn contradicting_device_is_tried_again_while_others_serve() {
    let mut host = Setup::soft().with_soft_behind_faults("faulty", PATIENT).start();
    host.create("a", "mac", "faulty");
    assert!(host.stop().success());
    host.plan("faulty", "mac:1 wrong; mac:7 wrong");
    host.start();
    host.create("b", "mac", "soft");
    host.wait_until("opening it again", |host| host.provider("faulty")["state"] == "open");
    host.post("/v1/keys/a/mac", json!({"message": ""})).done();
    assert!(host.log().contains("computes the same HMAC differently"), "{}", host.log());
}

#[test]
fn wrong_answer_to_a_worker_that_is_started_anew_loses_nothing() {
    let mut host = stopped();
    host.start();
    host.plan("faulty", "mac:1 wrong");
    tests::sealhost::signal(host.workers()[0], "KILL");
    let mac = |host: &Sealhost| host.post("/v1/keys/a/mac", json!({"message": ""})).status;
    host.wait_until("answering again", |host| {
        host.journal("faulty").iter().filter(|line| *line == "mac").count() >= 6 && mac(host) == 200
    });
    host.create("b", "mac", "faulty");
    host.plan("faulty", "");
    host.restart();
    host.post("/v1/keys/b/mac", json!({"message": ""})).done();
}
