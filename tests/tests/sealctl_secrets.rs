//! `sealctl secret` against the running secret manager: what is wrong first, then what works, then
//! programs that are given secrets.
#![expect(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    reason = "integration tests, and what they share"
)]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use tests::sealhost::{built, signal};
use tests::{Sealhost, SecretManager, SecretSetup, Setup};

const VALUE: &[u8] = b"correct horse\n\0 battery";

struct Both {
    manager: SecretManager,
    host: Sealhost,
}

fn start() -> Both {
    let host = Setup::soft().start();
    let manager = SecretSetup::cached().start(&host);
    manager.store("web%2Fdb", VALUE);
    manager.store("text", "staple");
    Both { manager, host }
}

fn sealctl(socket: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(built("sealctl"));
    command.arg("--socket").arg(socket).arg("secret").args(arguments);
    // What a caller's terminal would say has no part here.
    command.env_clear().env("PATH", "/usr/bin:/bin");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs it with something to read.
fn run(manager: &SecretManager, arguments: &[&str], input: &[u8]) -> Output {
    let mut child = sealctl(&manager.socket(), arguments).stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // It may have refused without reading.
    let _closed_already = stdin.write_all(input);
    drop(stdin);
    child.wait_with_output().unwrap()
}

/// Runs it: the exit code, and words on standard error (of a failure) or output (of a success).
#[track_caller]
fn check(manager: &SecretManager, arguments: &[&str], code: i32, words: &[&str]) {
    let output = run(manager, arguments, VALUE);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {out}{err}");
    let said = if code == 0 { &out } else { &err };
    for word in words {
        assert!(said.contains(word), "{arguments:?}: {word:?} is not in {said}");
    }
    assert!(!err.contains("correct horse"), "{err}");
}

#[test]
fn wrong_input_is_refused_with_advice_and_changes_nothing() {
    let Both { manager, .. } = &start();
    let before = manager.get("/v1/secrets").ok();
    check(manager, &["put"], 2, &["NAME"]);
    check(manager, &["put", ".hidden"], 2, &["name or segment"]);
    check(manager, &["put", "a", "--version", "a/b"], 2, &["version"]);
    check(manager, &["put", "a", "--activation", "yesterday"], 2, &["--activation"]);
    check(manager, &["put", "a", "--tag", "x"], 2, &["--tag"]);
    check(manager, &["put", "a", "--tag", "x=1", "--tag", "x=2"], 2, &["given twice", "once"]);
    check(manager, &["put", "a", "--in", "/nonexistent/x"], 2, &["cannot read", "check the path"]);
    let day = "2026-01-01T00:00:00Z";
    check(
        manager,
        &["put", "a", "--activation", day, "--expiration", day],
        4,
        &["activation is not before expiration"],
    );
    check(manager, &["delete", "text"], 2, &["--version"]);
    check(manager, &["delete", "text", "--all"], 2, &["--confirm"]);
    check(manager, &["delete", "text", "--all", "--confirm", "txet"], 2, &["nothing was erased"]);
    check(manager, &["get", "none"], 4, &["not_found", "to do: look at `sealctl secret versions`"]);
    check(manager, &["get", "text", "--version", "v9"], 4, &["not_found"]);
    check(manager, &["get", "text", "--at", "0000"], 2, &["--at"]);
    check(manager, &["versions", "none"], 4, &["not_found"]);
    assert_eq!(manager.get("/v1/secrets").ok(), before);
}

#[test]
fn value_past_its_limit_is_refused_before_it_is_sent() {
    let Both { manager, .. } = &start();
    let at = run(manager, &["put", "large"], &vec![7; 1 << 20]);
    assert_eq!(at.status.code(), Some(0), "{}", String::from_utf8_lossy(&at.stderr));
    let past = run(manager, &["put", "large"], &vec![7; (1 << 20) + 1]);
    assert_eq!(past.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&past.stderr).contains("exceeds limit of 1048576 bytes"));
}

#[test]
fn daemon_or_host_that_is_away_is_told_with_what_to_do() {
    let mut both = start();
    let (manager, host) = (&mut both.manager, &mut both.host);
    let sealed = SecretSetup::file().start(host);
    sealed.store("a", "x");
    assert!(host.stop().success());
    check(&sealed, &["get", "a"], 5, &["unavailable", "to do: look at `sealctl secret status`"]);
    assert!(manager.stop().success());
    check(manager, &["get", "text"], 3, &["to do: start secret-manager"]);
}

#[test]
fn caller_without_a_rule_is_told_whom_to_ask() {
    let host = Setup::soft().start();
    let manager = SecretSetup::cached().with_rules("").start(&host);
    check(&manager, &["get", "a"], 4, &["denied", "ask the administrator of secret-manager"]);
    check(&manager, &["list"], 4, &["denied"]);
}

#[test]
fn value_goes_in_and_comes_out_byte_for_byte() {
    let Both { manager, .. } = &start();
    check(
        manager,
        &["put", "a", "--version", "v1", "--content-type", "text/plain", "--tag", "t=1"],
        0,
        &["v1", "text/plain", "t=1"],
    );
    assert_eq!(run(manager, &["get", "a"], b"").stdout, VALUE);
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    fs::write(&from, [0, 10, 255]).unwrap();
    check(manager, &["put", "b", "--in", from.to_str().unwrap()], 0, &["b"]);
    check(manager, &["get", "b", "--out", to.to_str().unwrap()], 0, &[]);
    assert_eq!(fs::read(&to).unwrap(), [0, 10, 255]);
    assert_eq!(fs::metadata(&to).unwrap().permissions().mode() & 0o777, 0o600);
    check(manager, &["get", "b", "--out", to.to_str().unwrap()], 2, &["--force"]);
}

#[test]
fn list_versions_and_status_show_no_value() {
    let Both { manager, .. } = &start();
    for version in ["v1", "v2"] {
        check(manager, &["put", "a", "--version", version], 0, &[]);
    }
    check(manager, &["list"], 0, &["SECRET", "web/db", "text"]);
    check(manager, &["versions", "a"], 0, &["v1", "v2"]);
    check(manager, &["status"], 0, &["memory", "file", "secrets/store"]);
    for command in [&["list"][..], &["versions", "a"], &["status"]] {
        let said = run(manager, command, b"").stdout;
        assert!(!String::from_utf8_lossy(&said).contains("correct"));
    }
}

#[test]
fn erased_version_is_gone_and_the_number_is_told() {
    let Both { manager, .. } = &start();
    check(
        manager,
        &["delete", "text", "--version", "default", "--confirm", "text"],
        0,
        &["erased text: 1 version\n"],
    );
    check(manager, &["get", "text"], 4, &["not_found"]);
    check(manager, &["delete", "text", "--all", "--confirm", "text"], 0, &["0 versions"]);
}

#[test]
fn file_of_edge_secrets_goes_in_and_out() {
    let Both { manager, .. } = &start();
    let file = br#"{"old":{"v1":{"Value":"a\u002Bb","Version":"v1","Name":"old"}}}"#;
    let imported = run(manager, &["import"], file);
    assert_eq!(imported.status.code(), Some(0), "{imported:?}");
    assert_eq!(run(manager, &["get", "old"], b"").stdout, b"a+b");
    let exported = run(manager, &["export", "old"], b"").stdout;
    let exported: serde_json::Value = serde_json::from_slice(&exported).unwrap();
    assert_eq!(exported["old"]["v1"]["Value"], "a+b");
    check(manager, &["import"], 4, &["malformed"]);
}

/// Runs a shell script with secrets: its exit code and output.
#[track_caller]
fn check_run(manager: &SecretManager, given: &[&str], script: &str, code: i32, out: &[u8]) {
    let arguments = [&["run"], given, &["--", "sh", "-c", script]].concat();
    let output = run(manager, &arguments, b"");
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{script}: {err}");
    assert!(output.stdout == out, "{script}: {}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn program_reads_a_secret_from_a_descriptor() {
    let Both { manager, .. } = &start();
    check_run(manager, &["--fd", "DB=web/db"], "cat $DB_FILE", 0, VALUE);
    check_run(manager, &["--fd", "DB=web/db"], "cat /proc/self/fd/$DB_FD", 0, VALUE);
    check_run(
        manager,
        &["--fd", "DB=web/db@default"],
        "cat $DB_FILE $DB_FILE",
        0,
        &[VALUE, VALUE].concat(),
    );
    // Neither arguments nor environment have the value.
    let look = "tr '\\0' '\\n' < /proc/$$/environ | grep -c [h]orse; tr '\\0' '\\n' < /proc/$$/cmdline | grep -c [s]taple";
    check_run(manager, &["--fd", "DB=web/db", "--fd", "T=text"], look, 1, b"0\n0\n");
}

#[test]
fn program_reads_a_secret_from_a_file_that_is_gone_afterwards() {
    let Both { manager, .. } = &start();
    let script = "cat $DB_FILE; stat -c '\n%a %s' $DB_FILE; stat -f -c %T $DB_FILE; echo $DB_FILE";
    let output = run(manager, &["run", "--file", "DB=text", "--", "sh", "-c", script], b"");
    let out = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<_> = out.lines().collect();
    assert_eq!(lines[..4], ["staple", "400 6", "tmpfs", lines[3]], "{out}");
    assert!(!Path::new(lines[3]).exists() && !Path::new(lines[3]).parent().unwrap().exists());
}

#[test]
fn program_reads_a_secret_from_a_variable() {
    let Both { manager, .. } = &start();
    check_run(manager, &["--env", "T=text"], "printf %s \"$T\"", 0, b"staple");
    let zero = run(manager, &["run", "--env", "T=web/db", "--", "true"], b"");
    assert_eq!(zero.status.code(), Some(2));
    let said = String::from_utf8_lossy(&zero.stderr).into_owned();
    assert!(said.contains("zero byte") && said.contains("--fd or --file"), "{said}");
}

#[test]
fn exit_code_is_that_of_the_program() {
    let Both { manager, .. } = &start();
    for given in ["--fd", "--file", "--env"] {
        check_run(manager, &[given, "T=text"], "exit 37", 37, b"");
    }
    check_run(manager, &["--file", "T=text"], "kill -KILL $$", 128 + 9, b"");
}

#[test]
fn nothing_is_started_unless_every_secret_is_there() {
    let Both { manager, .. } = &start();
    let dir = tempfile::tempdir().unwrap();
    let mark = dir.path().join("started");
    let touch = format!("touch {}", mark.display());
    let run_with = |given: &[&str]| {
        let arguments = [&["run"], given, &["--", "sh", "-c", &touch]].concat();
        let output = run(manager, &arguments, b"");
        assert!(!mark.exists(), "{given:?}");
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, said) = run_with(&["--fd", "T=text", "--fd", "N=none"]);
    assert!(code == 4 && said.contains("none") && said.contains("not_found"), "{code} {said}");
    assert_eq!(run_with(&["--fd", "T=text@v9"]).0, 4);
    assert_eq!(run_with(&["--fd", "2T=text"]).0, 2);
    assert_eq!(run_with(&["--file", "T=text", "--file", "T=text"]).0, 2);
    let (code, said) = run_with(&[]);
    assert!(code == 2 && said.contains("--fd, --file or --env"), "{said}");
    let missing = run(manager, &["run", "--fd", "T=text", "--", "/nonexistent/program"], b"");
    assert_eq!(missing.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&missing.stderr).contains("cannot run /nonexistent/program"));
}

/// Starts a program that says a path and waits for a signal.
fn waiting(manager: &SecretManager, given: &str, script: &str) -> (Child, String) {
    let arguments = ["run", given, "T=text", "--", "sh", "-c", script];
    let mut child = sealctl(&manager.socket(), &arguments).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    (child, line.trim().to_owned())
}

#[test]
fn signal_reaches_the_program_and_its_files_are_removed() {
    let Both { manager, .. } = &start();
    let script = "trap 'exit 7' TERM; echo $T_FILE; while :; do sleep 0.05; done";
    for given in ["--file", "--fd"] {
        let (mut child, path) = waiting(manager, given, script);
        signal(child.id(), "TERM");
        assert_eq!(child.wait().unwrap().code(), Some(7), "{given}");
        assert!(!Path::new(&path).exists(), "{path}");
    }
    let (mut child, path) = waiting(manager, "--file", "echo $T_FILE; exec sleep 600");
    signal(child.id(), "INT");
    assert_eq!(child.wait().unwrap().code(), Some(128 + 2));
    assert!(!Path::new(&path).exists(), "{path}");
}

#[test]
fn failure_in_json_has_exit_code_advice_and_problem() {
    let Both { manager, .. } = &start();
    let output = run(manager, &["get", "none", "--json"], b"");
    let said: serde_json::Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!((&said["exit"], &said["problem"]["code"]), (&4.into(), &"not_found".into()));
    assert!(said["advice"].as_str().unwrap().contains("sealctl secret versions"));
}
