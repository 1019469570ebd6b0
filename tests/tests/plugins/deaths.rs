//! Workers that crash, end or hang in a call: what the caller gets and how soon, that the rest
//! goes on, and that the worker is back.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

use serde_json::json;
use tests::{Sealhost, b64};

use crate::bench::{
    Faulty, faulty, faulty_works, logged, mac, panics_in, soft_works, wait_until_open, waiting,
    within,
};

const SOON: Duration = Duration::from_secs(5);

/// A MAC that ends its worker.
#[track_caller]
fn check(provider: &Faulty, http: u16, code: &str, parts: &[&str]) {
    let host = provider.start_open();
    let before = host.workers();
    let problem = within(SOON, || mac(&host, b"message").problem(http, code));
    assert_eq!((&problem["key"], &problem["provider"]), (&json!("m"), &json!("c")));
    host.wait_until("the note of the loss", |host| logged(host, &["WARN", "worker lost"]));
    assert!(logged(&host, &[&["worker lost"], parts].concat()), "{parts:?}: {}", host.log());
    soft_works(&host, "other");
    wait_until_back(&host, &before);
    faulty_works(&host);
    assert_recorded(&host, code);
}

/// Waits until the provider is open in another worker.
#[track_caller]
fn wait_until_back(host: &Sealhost, before: &[u32]) {
    host.wait_until("another worker", |host| {
        let now = host.workers();
        !now.is_empty() && now.iter().all(|worker| !before.contains(worker))
    });
    wait_until_open(host);
}

/// Shows that the failed MAC is in the audit.
#[track_caller]
fn assert_recorded(host: &Sealhost, code: &str) {
    host.wait_until("the record", |host| {
        let failed = |line: &serde_json::Value| {
            line["operation"] == "mac" && line.to_string().contains(&format!("\"{code}\""))
        };
        host.audit().iter().any(failed)
    });
}

#[test]
fn crash_in_a_call_is_unavailable() {
    check(&faulty("crashes_in_mac"), 503, "unavailable", &["signal: 11"]);
}

#[test]
fn exit_in_a_call_is_unavailable() {
    check(&faulty("exits_in_mac"), 503, "unavailable", &["exit status: 0"]);
}

#[test]
fn hang_in_a_call_is_a_timeout_at_the_deadline() {
    let provider = faulty("hangs_in_mac").deadline("mac = \"100ms\"");
    check(&provider, 504, "timeout", &["did not answer in time", "signal: 9"]);
}

#[test]
fn panic_in_a_call_is_internal() {
    check(&panics_in("mac"), 500, "internal", &["its provider panicked"]);
}

#[test]
fn panic_is_told_to_the_log() {
    let host = panics_in("mac").start_open();
    let problem = mac(&host, b"message").problem(500, "internal");
    assert!(!problem.to_string().contains("panics"), "{problem}");
    assert!(logged(&host, &["this provider panics in mac"]));
    assert!(logged(&host, &["provider call failed", "Panicked"]));
}

/// A key whose making ends the worker: it is not there afterwards.
#[track_caller]
fn check_generate(provider: &Faulty, http: u16, code: &str) {
    let host = provider.start();
    let before = host.workers();
    host.create("s", "seal", "c");
    let body = json!({"usage": "mac", "providers": ["c"]});
    let _problem = within(SOON, || host.post("/v1/keys/m", body).problem(http, code));
    soft_works(&host, "other");
    wait_until_back(&host, &before);
    faulty_works(&host);
    let _absent = host.get("/v1/keys/m").problem(404, "not_found");
}

#[test]
fn crash_while_a_key_is_made_leaves_no_key() {
    check_generate(&faulty("crashes_in_generate"), 503, "unavailable");
}

#[test]
fn hang_while_a_key_is_made_leaves_no_key() {
    let provider = faulty("hangs_in_generate").deadline("generate = \"100ms\"");
    check_generate(&provider, 504, "timeout");
}

#[test]
fn panic_while_a_key_is_made_leaves_no_key() {
    check_generate(&panics_in("generate"), 500, "internal");
}

#[test]
fn other_keys_work_while_a_call_hangs() {
    let host = faulty("hangs_in_mac").deadline("mac = \"2s\"").start_open();
    thread::scope(|scope| {
        let hanging = scope.spawn(|| mac(&host, b"message").problem(504, "timeout"));
        host.wait_until("the call in the worker", |host| sleeps_in_pause(host.workers()[0]));
        within(Duration::from_millis(1900), || soft_works(&host, "other"));
        assert!(!hanging.is_finished());
        let _timeout = hanging.join().unwrap();
    });
}

/// Whether any thread of a process is in pause(2), system call 34 on this architecture.
fn sleeps_in_pause(pid: u32) -> bool {
    let Ok(tasks) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return false };
    tasks.flatten().any(|task| {
        let call = std::fs::read_to_string(task.path().join("wchan")).unwrap_or_default();
        call.contains("pause")
    })
}

#[test]
fn calls_beside_a_hanging_one_are_unavailable_or_late() {
    let host = faulty("hangs_in_mac").deadline("mac = \"100ms\"").start_open();
    let codes: Vec<_> = thread::scope(|scope| {
        let calls: Vec<_> = (0..4).map(|_| scope.spawn(|| mac(&host, b"message"))).collect();
        calls.into_iter().map(|call| call.join().unwrap().json()["code"].clone()).collect()
    });
    assert!(codes.iter().any(|code| code == "timeout"), "{codes:?}");
    assert!(codes.iter().all(|code| code == "timeout" || code == "unavailable"), "{codes:?}");
    wait_until_open(&host);
    faulty_works(&host);
}

#[test]
fn hanging_calls_whose_callers_left_do_not_keep_the_device() {
    let body = json!({"message": b64("message")}).to_string();
    let length = body.len();
    let request = format!(
        "POST /v1/keys/m/mac HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    let host = faulty("hangs_in_mac").deadline("mac = \"1s\"").start_open();
    let before = host.workers();
    let callers: Vec<_> = (0..4)
        .map(|_| {
            let mut stream = UnixStream::connect(host.socket()).unwrap();
            stream.write_all(request.as_bytes()).unwrap();
            stream
        })
        .collect();
    // One is at the device and one with the worker.
    host.wait_until("two waiting calls", |host| waiting(host) == 2);
    drop(callers);
    wait_until_back(&host, &before);
    faulty_works(&host);
}

#[test]
fn hanging_call_in_process_whose_caller_left_is_noticed() {
    let host = faulty("hangs_in_mac").in_process().deadline("mac = \"1s\"").start_open();
    let mut caller = UnixStream::connect(host.socket()).unwrap();
    let request =
        "POST /v1/keys/m/mac HTTP/1.1\r\nHost: x\r\nContent-Length: 14\r\n\r\n{\"message\":\"\"}";
    caller.write_all(request.as_bytes()).unwrap();
    host.wait_until("the call", |host| sleeps_in_pause(host.pid()));
    drop(caller);
    host.wait_until("giving it up", |host| host.provider("c")["state"] == "down");
    soft_works(&host, "other");
}

#[test]
fn deadline_of_a_call_begins_when_the_device_is_free_for_it() {
    // Six calls of 100 ms each, one after the other: the last ends long after its deadline would
    // have, had it begun with the request.
    let host = faulty("slow_mac").deadline("mac = \"400ms\"").start_open();
    thread::scope(|scope| {
        let calls: Vec<_> = (0..6).map(|_| scope.spawn(|| mac(&host, b"message"))).collect();
        for call in calls {
            let _mac = call.join().unwrap().text("mac");
        }
    });
}

#[test]
fn call_that_waited_too_long_for_its_turn_is_busy() {
    let host =
        faulty("hangs_in_mac").deadline("mac = \"1s\"").deadline("queue = \"10ms\"").start_open();
    thread::scope(|scope| {
        let calls: Vec<_> = (0..4).map(|_| scope.spawn(|| mac(&host, b"message"))).collect();
        let codes: Vec<_> = calls.into_iter().map(|call| call.join().unwrap().status).collect();
        // One is at the device and one with the worker.
        assert_eq!(codes.iter().filter(|&&code| code == 429).count(), 2, "{codes:?}");
    });
}

#[test]
fn call_past_the_queues_length_is_busy_at_once() {
    let host = faulty("hangs_in_mac")
        .deadline("mac = \"2s\"")
        .deadline("queue = \"60s\"")
        .deadline("queue_length = 1")
        .start_open();
    thread::scope(|scope| {
        // One is at the device, one with the worker, one waits.
        for _ in 0..3 {
            scope.spawn(|| mac(&host, b"message"));
        }
        host.wait_until("the queue to be full", |host| waiting(host) == 1);
        let busy = within(Duration::from_secs(1), || mac(&host, b"message"));
        let problem = busy.problem(429, "busy");
        assert!(busy.header("Retry-After").is_some(), "{}", busy.head);
        assert_eq!(problem["provider"], "c");
    });
}
