//! Real connections of real processes with users and groups of their own.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Command;

use super::*;

/// Connects a process started by `setpriv` with these arguments, and returns who it is.
fn principal_of(setpriv: &[&str]) -> (Principal, u32) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = dir.path().join("s");
    let listener = UnixListener::bind(&path).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
    // perl-base is part of every Debian; it connects and waits until this side hangs up.
    let script = "use Socket; socket(S, PF_UNIX, SOCK_STREAM, 0) or die; \
                  connect(S, pack_sockaddr_un($ARGV[0])) or die; <S>";
    let mut child = Command::new("setpriv")
        .args(setpriv)
        .args(["perl", "-e", script])
        .arg(&path)
        .spawn()
        .unwrap();
    let (stream, _) = listener.accept().unwrap();
    let principal = authenticate(Peer::of(&stream).unwrap()).unwrap();
    drop(stream);
    assert!(child.wait().unwrap().success());
    (principal, child.id())
}

#[track_caller]
fn check(setpriv: &[&str], uid: u32, gid: u32, groups: &[u32]) {
    let (principal, pid) = principal_of(setpriv);
    let found = (principal.uid(), principal.gid(), principal.groups(), principal.pid());
    assert_eq!(found, (uid, gid, groups, Some(pid)));
}

#[test]
fn peer_of_another_user_has_its_uid_gid_and_pid() {
    check(&["--reuid=4001", "--regid=4005", "--clear-groups"], 4001, 4005, &[]);
}

#[test]
fn peer_with_supplementary_groups_has_them_sorted_and_once() {
    check(&["--reuid=4001", "--regid=4005", "--groups=9,7,9,8"], 4001, 4005, &[7, 8, 9]);
}

#[test]
fn peer_with_as_many_groups_as_the_first_try_has_them_all() {
    let groups: Vec<u32> = (1..=64).collect();
    check(&["--reuid=4001", "--regid=4005", &groups_argument(&groups)], 4001, 4005, &groups);
}

#[test]
fn peer_with_more_groups_than_the_first_try_has_them_all() {
    let groups: Vec<u32> = (1..=2000).collect();
    check(&["--reuid=4001", "--regid=4005", &groups_argument(&groups)], 4001, 4005, &groups);
}

#[test]
fn principal_is_in_its_primary_and_supplementary_groups_only() {
    let (principal, _) = principal_of(&["--reuid=4001", "--regid=4005", "--groups=7,9"]);
    let member = |gid| principal.is_in_group(gid);
    assert_eq!([member(4005), member(7), member(9), member(8), member(0)], {
        [true, true, true, false, false]
    });
}

#[test]
fn peer_of_an_unconnected_socket_is_nobody() {
    let unconnected = rustix::net::socket(
        rustix::net::AddressFamily::UNIX,
        rustix::net::SocketType::STREAM,
        None,
    )
    .unwrap();
    let refused = Peer::of(&unconnected).map_err(AuthnError::from).and_then(authenticate);
    assert!(refused.is_err(), "{refused:?}");
}

#[test]
fn peer_without_a_user_is_refused() {
    let nobody = Peer { uid: NO_UID, gid: 0, groups: Vec::new(), pid: Some(1), unit: None };
    assert!(matches!(authenticate(nobody), Err(AuthnError::Nobody)));
}

#[test]
fn peer_of_a_file_is_an_error() {
    assert!(Peer::of(tempfile::tempfile().unwrap()).is_err());
}

#[test]
fn peer_of_a_socket_pair_is_this_process() {
    let (one, _other) = UnixStream::pair().unwrap();
    let principal = authenticate(Peer::of(&one).unwrap()).unwrap();
    assert_eq!(principal.uid(), rustix::process::geteuid().as_raw());
    assert_eq!(principal.gid(), rustix::process::getegid().as_raw());
    assert_eq!(principal.pid(), Some(std::process::id()));
}

fn groups_argument(groups: &[u32]) -> String {
    let list: Vec<String> = groups.iter().map(u32::to_string).collect();
    format!("--groups={}", list.join(","))
}
