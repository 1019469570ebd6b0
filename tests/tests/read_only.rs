//! A file system that is read-only when a daemon starts: it says which file it cannot write and
//! does not serve; when it is writable again everything is there. (Under a running daemon the
//! kernel refuses such a remount; `storage_faults.rs` gives it `EROFS`.)
#![expect(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    reason = "integration tests, and what they share"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tests::{SecretSetup, Setup, b64};

/// A file system of its own, mounted over a directory.
struct Disk(PathBuf);

impl Disk {
    fn mount_over(directory: &Path) -> Self {
        fs::create_dir_all(directory).unwrap();
        mount(&["-t", "tmpfs", "-o", "size=16m,mode=0700", "tmpfs"], directory);
        Self(directory.to_owned())
    }

    fn become_read_only(&self) {
        mount(&["-o", "remount,ro"], &self.0);
    }

    fn become_writable(&self) {
        mount(&["-o", "remount,rw"], &self.0);
    }
}

fn mount(arguments: &[&str], directory: &Path) {
    let mounted = Command::new("mount").args(arguments).arg(directory).status().unwrap();
    assert!(mounted.success(), "mount needs root");
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _left_behind = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

/// Starts a host whose state or audit is on a read-only file system.
#[track_caller]
fn check(name: &str, expected: &str) {
    let dir = tempfile::tempdir().unwrap();
    let audit = dir.path().join("audit");
    fs::create_dir(&audit).unwrap();
    let mut host = Setup::soft().with_audit(&audit.join("audit.log")).prepare();
    let disk = Disk::mount_over(&if name == "audit" { audit } else { host.state_dir() });
    host.start();
    host.create("a", "seal", "soft");
    let sealed = host.seal("a", "text");
    assert!(host.stop().success());
    disk.become_read_only();
    let status = host.try_start().unwrap_err();
    assert_eq!(status.code(), Some(1));
    assert!(host.log().contains(expected), "{}", host.log());
    disk.become_writable();
    host.start();
    assert_eq!(host.unseal("a", &sealed).text("plaintext"), b64("text"));
    assert!(host.stop().success());
    let _whole = host.verified_audit();
}

#[test]
fn host_on_read_only_state_says_so_and_does_not_start() {
    check("state", "Read-only file system");
}

#[test]
fn host_on_a_read_only_audit_says_so_and_does_not_start() {
    check("audit", "audit.log");
}

#[test]
fn secret_manager_on_read_only_state_says_so_and_does_not_start() {
    let host = Setup::soft().start();
    let mut manager = SecretSetup::file().prepare(&host);
    let disk = Disk::mount_over(&manager.state_dir());
    manager.start();
    manager.store("a", "alpha");
    assert!(manager.stop().success());
    disk.become_read_only();
    assert_eq!(manager.try_start(&[]).unwrap_err().code(), Some(1));
    assert!(manager.log().contains("Read-only file system"), "{}", manager.log());
    disk.become_writable();
    manager.start();
    assert_eq!(manager.value("a"), b"alpha");
}
