//! `[listen] group`: who can reach the socket at all, before any rule.
#![expect(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    reason = "integration tests, and what they share"
)]

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::process::Command;

use tests::sealhost::built;
use tests::{Sealhost, Setup, User};

/// A host whose socket belongs to a group of the machine.
fn prepared(group: &str) -> Sealhost {
    let host = Setup::soft().prepare();
    let text = fs::read_to_string(host.config_path()).unwrap();
    let listen = format!("[listen]\ngroup = \"{group}\"\n");
    fs::write(host.config_path(), text.replace("[listen]\n", &listen)).unwrap();
    fs::set_permissions(host.dir(), fs::Permissions::from_mode(0o711)).unwrap();
    host
}

/// The first group of the machine that is not root's, with its number.
fn group() -> (String, u32) {
    let groups = fs::read_to_string("/etc/group").unwrap();
    let groups = groups.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let mut groups = groups.map(|entry| (entry[0].to_owned(), entry[2].parse::<u32>().unwrap()));
    groups.find(|(_, gid)| *gid != 0).unwrap()
}

/// Tries to connect as a user; what happens must fit.
#[track_caller]
fn check(host: &Sealhost, user: &User, connects: bool) {
    let socket = host.socket();
    let connected = user.does(|| UnixStream::connect(socket));
    match connected {
        Ok(_) => assert!(connects, "{user:?} reached the socket"),
        Err(error) => {
            assert!(!connects, "{user:?}: {error}");
            assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied);
        }
    }
}

#[test]
fn socket_is_for_its_group_only() {
    let (name, gid) = group();
    let mut host = prepared(&name);
    host.start();
    let file = fs::metadata(host.socket()).unwrap();
    assert_eq!((file.gid(), file.permissions().mode() & 0o7777), (gid, 0o660));
    check(&host, &User { groups: vec![gid], ..User::new(4242) }, true);
    check(&host, &User { gid, ..User::new(4242) }, true);
    check(&host, &User::new(4242), false);
}

#[test]
fn group_that_does_not_exist_is_refused() {
    let host = prepared("no-such-group");
    let output = Command::new(built("sealhost")).arg("--config").arg(host.config_path()).output();
    let output = output.unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("there is no group \"no-such-group\"; create it"), "{said}");
    assert!(!host.socket().exists());
}
