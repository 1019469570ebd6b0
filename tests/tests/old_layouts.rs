//! Registries of earlier layouts, as hosts of that time left them, are taken over with their keys.
#![expect(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    reason = "integration tests, and what they share"
)]

use std::fs;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;

use rusqlite::Connection;
use serde_json::json;
use tests::{Setup, b64};

const REGISTRY: &str = include_str!("../vectors/registry/layout-2.sql");
const AUDIT: &str = include_str!("../vectors/registry/layout-2.audit");
const ROOT: &str = include_str!("../vectors/registry/layout-2.root");
const SEALED: &str = include_str!("../vectors/registry/layout-2.sealed");

fn put(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// Starts a host on the registry as these statements make it of the second layout.
#[track_caller]
fn check(statements: &str) {
    let mut host = Setup::soft().prepare();
    fs::DirBuilder::new().mode(0o700).create(host.state_dir()).unwrap();
    let path = host.state_dir().join("registry.db");
    let registry = Connection::open(&path).unwrap();
    registry.execute_batch(REGISTRY).unwrap();
    registry.execute_batch(statements).unwrap();
    registry.close().unwrap();
    let digits: Vec<char> = ROOT.trim().chars().collect();
    let byte = |pair: &[char]| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap();
    let root: Vec<u8> = digits.chunks(2).map(byte).collect();
    put(&host.state_dir().join("soft.root"), &root);
    put(&host.audit_path(), AUDIT.as_bytes());

    host.start();
    assert_eq!(host.unseal("a", SEALED.trim()).text("plaintext"), b64("text"));
    let first = host.post("/v1/counters/n", json!({})).ok()["value"].as_u64();
    let last = || host.post("/v1/audit/verify", json!({})).ok()["last"]["sequence"].as_u64();
    assert!(last().is_some(), "it remembers checkpoints from now on");
    host.restart();
    assert_eq!(host.get("/v1/counters/n").ok()["value"].as_u64(), first);
    let _whole = host.verified_audit();
}

#[test]
fn registry_of_the_first_layout_is_taken_over() {
    check(
        "DROP TABLE counters; DROP TABLE counter_floor; DROP TABLE refused_subjects;
         PRAGMA user_version = 1",
    );
    // Some had this table before its layout had a number.
    check("DROP TABLE counters; DROP TABLE counter_floor; PRAGMA user_version = 1");
}

#[test]
fn registry_of_the_second_layout_is_taken_over() {
    check("");
}
