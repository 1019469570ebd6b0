//! Tokens and modules that fail under a running host, through a module in front of SoftHSM that
//! fails when it is told to: what the caller sees, that the other provider works on, and how soon
//! the same key answers again. The host is never restarted.
#![expect(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "integration tests, and what they share"
)]

use std::fs;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use swtpm_fixtures::SoftHsm;
use tests::shim::{ALWAYS, ONCE};
use tests::{Response, Sealhost, Setup, Shim, b64, sealhost};

const HOST_MEMORY: u64 = 0x02;
const GENERAL_ERROR: u64 = 0x05;
const FUNCTION_FAILED: u64 = 0x06;
const DEVICE_ERROR: u64 = 0x30;
const DEVICE_REMOVED: u64 = 0x32;
const SESSION_HANDLE_INVALID: u64 = 0xB3;
const TOKEN_NOT_PRESENT: u64 = 0xE0;
const USER_NOT_LOGGED_IN: u64 = 0x101;

const DEADLINES: &str = "[provider.deadlines]\nopen = \"3s\"\nmac = \"1s\"\ngenerate = \"2s\"\n";

/// A host with `soft`, and a token `hsm` behind the module with a mac key `m`.
struct Bench {
    hsm: SoftHsm,
    shim: Shim,
    host: Sealhost,
    /// The answer of `m`.
    before: String,
}

impl Bench {
    fn start() -> Self {
        let hsm = SoftHsm::start("edge", "1234").unwrap();
        let shim = Shim::over(&hsm);
        shim.control(&[]);
        let host = Setup::soft().with_provider(&shim.provider("hsm", &hsm, DEADLINES)).start();
        host.wait_until("opening it", |host| host.provider("hsm")["state"] == "open");
        host.create("m", "mac", "hsm");
        host.create("other", "mac", "soft");
        let before = mac(&host, "m").text("mac");
        Self { hsm, shim, host, before }
    }

    /// Waits until the key answers as before, and says how long that took.
    #[track_caller]
    fn recovers_within(&self, limit: Duration) {
        let begun = Instant::now();
        self.host.wait_until("answering again", |host| mac(host, "m").status == 200);
        let took = begun.elapsed();
        assert_eq!(mac(&self.host, "m").text("mac"), self.before);
        assert!(took < limit, "{took:?}");
        println!("good answer after {took:?}");
    }

    fn soft_works(&self) {
        let begun = Instant::now();
        mac(&self.host, "other").done();
        assert!(begun.elapsed() < Duration::from_millis(900), "{:?}", begun.elapsed());
    }

    fn state(&self) -> Value {
        self.host.provider("hsm")["state"].clone()
    }
}

fn mac(host: &Sealhost, key: &str) -> Response {
    host.post(&format!("/v1/keys/{key}/mac"), json!({"message": b64("x")}))
}

/// Lets one call of a function fail: what the caller sees, how many logins and initializations it
/// takes, and that the next request works.
#[track_caller]
fn check(function: &str, rv: u64, expected: Result<(), (u16, &str)>, calls: (usize, usize)) {
    let bench = Bench::start();
    bench.shim.control(&[(function, ONCE, "rv", rv)]);
    let reply = mac(&bench.host, "m");
    match expected {
        Ok(()) => assert_eq!(reply.text("mac"), bench.before),
        Err((status, code)) => drop(reply.problem(status, code)),
    }
    bench.soft_works();
    bench.recovers_within(Duration::from_secs(5));
    let (logins, starts) = (bench.shim.calls("C_Login"), bench.shim.calls("C_Initialize"));
    assert_eq!((logins, starts), calls);
}

#[test]
fn sessions_that_were_dropped_are_opened_anew() {
    check("C_SignInit", SESSION_HANDLE_INVALID, Ok(()), (1, 0));
    check("C_Sign", SESSION_HANDLE_INVALID, Ok(()), (1, 0));
}

#[test]
fn user_who_was_logged_out_underneath_logs_in_anew() {
    check("C_SignInit", USER_NOT_LOGGED_IN, Ok(()), (1, 0));
    check("C_Sign", USER_NOT_LOGGED_IN, Ok(()), (1, 0));
}

#[test]
fn device_that_is_removed_for_one_call_is_not_noticed() {
    check("C_Sign", DEVICE_REMOVED, Ok(()), (1, 0));
}

#[test]
fn token_that_is_not_present_for_one_call_is_not_noticed() {
    check("C_SignInit", TOKEN_NOT_PRESENT, Ok(()), (1, 0));
}

#[test]
fn device_error_of_one_call_is_not_noticed() {
    check("C_Sign", DEVICE_ERROR, Ok(()), (1, 0));
    check("C_SignInit", GENERAL_ERROR, Ok(()), (1, 0));
}

#[test]
fn module_without_memory_is_unavailable_for_one_call() {
    check("C_Sign", HOST_MEMORY, Err((503, "unavailable")), (0, 0));
}

#[test]
fn function_that_failed_is_internal_for_one_call() {
    check("C_Sign", FUNCTION_FAILED, Err((500, "internal")), (0, 0));
}

#[test]
fn network_device_that_fails_for_a_while_serves_again() {
    let bench = Bench::start();
    let failing =
        ["C_SignInit", "C_Sign", "C_OpenSession", "C_GetTokenInfo", "C_GetSessionInfo", "C_Login"];
    bench.shim.control(&failing.map(|function| (function, ALWAYS, "rv", DEVICE_ERROR)));
    for _ in 0..3 {
        let begun = Instant::now();
        mac(&bench.host, "m").problem(503, "unavailable");
        assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
        bench.soft_works();
    }
    bench.host.wait_until("noticing", |host| host.provider("hsm")["state"] == "down");
    // No PIN is shown to a device that does not answer.
    assert_eq!(bench.shim.calls("C_Login"), 0);
    bench.shim.control(&[]);
    bench.recovers_within(Duration::from_secs(5));
    assert_eq!(bench.shim.calls("C_Login"), 1);
}

#[test]
fn token_that_is_pulled_and_replugged_serves_again() {
    let bench = Bench::start();
    bench.hsm.remove_token().unwrap();
    mac(&bench.host, "m").problem(503, "unavailable");
    bench.soft_works();
    bench.hsm.restore_token().unwrap();
    bench.recovers_within(Duration::from_secs(5));
}

#[test]
fn token_that_was_initialized_anew_is_another_device_and_its_keys_are_named() {
    let bench = Bench::start();
    bench.hsm.initialize_anew("1234").unwrap();
    bench.host.wait_until("noticing", |host| mac(host, "m").status != 200);
    bench.host.wait_until("wrong device", |host| {
        let reply = mac(host, "m");
        reply.status == 409 && reply.json()["code"] == "wrong_device"
    });
    assert_eq!(bench.state(), "down");
    let reason = |host: &Sealhost| host.provider("hsm")["reason"].to_string();
    assert!(reason(&bench.host).contains("not the recorded token"), "{}", reason(&bench.host));
    bench.host.wait_until("saying what to do", |host| {
        reason(host).contains("connect the recorded device again")
    });
    let problem = mac(&bench.host, "m").problem(409, "wrong_device");
    assert_eq!((problem["key"].as_str(), problem["retryable"].as_bool()), (Some("m"), Some(false)));
    bench.soft_works();
    // It does not come back by itself, nor is anything made on it.
    bench
        .host
        .post("/v1/keys/new", json!({"usage": "mac", "providers": ["hsm"]}))
        .problem(503, "unavailable");
    assert_eq!(bench.hsm.objects().unwrap(), 0);
}

#[test]
fn new_version_of_a_module_is_taken_by_the_next_worker() {
    let bench = Bench::start();
    let firmware = |host: &Sealhost| host.provider("hsm")["firmware"].to_string();
    assert!(firmware(&bench.host).contains("v2 1."), "{}", firmware(&bench.host));
    bench.shim.replace(2);
    // The worker has the old file, which is still whole.
    assert_eq!(mac(&bench.host, "m").text("mac"), bench.before);
    assert!(firmware(&bench.host).contains("v2 1."));
    sealhost::signal(bench.host.workers()[0], "KILL");
    bench.recovers_within(Duration::from_secs(5));
    assert!(firmware(&bench.host).contains("v2 2."), "{}", firmware(&bench.host));
}

/// Lets the module do something in a call of a request: what the caller sees, in bounded time.
#[track_caller]
fn check_in_mac(action: &str, number: u64, status: u16, code: &str) {
    let bench = Bench::start();
    bench.shim.control(&[("C_Sign", ONCE, action, number)]);
    let begun = Instant::now();
    mac(&bench.host, "m").problem(status, code);
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    bench.soft_works();
    bench.shim.control(&[]);
    bench.recovers_within(Duration::from_secs(5));
}

#[test]
fn module_that_crashes_in_a_request_is_replaced() {
    check_in_mac("crash", 0, 503, "unavailable");
}

#[test]
fn module_that_hangs_in_a_request_is_ended_at_the_deadline() {
    check_in_mac("hang", 0, 504, "timeout");
}

#[test]
fn module_that_is_slow_is_only_slow() {
    let bench = Bench::start();
    bench.shim.control(&[("C_Sign", ALWAYS, "sleep", 100)]);
    let begun = Instant::now();
    assert_eq!(mac(&bench.host, "m").text("mac"), bench.before);
    assert!(begun.elapsed() >= Duration::from_millis(100));
    bench.soft_works();
}

#[test]
fn module_that_leaks_takes_memory_of_its_worker_alone() {
    let bench = Bench::start();
    let resident = |pid: u32| {
        let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = text.lines().find(|line| line.starts_with("VmRSS:")).unwrap().to_owned();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
    };
    let worker = bench.host.workers()[0];
    let before = (resident(worker), resident(bench.host.pid()));
    bench.shim.control(&[("C_Sign", ALWAYS, "leak", 8 << 20)]);
    for _ in 0..4 {
        mac(&bench.host, "m").done();
    }
    assert!(resident(worker) >= before.0 + (30 << 10));
    assert!(resident(bench.host.pid()) < before.1 + (8 << 10));
}

/// Lets the module do something while it is opened: the host starts all the same, and opens it as
/// soon as it can be.
#[track_caller]
fn check_in_open(function: &str, action: &str) {
    let mut bench = Bench::start();
    assert!(bench.host.stop().success());
    bench.shim.control(&[(function, ALWAYS, action, 0)]);
    let begun = Instant::now();
    bench.host.start();
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    bench.soft_works();
    mac(&bench.host, "m").problem(503, "unavailable");
    assert_eq!(bench.state(), "down");
    bench.shim.control(&[]);
    bench.recovers_within(Duration::from_secs(12));
}

#[test]
fn module_that_crashes_when_it_is_opened_does_not_keep_the_host_from_starting() {
    check_in_open("C_Initialize", "crash");
    check_in_open("C_Login", "crash");
}

#[test]
fn module_that_hangs_when_it_is_opened_does_not_keep_the_host_from_starting() {
    check_in_open("C_Initialize", "hang");
    check_in_open("C_OpenSession", "hang");
}

/// Lets the module do something while it is closed: the host ends in time, and all is well when it
/// starts again.
#[track_caller]
fn check_in_close(function: &str, action: &str) {
    let mut bench = Bench::start();
    bench.shim.control(&[(function, ALWAYS, action, 0)]);
    let begun = Instant::now();
    assert!(bench.host.stop().success(), "{}", bench.host.log());
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    println!("ended after {:?}", begun.elapsed());
    bench.shim.control(&[]);
    bench.host.start();
    bench.recovers_within(Duration::from_secs(5));
}

#[test]
fn module_that_crashes_when_it_is_closed_does_not_keep_the_host_from_ending() {
    check_in_close("C_Finalize", "crash");
    check_in_close("C_CloseSession", "crash");
}

#[test]
fn module_that_hangs_when_it_is_closed_does_not_keep_the_host_from_ending() {
    check_in_close("C_Finalize", "hang");
    check_in_close("C_CloseSession", "hang");
}

#[test]
fn key_whose_making_was_cut_short_leaves_nothing_on_the_token() {
    let bench = Bench::start();
    let objects = bench.hsm.objects().unwrap();
    for (function, action) in
        [("C_GenerateKey", "hang"), ("C_Sign", "crash"), ("C_GenerateKey", "crash")]
    {
        bench.shim.control(&[(function, ONCE, action, 0)]);
        let reply = bench.host.post("/v1/keys/new", json!({"usage": "mac", "providers": ["hsm"]}));
        assert!([503, 504].contains(&reply.status), "{reply:?}");
        bench.shim.control(&[]);
        bench.recovers_within(Duration::from_secs(5));
        bench.host.get("/v1/keys/new").problem(404, "not_found");
        bench.host.wait_until("nothing is left", |_| bench.hsm.objects().unwrap() == objects);
    }
}
