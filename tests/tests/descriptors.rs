//! What a worker has open: nothing of what the host was started with.
#![expect(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    reason = "integration tests, and what they share"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tests::sealhost::{built, children, signal};
use tests::{Sealhost, Setup};

/// What a process has open beyond its standard streams.
fn open_in(pid: u32) -> Vec<PathBuf> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().map(Result::unwrap);
    let further = entries.filter(|entry| {
        let number: u32 = entry.file_name().to_str().unwrap().parse().unwrap();
        number > 2
    });
    // One that is closed meanwhile is not what we look for.
    further.filter_map(|entry| fs::read_link(entry.path()).ok()).collect()
}

/// Starts a host by a shell that leaves it a file as descriptors 7 and 200, and looks at what host
/// and worker have open.
#[track_caller]
fn check(host: &Sealhost, left_open: &Path) {
    fs::write(left_open, "of another program").unwrap();
    let script = "exec 7<\"$2\" 200<\"$2\"; exec \"$0\" --config \"$1\"";
    let mut command = Command::new("bash");
    command.args(["-c", script]).args([&built("sealhost"), &host.config_path(), left_open]);
    let mut child = Started(command.stdin(Stdio::null()).spawn().unwrap());
    host.wait_until("the socket", |host| host.socket().exists());
    let workers = children(child.0.id());
    assert_eq!(workers.len(), 1);
    let in_host = open_in(child.0.id());
    assert!(!in_host.iter().any(|path| path == left_open), "{in_host:?}");
    let in_worker = open_in(workers[0]);
    let state = host.state_dir();
    assert_eq!(in_worker.len(), 1, "{in_worker:?}");
    assert!(in_worker[0].starts_with(&state), "{in_worker:?}");
    signal(child.0.id(), "TERM");
    assert_eq!(child.0.wait().unwrap().code(), Some(0));
}

/// A host that does not outlive its test.
struct Started(Child);

impl Drop for Started {
    fn drop(&mut self) {
        let _gone_already = self.0.kill();
        let _gone_already = self.0.wait();
    }
}

#[test]
fn worker_has_nothing_open_but_its_socket_the_log_and_the_lock() {
    let host = Setup::default().with_soft_worker("worker").prepare();
    check(&host, &host.dir().join("left-open"));
}
