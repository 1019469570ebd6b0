//! Exit codes and what is said at the end.

use std::fs::{self, File};
use std::io::Write as _;
use std::process::{Command, Stdio};

use crate::{ended, sealctl};

fn check(arguments: &[&str], code: i32, error_begins: &str) {
    let (found, out, error) = ended(sealctl(arguments).output().unwrap());
    assert_eq!((found, out.as_str()), (code, ""), "{error}");
    assert!(error.starts_with(error_begins), "{error}");
}

/// A file that is a terminal, though nobody sits at it.
fn terminal() -> File {
    File::options().read(true).write(true).open("/dev/ptmx").unwrap()
}

#[test]
fn host_that_is_not_there_is_three_with_what_is_wrong_and_what_to_do() {
    check(
        &["status"],
        3,
        "sealctl: cannot reach the daemon at /nonexistent/s: No such file or directory (os error 2)\n  to do: start sealhost",
    );
}

#[test]
fn host_that_is_not_there_is_three_in_json_too() {
    let (code, _, error) = ended(sealctl(&["status", "--json"]).output().unwrap());
    let document: serde_json::Value = serde_json::from_str(&error).unwrap();
    assert_eq!((code, &document["exit"]), (3, &3.into()));
}

#[test]
fn wrong_command_line_is_two() {
    check(&["open"], 2, "error: unrecognized subcommand 'open'");
    check(&["seal"], 2, "error: the following required arguments were not provided");
}

#[test]
fn help_and_version_are_zero() {
    for arguments in [["help", "seal"], ["--version", "status"]] {
        let (code, out, error) = ended(sealctl(&arguments).output().unwrap());
        assert_eq!((code, error.as_str()), (0, ""));
        assert!(!out.is_empty());
    }
}

#[test]
fn input_file_that_is_not_there_is_two() {
    check(&["seal", "a", "--in", "/nonexistent/f"], 2, "sealctl: cannot read /nonexistent/f: ");
}

#[test]
fn output_file_that_is_there_is_two_before_the_host_is_asked() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_str().unwrap();
    for command in ["seal", "unseal", "rewrap", "mac", "sign"] {
        check(&[command, "a", "--out", path], 2, &format!("sealctl: {path} is there already"));
    }
    check(&["random", "1", "--out", path], 2, &format!("sealctl: {path} is there already"));
}

#[test]
fn plaintext_is_not_shown_on_a_terminal_unasked() {
    for arguments in [&["unseal", "a"][..], &["unseal", "a", "--json"], &["random", "1", "--raw"]] {
        let output = sealctl(arguments).stdout(terminal()).stderr(Stdio::piped()).output().unwrap();
        let (code, _, error) = ended(output);
        assert_eq!(code, 2);
        assert!(error.contains("would be shown on the terminal"), "{error}");
    }
}

#[test]
fn plaintext_goes_to_a_terminal_when_asked_for() {
    let sealed = tempfile::NamedTempFile::new().unwrap();
    fs::write(sealed.path(), "sealhost:1:x\n").unwrap();
    let path = sealed.path().to_str().unwrap();
    let mut command = sealctl(&["unseal", "a", "--in", path, "--out", "-"]);
    let (code, _, error) = ended(command.stdout(terminal()).output().unwrap());
    // It got as far as asking the host.
    assert_eq!(code, 3, "{error}");
}

#[test]
fn input_that_is_no_sealed_secret_is_two() {
    check(&["unseal", "a"], 2, "sealctl: standard input holds no sealed secret\n");
    check(&["rewrap", "a"], 2, "sealctl: standard input holds no sealed secret\n");
}

#[test]
fn secret_over_the_limit_is_two() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&vec![0; 1024 * 1024]).unwrap();
    let path = file.path().to_owned();
    check(&["seal", "a", "--in", path.to_str().unwrap()], 3, "sealctl: cannot reach");
    file.write_all(&[0]).unwrap();
    check(&["seal", "a", "--in", path.to_str().unwrap()], 2, "sealctl: the secret from ");
}

#[test]
fn destroy_without_confirmation_or_terminal_is_two() {
    check(&["key", "destroy", "a"], 2, "sealctl: destroying a is not confirmed\n");
    check(
        &["key", "destroy", "a", "--confirm", "b"],
        2,
        "sealctl: the confirmation is not the name a; nothing was destroyed\n",
    );
    check(&["key", "destroy", "a", "--confirm", "a"], 3, "sealctl: cannot reach the daemon");
}

#[test]
fn message_and_mac_from_the_same_input_is_two() {
    check(&["verify", "a", "--mac-file", "-"], 2, "sealctl: message and MAC cannot both come from");
}

#[test]
fn context_given_twice_is_two() {
    check(&["seal", "a", "-c", "k=1", "-c", "k=2"], 2, "sealctl: --context k is given twice\n");
}

#[test]
fn reader_that_goes_away_is_not_mentioned() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let (code, _, error) =
        ended(sealctl(&["completions", "bash"]).stdout(writer).output().unwrap());
    assert_eq!((code, error.as_str()), (0, ""));
}

#[test]
fn output_that_cannot_be_written_is_two() {
    let full = File::options().write(true).open("/dev/full").unwrap();
    let (code, _, error) = ended(sealctl(&["completions", "bash"]).stdout(full).output().unwrap());
    assert_eq!(code, 2);
    assert!(error.starts_with("sealctl: cannot write to standard output: "), "{error}");
}

#[test]
fn every_shell_has_a_completion_script_with_every_command() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let (code, out, _) = ended(sealctl(&["completions", shell]).output().unwrap());
        assert_eq!(code, 0);
        for command in ["status", "rewrap", "retry", "destroy", "verify"] {
            assert!(out.contains(command), "{shell}: {command}");
        }
    }
}

#[test]
fn script_for_bash_is_sound() {
    let (_, script, _) = ended(sealctl(&["completions", "bash"]).output().unwrap());
    let mut bash = Command::new("bash").arg("-n").stdin(Stdio::piped()).spawn().unwrap();
    bash.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    assert!(bash.wait().unwrap().success());
}

#[test]
fn configuration_without_a_daemon_to_check_it_is_two() {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let alone = directory.path().join("sealctl");
    // A copy could still be open for writing in a process that another test starts.
    fs::hard_link(env!("CARGO_BIN_EXE_sealctl"), &alone).unwrap();
    let mut command = Command::new(alone);
    command.args(["config", "check", "c.toml"]).env("PATH", directory.path());
    let (code, _, error) = ended(command.output().unwrap());
    assert_eq!(code, 2);
    assert!(error.starts_with("sealctl: cannot run sealhost: "), "{error}");
}
