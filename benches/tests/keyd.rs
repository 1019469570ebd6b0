//! The measurement of the aziot dialect, as short as it gets: every request succeeds.
#![expect(clippy::tests_outside_test_module, reason = "an integration test is a test module")]

use std::process::Command;

#[test]
fn every_request_of_the_aziot_dialect_is_measured_on_every_provider() {
    let bench = env!("CARGO_BIN_EXE_sealhost-bench");
    let short = ["--keyd", "--seconds", "0.1", "--rounds", "1", "--connections", "2"];
    let output = Command::new(bench).args(short).args(["--more-keys", "3"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let failed = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{failed}");
    let rows = |provider: &str| {
        let row = format!("| {provider} | ");
        said.lines().filter(|line| line.starts_with(&row) && line.contains(" | 2 | ")).count()
    };
    assert_eq!((rows("soft"), rows("hsm"), rows("tpm")), (7, 8, 2), "{said}");
    assert!(said.contains("sign 20, encrypt 0"), "{said}");
}
