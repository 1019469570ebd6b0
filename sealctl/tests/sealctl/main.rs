//! The built program, where no host is needed: its checks of files, its exit codes, its output.
#![expect(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    reason = "an integration test is one module, and its helpers are tests too"
)]

use std::process::{Command, Output, Stdio};

mod audit;
mod ending;

/// The program with these arguments, nothing to read, and no host.
fn sealctl(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sealctl"));
    command.args(["--socket", "/nonexistent/s"]).args(arguments).stdin(Stdio::null());
    command
}

/// Exit code, standard output, standard error.
fn ended(output: Output) -> (i32, String, String) {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}
