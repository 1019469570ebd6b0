//! Root keys of the software provider that are lost, replaced or shown to others.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use swtpm_fixtures::SoftHsm;
use tests::{Setup, b64};

use crate::reason;

#[test]
fn software_provider_without_its_root_is_refused_and_makes_no_other() {
    let hsm = SoftHsm::start("edge", "1234").unwrap();
    let mut host = Setup::soft().with_hsm(&hsm).start();
    host.create("a", "seal", "soft");
    let sealed = host.seal("a", "x");
    assert!(host.stop().success());
    let root = host.state_dir().join("soft.root");
    let kept = fs::read(&root).unwrap();
    fs::remove_file(&root).unwrap();
    host.start();
    let why = reason(&host, "soft");
    assert!(why.contains("soft.root is gone") && why.contains("backup"), "{why}");
    host.unseal("a", &sealed).problem(503, "unavailable");
    assert!(!root.exists(), "another root was made");
    // Another root in its place is noticed.
    fs::write(&root, [7; 32]).unwrap();
    fs::set_permissions(&root, fs::Permissions::from_mode(0o600)).unwrap();
    host.restart();
    assert_eq!(host.provider("soft")["state"], "down");
    host.unseal("a", &sealed).problem(409, "wrong_device");
    fs::write(&root, kept).unwrap();
    host.restart();
    assert_eq!(host.unseal("a", &sealed).text("plaintext"), b64("x"));
}

#[test]
fn host_with_nothing_but_a_lost_root_does_not_start() {
    let mut host = Setup::soft().start();
    assert!(host.stop().success());
    fs::remove_file(host.state_dir().join("soft.root")).unwrap();
    assert!(!host.try_start().unwrap_err().success());
    assert!(host.log().contains("soft.root is gone"), "{}", host.log());
}

#[test]
fn root_that_others_can_read_is_refused() {
    let mut host = Setup::soft().start();
    assert!(host.stop().success());
    let root = host.state_dir().join("soft.root");
    assert_eq!(fs::metadata(&root).unwrap().permissions().mode() & 0o777, 0o600);
    fs::set_permissions(&root, fs::Permissions::from_mode(0o640)).unwrap();
    assert!(!host.try_start().unwrap_err().success());
    assert!(host.log().contains("soft.root"), "{}", host.log());
}
