//! What the audit has of the signer.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};
use tests::Setup;

use crate::harness::{EVERYTHING, K1, K2, Signer};

/// The lines of an operation, without what differs from run to run.
fn lines(signer: &Signer, operation: &str) -> Vec<Value> {
    let mut lines = signer.verified_audit();
    lines.retain(|line| line["operation"] == operation);
    for line in &mut lines {
        let line = line.as_object_mut().unwrap();
        for field in ["seq", "prev", "time", "request", "principal", "duration_us"] {
            line.remove(field);
        }
    }
    lines
}

#[test]
fn token_is_recorded_with_its_resource_and_expiry_and_never_its_signature() {
    let signer = Signer::start_soft();
    signer.import("dev", K1, "primary");
    let token = signer.token("dev", json!({})).ok();
    let expected = json!({
        "kind": "request", "generation": 1, "operation": "token", "key": "dev", "version": 1,
        "provider": "soft", "protection": "software", "origin": "imported-clear",
        "resource": "h.net/devices/d", "expires_at": token["expires_at"], "outcome": "ok",
    });
    assert_eq!(lines(&signer, "token"), [expected]);
}

#[test]
fn change_of_a_key_has_an_intent_and_an_outcome() {
    let signer = Signer::start_soft();
    signer.import("dev", K1, "primary");
    signer
        .post("/v1/keys/dev/import", json!({"key": K1, "form": "decoded"}))
        .problem(409, "conflict");
    let kinds = |operation: &str| {
        let lines = lines(&signer, operation);
        let kind =
            |line: &Value| format!("{} {} {}", line["kind"], line["generation"], line["outcome"]);
        lines.iter().map(kind).collect::<Vec<_>>().join("; ").replace('"', "")
    };
    assert_eq!(kinds("import"), "intent 0 null; outcome 1 ok; intent 1 null; outcome 1 conflict");
    signer.import("dev", K2, "secondary");
    signer.post("/v1/keys/dev/rotate", json!({})).done();
    assert_eq!(kinds("rotate"), "intent 2 null; outcome 3 ok");
}

#[test]
fn refusals_are_recorded_and_status_is_not() {
    let signer = Signer::start_soft();
    signer.token("dev", json!({})).problem(404, "not_found");
    signer.get("/v1/status").done();
    assert_eq!(signer.get("/metrics").status, 200);
    assert_eq!(lines(&signer, "token")[0]["outcome"], "not_found");
    assert!(lines(&signer, "status").is_empty() && lines(&signer, "metrics").is_empty());
}

/// A small file system of its own under the audit.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(path: PathBuf) -> Self {
        let options = ["-t", "tmpfs", "-o", "size=64k,mode=0700", "tmpfs"];
        assert!(Command::new("mount").args(options).arg(&path).status().unwrap().success());
        Self(path)
    }

    /// Leaves no room, but for the rest of the page that the audit ends in.
    fn fill(&self) {
        let full = fs::write(self.0.join("filler"), vec![0; 128 * 1024]).unwrap_err();
        assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
    }

    fn make_room(&self) {
        fs::remove_file(self.0.join("filler")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _left_behind = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[test]
fn audit_that_cannot_be_written_withholds_the_token_until_there_is_room() {
    let mut signer = Signer::over(Setup::soft().start(), EVERYTHING);
    let disk = SmallDisk::mount(signer.path("audit"));
    signer.start();
    signer.import("dev", K1, "primary");
    disk.fill();
    // A page has room for some lines yet.
    let refused = (0..100).map(|_| signer.token("dev", json!({}))).find(|it| it.status != 200);
    let problem = refused.unwrap().problem(500, "internal");
    assert!(problem["detail"].as_str().unwrap().contains("audit"), "{problem}");
    assert!(!problem.to_string().contains("SharedAccessSignature"), "{problem}");
    disk.make_room();
    signer.token("dev", json!({})).done();
    let _whole = signer.verified_audit();
}

#[test]
fn state_that_is_older_than_the_audit_or_without_it_is_refused_at_start() {
    let mut signer = Signer::start_soft();
    signer.import("dev", K1, "primary");
    let state = signer.path("state/slots.json");
    let older = fs::read(&state).unwrap();
    signer.import("dev", K2, "secondary");
    assert!(signer.stop().success());
    let newer = fs::read(&state).unwrap();
    fs::write(&state, older).unwrap();
    assert!(!signer.try_start().unwrap_err().success());
    assert!(signer.log().contains("restore it and the audit from one backup"));
    fs::write(&state, newer).unwrap();
    signer.start();
    assert!(signer.stop().success());
    fs::remove_file(signer.path("audit/audit.log")).unwrap();
    assert!(!signer.try_start().unwrap_err().success());
    assert!(signer.log().contains("restore state directory and audit from one backup"));
}
