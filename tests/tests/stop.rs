//! The end of the daemon: what is in flight finishes, and nothing stays behind.
#![expect(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    reason = "integration tests, and what they share"
)]

use std::os::unix::net::UnixStream;
use std::process::Command;

use nix::sys::ptrace;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use serde_json::{Value, json};
use swtpm_fixtures::Swtpm;
use tests::sealhost::{built, signal};
use tests::{Sealhost, Setup, audit};

/// Stops a host, and looks at status, socket, workers and the last line of the audit.
#[track_caller]
fn check(host: &mut Sealhost) {
    let workers = host.workers();
    let status = host.stop();
    assert_eq!(status.code(), Some(0), "{}", host.log());
    assert!(!host.socket().exists());
    for worker in workers {
        let state = std::fs::read_to_string(format!("/proc/{worker}/status")).unwrap_or_default();
        assert!(!state.contains("sealhost"), "worker {worker} is left: {state}");
    }
    assert_eq!(audit::last(&host.verified_audit())["kind"], "stop");
}

#[test]
fn idle_host_stops_clean() {
    check(&mut Setup::soft().with_soft_worker("worker").start());
}

#[test]
fn host_with_idle_connections_stops_without_waiting_for_them() {
    let mut host = Setup::soft().start();
    let _streams: Vec<_> = (0..8).map(|_| UnixStream::connect(host.socket()).unwrap()).collect();
    assert_eq!(host.get("/v1/status").status, 200);
    let begun = std::time::Instant::now();
    check(&mut host);
    assert!(begun.elapsed().as_secs() < 20, "it waited for idle connections");
}

#[test]
fn request_in_flight_is_answered_before_the_end() {
    let mut swtpm = Swtpm::start().unwrap();
    let mut host = Setup::default().with_tpm(&swtpm).start();
    host.create("a", "mac", "tpm");
    swtpm.suspend().unwrap();
    let rotated = std::thread::scope(|scope| {
        let socket = host.socket();
        let flying =
            scope.spawn(move || tests::http::request(&socket, "POST", "/v1/keys/a/rotate", b"{}"));
        let intended = |line: &Value| line["operation"] == "rotate" && line["kind"] == "intent";
        host.wait_until("the intent", |host| host.audit().iter().any(intended));
        host.signal("TERM");
        host.wait_until("the end of listening", |host| UnixStream::connect(host.socket()).is_err());
        swtpm.resume().unwrap();
        flying.join().unwrap()
    });
    assert_eq!(rotated.ok()["versions"].as_array().unwrap().len(), 2);
    check(&mut host);
    let outcome = host.audit_of(rotated.id());
    assert_eq!((&outcome[1]["kind"], &outcome[1]["outcome"]), (&json!("outcome"), &json!("ok")));
    host.start();
    assert_eq!(host.get("/v1/keys/a").ok(), rotated.ok());
}

#[test]
fn host_asked_to_stop_while_a_device_is_silent_does_not_wait_for_it() {
    let mut swtpm = Swtpm::start().unwrap();
    swtpm.suspend().unwrap();
    let provider = format!(
        "name = \"tpm\"\nplugin = \"provider_tpm\"\n\
         [provider.settings]\ntcti = \"{}\"\n[provider.deadlines]\nopen = \"10m\"\n",
        swtpm.tcti()
    );
    let host = Setup::default().with_provider(&provider).prepare();
    let mut command = Command::new(built("sealhost"));
    let mut child = command.arg("--config").arg(host.config_path()).spawn().unwrap();
    // The audit is begun before the providers are opened, and after signals are listened to.
    host.wait_until("the first record", |host| {
        std::fs::read(host.audit_path()).is_ok_and(|text| !text.is_empty())
    });
    signal(child.id(), "TERM");
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(!host.socket().exists());
    let _whole = host.verified_audit();
}

#[test]
fn second_signal_changes_nothing() {
    let mut host = Setup::soft().start();
    host.signal("TERM");
    host.signal("HUP");
    check(&mut host);
}

#[test]
fn socket_that_somebody_else_put_in_its_place_stays() {
    let mut host = Setup::soft().start();
    std::fs::remove_file(host.socket()).unwrap();
    std::fs::write(host.socket(), "not ours").unwrap();
    assert_eq!(host.stop().code(), Some(0));
    assert_eq!(std::fs::read_to_string(host.socket()).unwrap(), "not ours");
}

/// A worker under our eyes: though killed, it stays in the process table until we let it go, as
/// one does that the kernel keeps in a device call.
struct Held(Pid);

impl Held {
    fn take(worker: u32) -> Self {
        let worker = Pid::from_raw(i32::try_from(worker).unwrap());
        ptrace::seize(worker, ptrace::Options::empty()).unwrap();
        Self(worker)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let _gone_already = waitpid(self.0, Some(WaitPidFlag::__WALL));
    }
}

#[test]
fn worker_that_cannot_end_delays_the_end_by_seconds_only() {
    let mut host = Setup::soft().with_soft_worker("worker").start();
    let worker = host.workers()[0];
    let held = Held::take(worker);
    signal(worker, "KILL");
    host.wait_until("the note of the loss", |host| host.log().contains("worker lost"));
    let begun = std::time::Instant::now();
    host.signal("TERM");
    let program = format!("/proc/{}/exe", host.pid());
    host.wait_until("the end", |_host| std::fs::read_link(&program).is_err());
    assert!(begun.elapsed().as_secs() < 20, "it waited for a worker that cannot end");
    assert_eq!(host.stop().code(), Some(0), "{}", host.log());
    assert!(host.log().contains("left as they are"), "{}", host.log());
    drop(held);
    assert_eq!(audit::last(&host.verified_audit())["kind"], "stop");
}
