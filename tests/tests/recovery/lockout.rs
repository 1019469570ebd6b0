//! A TPM in dictionary-attack lockout.

use serde_json::{Value, json};
use swtpm_fixtures::{CommandCounter, Swtpm};
use tests::Setup;

use crate::mac;

#[test]
fn lockout_is_told_apart_from_absence_and_passes() {
    let swtpm = Swtpm::start().unwrap();
    let proxy = CommandCounter::in_front_of(&swtpm).unwrap();
    let host = Setup::default().with_tpm_at(&proxy.tcti()).start();
    host.create("a", "mac", "tpm");
    mac(&host, "a").done();
    proxy.answer_next(0x155, 0x921, 1);
    let reply = mac(&host, "a");
    let problem = reply.problem(503, "locked_out");
    assert_eq!((&problem["retryable"], &problem["provider"]), (&json!(true), &json!("tpm")));
    assert!(reply.header("retry-after").is_some());
    assert_ne!(problem["detail"], Value::Null);
    assert!(host.log().contains("over after at most"), "how long it lasts is in the log");
    assert_eq!(host.provider("tpm")["state"], "open");
    mac(&host, "a").done();
}
