//! Real sockets in real directories.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener as StdListener;
use std::os::unix::net::UnixStream;

use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::*;

/// What stood at the socket's path before the daemon came.
enum Before {
    Nothing,
    File,
    Directory,
    DeadSocket,
    LiveSocket,
    DatagramSocket,
    LinkToLiveSocket,
}

fn prepare(dir: &Path, before: &Before) -> Option<StdListener> {
    let path = dir.join("s");
    match before {
        Before::Nothing => None,
        Before::File => {
            fs::write(&path, b"precious").unwrap();
            None
        }
        Before::Directory => {
            fs::create_dir(&path).unwrap();
            None
        }
        Before::DeadSocket => {
            drop(StdListener::bind(&path).unwrap());
            None
        }
        Before::LiveSocket => Some(StdListener::bind(&path).unwrap()),
        Before::DatagramSocket => {
            let socket = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
            Some(StdListener::from(OwnedFd::from(socket)))
        }
        Before::LinkToLiveSocket => {
            std::os::unix::fs::symlink("elsewhere", &path).unwrap();
            Some(StdListener::bind(dir.join("elsewhere")).unwrap())
        }
    }
}

/// Binds where `before` stood; `None` when it listens and answers, else a part of the message.
#[track_caller]
fn check(before: &Before, refusal: Option<&str>) {
    let dir = tempfile::tempdir().unwrap();
    let _held = prepare(dir.path(), before);
    let outcome = try_bind(&dir, 0o600, None);
    match (outcome, refusal) {
        (Ok((_listener, file, _runtime)), None) => {
            UnixStream::connect(file.path()).unwrap();
            assert_eq!(names(&dir), ["s"]);
        }
        (Err(error), Some(part)) => {
            assert!(error.to_string().contains(part), "{error}");
            assert!(fs::symlink_metadata(dir.path().join("s")).is_ok(), "what was there is gone");
        }
        (outcome, _) => panic!("{outcome:?}"),
    }
}

type Bound = (UnixListener, SocketFile, Runtime);

fn try_bind(dir: &TempDir, mode: u32, group: Option<&str>) -> Result<Bound, ListenError> {
    try_bind_at(dir.path().join("s"), mode, group)
}

fn try_bind_at(path: PathBuf, mode: u32, group: Option<&str>) -> Result<Bound, ListenError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _inside = runtime.enter();
    let endpoint = Endpoint { path, mode, group: group.map(str::to_owned) };
    let (listener, file) = bind(&endpoint)?;
    drop(_inside);
    Ok((listener, file, runtime))
}

fn names(dir: &TempDir) -> Vec<String> {
    let entries = fs::read_dir(dir.path()).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn absent_path_is_bound() {
    check(&Before::Nothing, None);
}

#[test]
fn socket_of_a_dead_daemon_is_replaced() {
    check(&Before::DeadSocket, None);
}

#[test]
fn socket_of_a_live_daemon_is_refused() {
    check(&Before::LiveSocket, Some("another process answers on"));
}

#[test]
fn datagram_socket_is_refused() {
    check(&Before::DatagramSocket, Some("another process answers on"));
}

#[test]
fn file_is_refused_and_stays() {
    check(&Before::File, Some("is not a socket"));
}

#[test]
fn directory_is_refused_and_stays() {
    check(&Before::Directory, Some("is not a socket"));
}

#[test]
fn link_is_refused_and_stays() {
    check(&Before::LinkToLiveSocket, Some("is not a socket"));
}

#[test]
fn live_daemon_with_a_full_queue_is_not_taken_for_dead() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let socket = bound(&path).unwrap();
    rustix::net::listen(&socket, 0).unwrap();
    let _first = UnixStream::connect(&path).unwrap();
    assert!(matches!(try_bind(&dir, 0o600, None), Err(ListenError::InUse { .. })));
}

#[test]
fn mode_is_set_whatever_the_umask() {
    for mode in [0o600, 0o660, 0o666] {
        let dir = tempfile::tempdir().unwrap();
        let (_listener, file, _runtime) = try_bind(&dir, mode, None).unwrap();
        assert_eq!(fs::metadata(file.path()).unwrap().permissions().mode() & 0o777, mode);
    }
}

#[test]
fn mode_beyond_permissions_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    assert!(try_bind(&dir, 0o777, None).is_ok());
    assert!(matches!(try_bind(&dir, 0o1000, None), Err(ListenError::Mode { mode: 0o1000 })));
}

#[test]
fn group_is_set_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let (_listener, file, _runtime) = try_bind(&dir, 0o660, Some("daemon")).unwrap();
    let wanted = Group::from_name("daemon").unwrap().unwrap().gid.as_raw();
    assert_eq!(fs::metadata(file.path()).unwrap().gid(), wanted);
}

#[test]
fn unknown_group_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let error = try_bind(&dir, 0o660, Some("nosuchgroup")).unwrap_err();
    assert!(error.to_string().starts_with("there is no group \"nosuchgroup\""), "{error}");
    assert!(names(&dir).is_empty());
}

#[test]
fn directory_open_to_others_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
    assert!(matches!(
        try_bind(&dir, 0o600, None),
        Err(ListenError::Trust(TrustError::Writable { .. }))
    ));
}

#[test]
fn path_of_the_limit_is_bound_and_one_byte_more_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let room = SOCKET_PATH_BYTES - dir.path().as_os_str().len() - 1;
    let at_limit = dir.path().join("s".repeat(room));
    let (_listener, file, _runtime) = try_bind_at(at_limit, 0o600, None).unwrap();
    UnixStream::connect(file.path()).unwrap();
    let error = try_bind_at(dir.path().join("s".repeat(room + 1)), 0o600, None).unwrap_err();
    assert!(error.to_string().contains("of 108 bytes exceeds limit of 107"), "{error}");
}

#[test]
fn socket_file_is_removed_at_the_end() {
    let dir = tempfile::tempdir().unwrap();
    drop(try_bind(&dir, 0o600, None).unwrap());
    assert!(names(&dir).is_empty());
}

#[test]
fn socket_file_of_a_successor_stays() {
    let dir = tempfile::tempdir().unwrap();
    let (listener, file, _runtime) = try_bind(&dir, 0o600, None).unwrap();
    fs::remove_file(file.path()).unwrap();
    let _successor = StdListener::bind(dir.path().join("s")).unwrap();
    drop((listener, file));
    assert_eq!(names(&dir), ["s"]);
}
