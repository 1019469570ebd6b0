//! Sockets that a service manager opened before it started the daemon.
#![expect(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    reason = "integration tests, and what they share"
)]

use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tests::http::try_request;
use tests::sealhost::{built, signal};
use tests::{Sealhost, Setup};

/// Starts the daemon with a descriptor as number 3, as a service manager would, and returns
/// whether it served on the socket and its exit status after SIGTERM.
#[track_caller]
fn check(host: &Sealhost, passed: OwnedFd, socket: &Path, serves: bool) -> String {
    let log = host.dir().join("activated.log");
    let mut child = spawn(host, passed, &log);
    let answered = wait_for_answer(&mut child, socket);
    assert_eq!(answered, serves, "{}", std::fs::read_to_string(&log).unwrap());
    if answered {
        signal(child.id(), "TERM");
    }
    let status = child.wait().unwrap();
    assert_eq!(status.code(), Some(i32::from(!serves)));
    std::fs::read_to_string(&log).unwrap()
}

fn spawn(host: &Sealhost, passed: OwnedFd, log: &Path) -> Child {
    let script = "exec 3<&0 0</dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\" --config \"$1\"";
    let mut command = Command::new("sh");
    command.args(["-c", script]).arg(built("sealhost")).arg(host.config_path());
    let log = std::fs::File::create(log).unwrap();
    command.stdin(Stdio::from(passed)).stdout(Stdio::null()).stderr(log).spawn().unwrap()
}

/// Whether the daemon answers before it ends. The socket is there before the daemon, so the first
/// request waits in its queue.
fn wait_for_answer(child: &mut Child, socket: &Path) -> bool {
    loop {
        match try_request(socket, "GET", "/v1/status", b"") {
            Ok(reply) => return reply.status == 200,
            Err(error) => {
                if child.try_wait().unwrap().is_some() {
                    return false;
                }
                assert_ne!(error.kind(), std::io::ErrorKind::WouldBlock, "no answer in time");
                std::thread::yield_now();
            }
        }
    }
}

#[test]
fn passed_socket_is_served_and_stays_after_the_end() {
    let host = Setup::soft().prepare();
    let path = host.dir().join("activated.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let ours = listener.try_clone().unwrap();
    check(&host, listener.into(), &path, true);
    assert!(path.exists(), "it belongs to the service manager");
    assert!(!host.socket().exists(), "the configured socket is not made");
    // The next start serves on the same socket.
    check(&host, ours.into(), &path, true);
}

#[test]
fn passed_socket_that_does_not_fit_is_refused() {
    let host = Setup::soft().prepare();
    let path = host.dir().join("activated.sock");
    let datagram = UnixDatagram::bind(&path).unwrap();
    let log = check(&host, datagram.into(), &path, false);
    assert!(log.contains("use ListenStream="), "{log}");
}
