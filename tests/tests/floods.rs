//! One user's floods: everybody else is served meanwhile, and nothing of them stays.
#![expect(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    reason = "integration tests, and what they share"
)]

use std::fs;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::{Value, json};
use tests::http::{self, Kept};
use tests::sealhost::{built, signal};
use tests::{Sealhost, Setup, User, b64};

const GREEDY: u32 = 4302;
/// Longer than any answer may take beside a flood; on a quiet machine they take less than 50 ms.
const PATIENCE: Duration = Duration::from_secs(5);
/// What the host's memory may grow by: the bodies that one user may have, worked on.
const GROWTH_KIB: u64 = 160 * 1024;

const RULES: &str = "[[rule]]\nprincipal = { uid = 0 }\nkeys = [\"**\"]\noperations = [\"*\"]\n\
                     [[rule]]\nprincipal = { uid = 4302 }\nkeys = [\"a\"]\n\
                     operations = [\"seal\", \"random\"]\n";

fn host(limits: &str) -> Sealhost {
    let limits = format!("[limits]\n{limits}\n");
    let host = Setup::soft().for_everybody().with_rules(RULES).with(&limits).start();
    host.create("a", "seal", "soft");
    host
}

fn descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

fn resident_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Asks as another user, and compares how long the slowest answer took.
#[track_caller]
fn check_served(socket: &Path) {
    for _ in 0..20 {
        let begun = Instant::now();
        let reply = http::request(socket, "POST", "/v1/random", br#"{"bytes":1}"#);
        assert_eq!(reply.status, 200, "{}", String::from_utf8_lossy(&reply.body));
        assert!(begun.elapsed() < PATIENCE, "{:?}", begun.elapsed());
    }
}

/// Has a user do something to the host, and keeps what that left open; looks at how others fare
/// meanwhile, and at what is left after it.
#[track_caller]
fn check<T: Send>(host: &Sealhost, flood: impl FnOnce(&Path) -> T + Send) {
    check_served(&host.socket());
    let socket = host.socket();
    host.wait_until("quiet", |host| descriptors(host.pid()) < 40);
    let (open, resident) = (descriptors(host.pid()), resident_kib(host.pid()));
    let left = User::new(GREEDY).does(|| flood(&socket));
    check_served(&socket);
    let grown = resident_kib(host.pid()).saturating_sub(resident);
    assert!(grown < GROWTH_KIB, "{grown} KiB more");
    drop(left);
    host.wait_until("no descriptor of it", |host| descriptors(host.pid()) <= open);
    let served = |_: &Sealhost| {
        let asked = User::new(GREEDY).post(&socket, "/v1/random", json!({"bytes": 1}));
        asked.status == 200
    };
    host.wait_until("room for the user again", served);
    let _whole = host.verified_audit();
}

/// Connections that each send these bytes, and are kept.
fn connections(socket: &Path, number: usize, bytes: &[u8]) -> Vec<UnixStream> {
    let connect = |_| {
        let mut stream = UnixStream::connect(socket).unwrap();
        // One that is refused may be closed already.
        let _cut = stream.write_all(bytes);
        stream
    };
    (0..number).map(connect).collect()
}

#[test]
fn connections_that_send_nothing_hurt_nobody() {
    check(&host("connections_per_uid = 64"), |socket| connections(socket, 400, b""));
}

#[test]
fn halves_of_heads_hurt_nobody() {
    let half = b"POST /v1/keys/a/seal HTTP/1.1\r\nHost: x\r\nContent-Le";
    check(&host(""), |socket| connections(socket, 300, half));
}

#[test]
fn bodies_that_never_end_hurt_nobody() {
    let body = "x".repeat(100_000);
    let begun = format!(
        "POST /v1/keys/a/seal HTTP/1.1\r\nHost: x\r\nContent-Length: 4000000\r\n\r\n{body}"
    );
    check(&host(""), |socket| connections(socket, 300, begun.as_bytes()));
}

#[test]
fn replies_that_nobody_reads_hurt_nobody() {
    let body = json!({"plaintext": b64(vec![7; 700_000])}).to_string();
    let length = body.len();
    let request = format!(
        "POST /v1/keys/a/seal HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    check(&host("write_timeout = \"500ms\""), |socket| connections(socket, 24, request.as_bytes()));
}

#[test]
fn garbage_hurts_nobody() {
    let garbage: Vec<u8> = (0..=255).cycle().take(20_000).collect();
    check(&host(""), |socket| connections(socket, 300, &garbage));
}

/// Sends one request many times, and compares the answers and what the audit has of them.
#[track_caller]
fn check_refused(limits: &str, target: &str, body: &str, statuses: &[u16]) {
    const TIMES: u64 = 2_000;
    let mut host = host(limits);
    let begun = Instant::now();
    check(&host, |socket| {
        let mut connection = Kept::connect(socket).unwrap();
        for _ in 0..TIMES {
            let reply = connection.request("POST", target, body.as_bytes()).unwrap();
            assert!(statuses.contains(&reply.status), "{}", reply.status);
        }
    });
    let seconds = begun.elapsed().as_secs() + 1;
    assert!(host.stop().success());
    let lines = host.verified_audit();
    let of_user = lines.iter().filter(|line| line["principal"]["uid"] == json!(GREEDY));
    let refused: Vec<_> = of_user.filter(|line| line["outcome"] != "ok").collect();
    let counted: u64 = refused.iter().filter_map(|line| line["repeated"].as_u64()).sum();
    let single = |line: &&&Value| line["repeated"].is_null();
    let written = u64::try_from(refused.iter().filter(single).count()).unwrap();
    assert_eq!(written + counted, TIMES, "each is written or counted");
    assert!(written <= 10 * (seconds + 1), "{written} lines in {seconds} s");
}

#[test]
fn refusals_without_end_are_counted_in_the_audit() {
    check_refused("", "/v1/keys/b/seal", r#"{"plaintext":""}"#, &[403]);
}

#[test]
fn requests_for_nothing_are_counted_in_the_audit() {
    check_refused("", "/v1/nothing", "", &[404]);
}

#[test]
fn requests_that_are_no_json_are_counted_in_the_audit() {
    check_refused("", "/v1/keys/a/seal", "{", &[400]);
}

#[test]
fn requests_past_the_rate_are_busy_and_counted() {
    let host = host("rate_per_uid = 20");
    let statuses = User::new(GREEDY).does(|| {
        let mut connection = Kept::connect(&host.socket()).unwrap();
        let mut ask = || {
            let reply = connection.request("POST", "/v1/random", br#"{"bytes":1}"#).unwrap();
            if reply.status == 429 {
                assert_eq!(reply.header("retry-after"), Some("1"));
                assert_eq!(reply.problem(429, "busy")["retryable"], json!(true));
            }
            reply.status
        };
        (0..40).map(|_| ask()).collect::<Vec<_>>()
    });
    assert!(statuses[..20].iter().all(|status| *status == 200), "{statuses:?}");
    let refused = statuses.iter().filter(|status| **status == 429).count();
    assert!(refused > 0, "{statuses:?}");
    let metrics = host.get("/metrics");
    let metrics = String::from_utf8(metrics.body).unwrap();
    let line = format!("sealhost_refused_total{{limit=\"rate_per_uid\"}} {refused}");
    assert!(metrics.lines().any(|found| found == line), "{metrics}");
}

/// A host started by a shell with few descriptors; ended with the test.
struct Few(Child);

impl Drop for Few {
    fn drop(&mut self) {
        let _gone_already = self.0.kill();
        let _gone_already = self.0.wait();
    }
}

#[test]
fn host_with_few_descriptors_keeps_some_for_others() {
    let host = Setup::soft().for_everybody().with_rules(RULES).prepare();
    let log = fs::File::create(host.dir().join("log")).unwrap();
    let script = "ulimit -n 200; exec \"$0\" --config \"$1\"";
    let mut command = Command::new("bash");
    command.args(["-c", script]).args([&built("sealhost"), &host.config_path()]).stderr(log);
    let mut few = Few(command.stdin(Stdio::null()).spawn().unwrap());
    host.wait_until("the socket", |host| UnixStream::connect(host.socket()).is_ok());
    let log = host.log();
    assert!(log.contains("raise the service's LimitNOFILE=") && log.contains("connections=100"));
    let pid = few.0.id();
    let socket = host.socket();
    let flood = User::new(GREEDY).does(|| connections(&socket, 400, b"GET /v1"));
    check_served(&socket);
    assert!(descriptors(pid) < 200);
    drop(flood);
    host.wait_until("no descriptor of it", |_| descriptors(pid) < 40);
    assert!(!host.log().contains("cannot accept"), "{}", host.log());
    signal(pid, "TERM");
    assert_eq!(few.0.wait().unwrap().code(), Some(0));
}

/// CPU time of a process so far, in clock ticks of 10 ms.
fn ticks(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, fields) = stat.rsplit_once(')').unwrap();
    fields.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum()
}

#[test]
fn host_without_any_descriptor_left_waits_for_one_and_does_not_spin() {
    let host = host("");
    let mut held = Kept::connect(&host.socket()).unwrap();
    let mut ask = || held.request("POST", "/v1/random", br#"{"bytes":1}"#).unwrap().status;
    assert_eq!(ask(), 200);
    let pid = Pid::from_raw(i32::try_from(host.pid()).unwrap());
    let most = u64::try_from(descriptors(host.pid())).unwrap();
    let limit = |current| Rlimit { current: Some(current), maximum: Some(1024) };
    prlimit(pid, Resource::Nofile, limit(most)).unwrap();
    let waiting = connections(&host.socket(), 8, b"GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n");
    host.wait_until("the lack", |host| host.log().contains("cannot accept a connection"));
    let begun = ticks(host.pid());
    for _ in 0..50 {
        assert_eq!(ask(), 200, "who is connected is served");
        std::thread::sleep(Duration::from_millis(10));
    }
    let spent = ticks(host.pid()) - begun;
    assert!(spent < 25, "{spent} of 50 ticks");
    prlimit(pid, Resource::Nofile, limit(1024)).unwrap();
    for mut stream in waiting {
        let mut seen = [0; 12];
        std::io::Read::read_exact(&mut stream, &mut seen).unwrap();
        assert_eq!(&seen, b"HTTP/1.1 200");
    }
    check_served(&host.socket());
}
