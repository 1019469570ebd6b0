//! A registry or an audit that somebody changed while the host was down: the start says which, and
//! what to do, and ends with status 1.
#![expect(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "integration tests, and what they share"
)]

use std::fs;
use std::path::PathBuf;

use rusqlite::Connection;
use serde_json::json;
use tests::{Sealhost, Setup, b64};

/// What the start says of any edit that an open instance notices.
const HEAD: &str = "the registry was altered or replaced by an older one: its head does not verify";

/// Runs statements on the registry of a stopped host; the start is refused and says so.
#[track_caller]
fn check(statements: &str, expected: &str) {
    let mut host = stopped();
    edit(&host, statements);
    refused(&mut host, expected);
}

#[track_caller]
fn refused(host: &mut Sealhost, expected: &str) {
    let before = host.log().len();
    let status = host.try_start().expect_err("it started");
    let said = host.log()[before..].to_owned();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains(expected), "nothing of {expected:?} in\n{said}");
}

/// A stopped host with keys `a` (two versions), `b` and the destroyed `gone`.
fn stopped() -> Sealhost {
    let mut host = Setup::soft().with_soft_worker("other").start();
    host.create("a", "seal", "soft");
    let _rotated = host.post("/v1/keys/a/rotate", json!({})).ok();
    host.create("b", "mac", "other");
    host.create("gone", "seal", "soft");
    let _gone = host.delete("/v1/keys/gone?confirm=gone").ok();
    assert!(host.stop().success());
    host
}

fn registry(host: &Sealhost) -> PathBuf {
    host.state_dir().join("registry.db")
}

fn edit(host: &Sealhost, statements: &str) {
    let connection = Connection::open(registry(host)).unwrap();
    connection.execute_batch("PRAGMA foreign_keys = OFF").unwrap();
    connection.execute_batch(statements).unwrap();
    assert!(connection.changes() > 0, "{statements} changed nothing");
    connection.close().unwrap();
}

#[test]
fn edit_that_changes_nothing_is_no_fault() {
    let mut host = stopped();
    edit(&host, "UPDATE versions SET protection = protection");
    host.start();
    assert_eq!(host.get("/v1/keys/a").status, 200);
}

#[test]
fn edited_version_is_refused() {
    for change in [
        "protection = 'hardware'",
        "origin = 'imported-clear'",
        "fallback = 1",
        "stage = 'destroyed'",
        "created_at = '2020-01-01T00:00:00Z'",
        "created_by = 4242",
        "id = zeroblob(16)",
        "blob = zeroblob(64)",
    ] {
        let edit = format!("UPDATE versions SET {change} WHERE key = 'a' AND number = 1");
        check(&edit, HEAD);
    }
}

#[test]
fn edited_terms_are_refused() {
    for change in ["usage = 'mac'", "floor = 'hardware'", "fallback = 1", "providers = 'other'"] {
        check(&format!("UPDATE keys SET {change} WHERE name = 'a'"), HEAD);
    }
}

#[test]
fn edit_is_noticed_while_the_keys_own_provider_is_down() {
    let mut host = stopped();
    fs::remove_file(host.state_dir().join("other.root")).unwrap();
    edit(&host, "UPDATE versions SET protection = 'hardware' WHERE key = 'b'");
    refused(&mut host, "its head does not verify at provider soft, whose device gave the same");
}

#[test]
fn version_moved_to_another_key_or_number_is_refused() {
    check("UPDATE versions SET number = 3 WHERE key = 'a' AND number = 2", HEAD);
    check("UPDATE versions SET key = 'b', number = 2 WHERE key = 'a' AND number = 2", HEAD);
}

#[test]
fn deleted_rows_are_refused() {
    check("DELETE FROM versions WHERE key = 'a' AND number = 2", HEAD);
    check("DELETE FROM versions WHERE key = 'a'; DELETE FROM keys WHERE name = 'a'", HEAD);
    check("DELETE FROM versions WHERE key = 'gone'; DELETE FROM keys WHERE name = 'gone'", HEAD);
    check("DELETE FROM instances WHERE name = 'other'", HEAD);
}

#[test]
fn row_put_back_as_it_was_before_a_destruction_is_refused() {
    let mut host = stopped();
    let old = registry(&host).with_extension("old");
    fs::copy(registry(&host), &old).unwrap();
    host.start();
    let _gone = host.delete("/v1/keys/a?confirm=a").ok();
    assert!(host.stop().success());
    edit(
        &host,
        &format!(
            "ATTACH '{}' AS old; DELETE FROM versions WHERE key = 'a'; \
         INSERT INTO versions SELECT * FROM old.versions WHERE key = 'a'; DETACH old",
            old.display()
        ),
    );
    refused(&mut host, HEAD);
}

#[test]
fn edited_generation_or_head_is_refused() {
    check("UPDATE registry SET generation = generation + 1", HEAD);
    check("UPDATE head SET mac = zeroblob(32) WHERE instance = 'soft'", HEAD);
    check("UPDATE registry SET id = zeroblob(16)", HEAD);
    check("DELETE FROM head", "the registry cannot be verified");
}

#[test]
fn file_that_is_no_registry_is_refused() {
    let mut host = stopped();
    fs::write(registry(&host), "no registry").unwrap();
    refused(&mut host, "registry: ");
}

#[test]
fn registry_of_a_later_layout_is_refused() {
    let mut host = stopped();
    let connection = Connection::open(registry(&host)).unwrap();
    connection.pragma_update(None, "user_version", 4).unwrap();
    connection.close().unwrap();
    refused(&mut host, "registry: ");
}

#[test]
fn registry_older_than_the_audit_is_refused() {
    let mut host = stopped();
    let old = fs::read(registry(&host)).unwrap();
    host.start();
    host.create("new", "seal", "soft");
    assert!(host.stop().success());
    fs::write(registry(&host), old).unwrap();
    refused(&mut host, "an older registry was put in its place; restore registry and audit");
}

#[test]
fn registry_that_is_gone_is_refused() {
    let mut host = stopped();
    fs::remove_file(registry(&host)).unwrap();
    refused(&mut host, "an older registry was put in its place");
}

#[test]
fn registry_without_its_audit_is_refused() {
    let mut host = stopped();
    fs::remove_file(host.audit_path()).unwrap();
    refused(&mut host, "there are keys in the registry, but the audit ");
    // An empty one in its place, which the refused start may have made, changes nothing.
    refused(&mut host, "restore registry and audit from one backup");
}

#[test]
fn loss_of_the_audit_is_accepted_by_an_operator_and_the_new_one_says_so() {
    const ACCEPT: &[&str] = &["--accept-lost-audit"];
    let mut host = stopped();
    host.start();
    let sealed = host.seal("a", "text");
    assert!(host.stop().success());
    let whole = fs::read_to_string(host.audit_path()).unwrap();
    let cut: String = whole.lines().take(3).map(|line| format!("{line}\n")).collect();
    // One that is there is not given up by a word.
    fs::write(host.audit_path(), cut).unwrap();
    let status = host.try_start_with(ACCEPT).expect_err("it started");
    assert_eq!(status.code(), Some(1));
    fs::remove_file(host.audit_path()).unwrap();
    host.try_start_with(ACCEPT).unwrap();
    assert_eq!(host.unseal("a", &sealed).text("plaintext"), b64("text"));
    host.restart();
    let lines = host.verified_audit();
    assert_eq!((&lines[0]["kind"], &lines[0]["outcome"]), (&json!("start"), &json!("integrity")));
    assert_eq!(lines.iter().filter(|line| line["outcome"] == "integrity").count(), 1);
    // An audit that goes on is an ordinary one under the option.
    assert!(host.stop().success());
    host.try_start_with(ACCEPT).unwrap();
    let starts = host.verified_audit();
    assert_eq!(starts.iter().rfind(|line| line["kind"] == "start").unwrap().get("outcome"), None);
}

#[test]
fn registry_and_audit_of_one_backup_are_accepted() {
    let mut host = stopped();
    host.start();
    let sealed = host.seal("a", "text");
    assert!(host.stop().success());
    let backup = (fs::read(registry(&host)).unwrap(), fs::read(host.audit_path()).unwrap());
    host.start();
    host.create("new", "seal", "soft");
    assert!(host.stop().success());
    fs::write(registry(&host), backup.0).unwrap();
    fs::write(host.audit_path(), backup.1).unwrap();
    host.start();
    assert_eq!(host.unseal("a", &sealed).text("plaintext"), b64("text"));
    host.get("/v1/keys/new").problem(404, "not_found");
    let _whole = host.verified_audit();
}

#[test]
fn root_key_that_is_gone_is_said_and_not_made_anew() {
    let mut host = stopped();
    for name in ["soft.root", "other.root"] {
        fs::remove_file(host.state_dir().join(name)).unwrap();
    }
    refused(&mut host, "soft.root");
    assert!(!host.state_dir().join("soft.root").exists());
}

#[test]
fn torn_line_at_the_end_of_the_audit_is_cut_off_and_noted() {
    let mut host = stopped();
    let whole = fs::read(host.audit_path()).unwrap();
    let torn = b"{\"seq\":99,\"prev\":\"00";
    fs::write(host.audit_path(), [&whole[..], torn].concat()).unwrap();
    host.start();
    let lines = host.verified_audit();
    let start = lines.iter().rfind(|line| line["kind"] == "start").unwrap();
    assert_eq!(start["torn_bytes"], torn.len());
    assert!(fs::read(host.audit_path()).unwrap().starts_with(&whole));
}

#[test]
fn audit_whose_last_line_is_no_record_is_refused() {
    let mut host = stopped();
    let whole = fs::read(host.audit_path()).unwrap();
    fs::write(host.audit_path(), [&whole[..], b"no record\n"].concat()).unwrap();
    refused(&mut host, "the last line of the audit ");
    assert!(fs::read(host.audit_path()).unwrap().ends_with(b"no record\n"), "it is left as found");
}

#[test]
fn audit_that_others_can_write_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let mut host = stopped();
    fs::set_permissions(host.audit_path(), fs::Permissions::from_mode(0o666)).unwrap();
    refused(&mut host, "chmod go-w");
}
