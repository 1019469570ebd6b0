//! The long load, short: each fault once, and some thousands of requests.
#![expect(clippy::tests_outside_test_module, reason = "an integration test is a test module")]

use std::process::Command;

#[test]
fn load_goes_on_while_things_break_and_no_answer_is_wrong() {
    let bench = env!("CARGO_BIN_EXE_sealhost-bench");
    let output = Command::new(bench).args(["--soak", "--requests", "5000"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let failed = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{failed}");
    assert!(said.contains("no key and no envelope is lost"), "{said}");
}
