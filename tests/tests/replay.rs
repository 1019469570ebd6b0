//! The registry edited, replayed or replaced behind the host's back, while some of the devices
//! that authenticate it are there and some are not.
#![expect(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    reason = "integration tests, and what they share"
)]

use std::fs;

use rusqlite::Connection;
use serde_json::json;
use swtpm_fixtures::{SoftHsm, Swtpm};
use tests::{Sealhost, Setup, b64};

const ALTERED: &str = "the registry was altered or replaced by an older one";

/// The registry of a stopped host.
fn registry(host: &Sealhost) -> Connection {
    Connection::open(host.state_dir().join("registry.db")).unwrap()
}

/// The registry's files of a stopped host, to be put back.
fn copy(host: &Sealhost) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let files = fs::read_dir(host.state_dir()).unwrap().map(|entry| entry.unwrap().path());
    let of_registry = files.filter(|path| path.to_str().unwrap().contains("registry.db"));
    of_registry.map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

fn put_back(host: &Sealhost, files: &[(std::path::PathBuf, Vec<u8>)]) {
    for (path, _) in copy(host) {
        fs::remove_file(path).unwrap();
    }
    for (path, bytes) in files {
        fs::write(path, bytes).unwrap();
    }
}

/// Starts a host that must refuse, and returns what it said.
#[track_caller]
fn check_refused(host: &mut Sealhost, words: &str) {
    let before = host.log().len();
    let started = host.try_start();
    let log = host.log();
    let said = log.get(before..).unwrap();
    assert!(started.is_err_and(|status| !status.success()), "it started:\n{said}");
    assert!(said.contains(words), "{words:?} is not in:\n{said}");
}

/// A TPM, software, and two keys in the TPM with all that an editor may wish to change.
fn bench() -> (Swtpm, Sealhost) {
    let swtpm = Swtpm::start().unwrap();
    let mut host = Setup::default().with_tpm(&swtpm).with_soft().start();
    for key in ["a", "b"] {
        let body = json!({"usage": "seal", "providers": ["tpm"], "floor": "emulated"});
        host.post(&format!("/v1/keys/{key}"), body).done();
        host.post(&format!("/v1/keys/{key}/rotate"), json!({})).done();
    }
    host.post("/v1/keys/p", json!({"usage": "seal", "pcrs": {"sha256": [7]}})).done();
    host.create("m", "mac", "tpm");
    host.create("d", "mac", "tpm");
    host.delete("/v1/keys/d?confirm=d").done();
    host.create("s", "seal", "soft");
    assert!(host.stop().success());
    (swtpm, host)
}

/// Edits, none of which touches a record of the software provider.
const EDITS: [&str; 20] = [
    "DELETE FROM versions WHERE key = 'a' AND number = 1",
    "DELETE FROM versions WHERE key = 'a'; DELETE FROM keys WHERE name = 'a'",
    "DELETE FROM versions WHERE key = 'd'; DELETE FROM keys WHERE name = 'd'",
    "UPDATE keys SET floor = 'software' WHERE name = 'a'",
    "UPDATE keys SET fallback = 1 WHERE name = 'a'",
    "UPDATE keys SET usage = 'seal' WHERE name = 'm'",
    "UPDATE keys SET usage = 'mac' WHERE name = 'a'",
    "UPDATE keys SET providers = 'soft' WHERE name = 'a'",
    "UPDATE keys SET providers = NULL WHERE name = 'a'",
    "UPDATE keys SET state = NULL WHERE name = 'p'",
    "UPDATE keys SET state = 'sha256:8' WHERE name = 'p'",
    "UPDATE versions SET stage = 'live' WHERE key = 'd'",
    "UPDATE versions SET stage = 'destroying' WHERE key = 'a' AND number = 1",
    "UPDATE versions SET protection = 'hardware' WHERE key = 'a'",
    "UPDATE versions SET origin = 'imported-clear' WHERE key = 'a'",
    "UPDATE versions SET fallback = 1 WHERE key = 'a' AND number = 2",
    "UPDATE versions SET number = 7 WHERE key = 'a' AND number = 2",
    "UPDATE versions SET blob = (SELECT blob FROM versions WHERE key = 'b' AND number = 1)
     WHERE key = 'a' AND number = 1",
    "UPDATE instances SET identity = x'00' WHERE name = 'tpm'",
    "DELETE FROM instances WHERE name = 'tpm'",
];

#[test]
fn edit_is_noticed_while_the_device_of_the_record_is_down() {
    let (mut swtpm, mut host) = bench();
    swtpm.stop().unwrap();
    let good = copy(&host);
    for edit in EDITS {
        registry(&host).execute_batch(edit).unwrap();
        check_refused(&mut host, ALTERED);
        put_back(&host, &good);
    }
    host.start();
    assert_eq!(host.provider("tpm")["state"], "down");
    swtpm.start_again().unwrap();
    host.wait_until("the TPM is open", |host| host.provider("tpm")["state"] == "open");
    host.post("/v1/keys/m/mac", json!({"message": b64("x")})).done();
}

#[test]
fn edit_is_noticed_while_all_devices_are_there() {
    let (_swtpm, mut host) = bench();
    let good = copy(&host);
    for edit in EDITS {
        registry(&host).execute_batch(edit).unwrap();
        check_refused(&mut host, "");
        put_back(&host, &good);
    }
    host.start();
    host.post("/v1/keys/m/mac", json!({"message": b64("x")})).done();
}

#[test]
fn records_of_two_keys_cannot_change_places() {
    let (mut swtpm, mut host) = bench();
    registry(&host)
        .execute_batch(
            "PRAGMA foreign_keys = OFF;
             UPDATE versions SET key = 'x' WHERE key = 'a';
             UPDATE versions SET key = 'a' WHERE key = 'b';
             UPDATE versions SET key = 'b' WHERE key = 'x'",
        )
        .unwrap();
    check_refused(&mut host, ALTERED);
    swtpm.stop().unwrap();
    check_refused(&mut host, ALTERED);
}

#[test]
fn record_of_before_its_destruction_cannot_be_put_back() {
    let hsm = SoftHsm::start("edge", "1234").unwrap();
    let mut host = Setup::default().with_hsm(&hsm).with_soft().start();
    host.create("a", "mac", "soft");
    assert!(host.stop().success());
    let path = host.state_dir().join("registry.db");
    let old = host.dir().join("old.db");
    // Nothing else than its row is kept: blob and MAC are good ones.
    let sql = format!(
        "ATTACH '{}' AS old; CREATE TABLE old.kept AS SELECT * FROM versions",
        old.display()
    );
    Connection::open(&path).unwrap().execute_batch(&sql).unwrap();
    host.start();
    host.delete("/v1/keys/a?confirm=a").done();
    assert!(host.stop().success());
    let sql = format!(
        "ATTACH '{}' AS old; INSERT OR REPLACE INTO versions SELECT * FROM old.kept",
        old.display()
    );
    Connection::open(&path).unwrap().execute_batch(&sql).unwrap();
    check_refused(&mut host, ALTERED);
}

#[test]
fn older_registry_is_refused_by_the_audit() {
    let (_swtpm, mut host) = bench();
    let older = copy(&host);
    host.start();
    host.create("more", "mac", "tpm");
    assert!(host.stop().success());
    put_back(&host, &older);
    check_refused(&mut host, "an older registry was put in its place");
    fs::remove_file(host.audit_path()).unwrap();
    check_refused(&mut host, "there are keys in the registry, but the audit");
}

#[test]
fn generation_cannot_be_lifted_over_the_audit() {
    let (_swtpm, mut host) = bench();
    let older = copy(&host);
    host.start();
    host.create("more", "mac", "tpm");
    assert!(host.stop().success());
    put_back(&host, &older);
    registry(&host).execute_batch("UPDATE registry SET generation = generation + 100").unwrap();
    check_refused(&mut host, ALTERED);
}

#[test]
fn registry_that_nobody_present_can_verify_is_refused_until_its_device_is_back() {
    let mut swtpm = Swtpm::start().unwrap();
    let mut host = Setup::default().with_tpm(&swtpm).start();
    host.create("a", "seal", "tpm");
    let sealed = host.seal("a", "x");
    // A provider that the registry does not know cannot vouch for it.
    host.reconfigure(Setup::with_soft);
    assert!(host.stop().success());
    swtpm.stop().unwrap();
    check_refused(&mut host, "none of the providers that authenticated it is open (tpm)");
    assert!(!host.state_dir().join("soft.root").exists(), "an instance was added");
    swtpm.start_again().unwrap();
    host.start();
    assert_eq!(host.unseal("a", &sealed).text("plaintext"), b64("x"));
    // From now on either of the two verifies it.
    swtpm.stop().unwrap();
    host.restart();
    host.create("b", "seal", "soft");
    host.unseal("a", &sealed).problem(503, "unavailable");
}

#[test]
fn removing_the_proof_of_the_device_that_is_there_does_not_help() {
    let (mut swtpm, mut host) = bench();
    let good = copy(&host);
    swtpm.stop().unwrap();
    registry(&host)
        .execute_batch(
            "DELETE FROM head WHERE instance = 'soft';
             UPDATE keys SET floor = 'software' WHERE name = 'a'",
        )
        .unwrap();
    check_refused(&mut host, "the registry cannot be verified");
    registry(&host).execute_batch("DELETE FROM head").unwrap();
    check_refused(&mut host, "the registry cannot be verified");
    put_back(&host, &good);
    registry(&host)
        .execute_batch(
            "DELETE FROM head; DELETE FROM versions; DELETE FROM keys; DELETE FROM instances;
             UPDATE registry SET generation = 0",
        )
        .unwrap();
    check_refused(&mut host, "an older registry was put in its place");
}

#[test]
fn change_made_while_a_device_is_down_is_vouched_for_by_the_others() {
    let (mut swtpm, mut host) = bench();
    swtpm.stop().unwrap();
    host.start();
    host.create("made-meanwhile", "seal", "soft");
    assert!(host.stop().success());
    let good = copy(&host);
    swtpm.start_again().unwrap();
    registry(&host).execute_batch("DELETE FROM versions WHERE key = 'made-meanwhile'").unwrap();
    check_refused(&mut host, ALTERED);
    put_back(&host, &good);
    host.start();
    assert_eq!(host.provider("tpm")["state"], "open");
    host.post("/v1/keys/m/mac", json!({"message": b64("x")})).done();
}

#[test]
fn registry_of_another_host_does_not_open_here() {
    let hsm = SoftHsm::start("edge", "1234").unwrap();
    let mut one = Setup::default().with_hsm(&hsm).start();
    one.create("a", "seal", "hsm");
    let sealed = one.seal("a", "x");
    let mut two = Setup::default().with_hsm(&hsm).start();
    two.create("a", "seal", "hsm");
    two.unseal("a", &sealed).problem(400, "integrity");
    assert!(one.stop().success() && two.stop().success());
    // Both share one token, and with it the device that authenticates; not the registry's number.
    let id: Vec<u8> =
        registry(&two).query_row("SELECT id FROM registry", [], |row| row.get(0)).unwrap();
    registry(&one).execute("UPDATE registry SET id = ?1", [id]).unwrap();
    check_refused(&mut one, ALTERED);
}
