//! What is left of secrets in memory and files after errors, and after the other side has died:
//! a client in the middle of its request, a worker in the middle of a call, the host before its
//! worker has answered, the host before the secret manager has its value.
#![expect(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "integration tests, and what they share"
)]

use std::fs;
use std::io::Write;
use std::os::unix::net::UnixStream;

use serde_json::{Value, json};
use swtpm_fixtures::{CommandCounter, Swtpm};
use tests::sealhost::signal;
use tests::traces::{Searcher, Secret, Traces, at_once};
use tests::{Sealhost, SecretSetup, Setup, User, b64, http};

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).unwrap();
    bytes
}

/// A payload, and who looks for it.
fn marker() -> ([u8; 96], Searcher) {
    let payload = random::<96>();
    (payload, Searcher::new(&[Secret::bytes("payload", &payload)]))
}

/// Sends a request with the payload in it, as a body that is long, broken, or not allowed.
fn ask_wrongly(host: &Sealhost, payload: &[u8], key: &str) {
    let seal = format!("/v1/keys/{key}/seal");
    let text = b64(payload);
    let send = |body: &[u8]| http::request(&host.socket(), "POST", &seal, body);
    for malformed in [
        format!("{{\"plaintext\":\"{text}\"}} trailing"),
        format!("{{\"plaintext\":\"{text}\",\"plaintext\":\"{text}\"}}"),
        format!("{{\"{text}\":1}}"),
        format!("{{\"plaintext\":\"{text}!\"}}"),
        format!("{{\"plaintext\":\"\\u0041{text}\"}}"),
        format!("[\"{text}\""),
        text.clone(),
    ] {
        let reply = send(malformed.as_bytes());
        assert_eq!(reply.status, 400, "{malformed}");
        assert!(!String::from_utf8_lossy(&reply.body).contains(&text[..24]));
    }
    // One past the longest plaintext, and one past the longest body.
    let long = payload.repeat(1024 * 1024 / payload.len() + 1);
    send(json!({"plaintext": b64(&long)}).to_string().as_bytes()).problem(413, "too_large");
    let longer = text.repeat(4 * 1024 * 1024 / text.len() + 1);
    assert_eq!(send(longer.as_bytes()).status, 413);
    let items = json!({"items": [
        {"plaintext": text, "context": {"a": text}},
        {"plaintext": text, "context": {"a": 1}},
    ]});
    assert_eq!(send(items.to_string().as_bytes()).status, 400);
    let user = User::new(4242);
    user.post(&host.socket(), &seal, json!({"plaintext": text})).problem(403, "denied");
    let wrong_method = http::request(&host.socket(), "PUT", &seal, text.as_bytes());
    assert!(wrong_method.status >= 400);
}

#[test]
fn refused_requests_leave_no_trace() {
    let host = Setup::soft().with_soft_worker("worker").for_everybody().start();
    host.create("soft", "seal", "soft");
    host.create("worker", "seal", "worker");
    let (payload, searcher) = marker();
    at_once(|_| ["soft", "worker"].iter().for_each(|key| ask_wrongly(&host, &payload, key)));
    Traces { host: &host, searcher }.check(&["worker"]);
}

/// The request that seals the payload with key `a`.
fn seal_request(payload: &[u8]) -> Vec<u8> {
    let body = json!({"plaintext": b64(payload)}).to_string();
    let length = body.len();
    let head = "POST /v1/keys/a/seal HTTP/1.1\r\nHost: localhost\r\n";
    format!("{head}Content-Length: {length}\r\n\r\n{body}").into_bytes()
}

#[test]
fn request_of_a_client_that_died_leaves_no_trace() {
    let host = Setup::soft().start();
    host.create("a", "seal", "soft");
    let (payload, searcher) = marker();
    let request = seal_request(&payload);
    let before = host.audit().len();
    let quiet = descriptors(&host);
    at_once(|_| {
        for length in (request.len() - 120..=request.len()).step_by(8) {
            let mut client = UnixStream::connect(host.socket()).unwrap();
            client.write_all(&request[..length]).unwrap();
        }
    });
    // Only the whole ones are requests; a line in the audit says that they are through.
    host.wait_until("the last request", |host| host.audit().len() >= before + 4);
    host.wait_until("the end of the connections", |host| descriptors(host) <= quiet);
    Traces { host: &host, searcher }.check(&[]);
}

fn descriptors(host: &Sealhost) -> usize {
    fs::read_dir(format!("/proc/{}/fd", host.pid())).unwrap().count()
}

/// Asks for something with a TPM that is silent; `meanwhile` is told when the TPM has its command.
fn in_a_call(
    request: impl FnOnce(&Sealhost) + Send,
    meanwhile: impl FnOnce(&Sealhost, &mut Swtpm, u32),
) -> Sealhost {
    let mut swtpm = Swtpm::start().unwrap();
    let proxy = CommandCounter::in_front_of(&swtpm).unwrap();
    let host = Setup::soft().with_tpm_at(&proxy.tcti()).start();
    host.create("a", "seal", "tpm");
    let worker = host.workers()[0];
    proxy.reset();
    swtpm.suspend().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| request(&host));
        host.wait_until("the TPM has its command", |_| !proxy.counts().is_empty());
        meanwhile(&host, &mut swtpm, worker);
    });
    let _resumed_already = swtpm.resume();
    host
}

fn seal(payload: &[u8]) -> Value {
    json!({"plaintext": b64(payload), "context": {"payload": b64(payload)}})
}

#[test]
fn payload_whose_device_timed_out_leaves_no_trace() {
    let (payload, searcher) = marker();
    let host = in_a_call(
        |host| drop(host.post("/v1/keys/a/seal", seal(&payload)).problem(504, "timeout")),
        |_, _, _| (),
    );
    Traces { host: &host, searcher }.check(&[]);
}

#[test]
fn payload_whose_worker_was_killed_leaves_no_trace() {
    let (payload, searcher) = marker();
    let host = in_a_call(
        |host| drop(host.post("/v1/keys/a/seal", seal(&payload)).problem(503, "unavailable")),
        |_, _, worker| signal(worker, "KILL"),
    );
    Traces { host: &host, searcher }.check(&[]);
}

#[test]
fn payload_of_a_host_that_was_killed_is_not_in_its_worker() {
    let (payload, searcher) = marker();
    let mut found = None;
    let host = in_a_call(
        |host| {
            let body = seal(&payload).to_string();
            let target = "/v1/keys/a/seal";
            http::try_request(&host.socket(), "POST", target, body.as_bytes()).unwrap_err();
        },
        |host, _, worker| {
            signal(host.pid(), "KILL");
            // It is in its call yet, for at most two seconds.
            found = Some(searcher.find_in_process(worker, "the worker"));
        },
    );
    assert!(found.unwrap().is_empty());
    for path in [host.state_dir(), host.audit_path(), host.dir().join("log")] {
        assert!(searcher.find_in_files(&path).is_empty());
    }
}

#[test]
fn value_whose_host_died_leaves_no_trace_in_the_secret_manager() {
    let mut host = Setup::soft().start();
    let manager = SecretSetup::file().start(&host);
    let value = random::<96>();
    let searcher = Searcher::new(&[Secret::bytes("value", &value)]);
    manager.store("kept", value);
    let body = json!({"value": b64(value), "version": "v1"});
    host.signal("STOP");
    // A signal is sent, and then it is received, by one thread after the other.
    host.wait_until("its stop", |host| {
        let threads = fs::read_dir(format!("/proc/{}/task", host.pid())).unwrap();
        threads.map(|thread| thread.unwrap().path().join("stat")).all(|stat| {
            let text = fs::read_to_string(stat).unwrap_or_default();
            text.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
        })
    });
    std::thread::scope(|scope| {
        let asked: Vec<_> = (0..4)
            .map(|number| {
                let (manager, body) = (&manager, body.clone());
                scope.spawn(move || manager.put(&format!("n{number}"), body).status)
            })
            .collect();
        let found = || searcher.find_in_process(manager.pid(), "the secret manager");
        manager.wait_until("the manager has it", |_| !found().is_empty());
        host.kill();
        for asked in asked {
            assert_eq!(asked.join().unwrap(), 503);
        }
    });
    manager.get("/v1/secrets/kept").problem(503, "unavailable");
    let mut found = searcher.find_in_process(manager.pid(), "the secret manager");
    for path in [manager.state_dir(), manager.audit_path(), manager.dir().join("log")] {
        found.extend(searcher.find_in_files(&path));
    }
    assert!(found.is_empty(), "{found:#?}");
}

/// A line of `/proc/PID/FILE` by its begin.
fn line_of(pid: u32, file: &str, begin: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap();
    text.lines().find(|line| line.starts_with(begin)).unwrap().to_owned()
}

#[test]
fn no_process_leaves_a_core_and_what_is_locked_is_what_is_said() {
    let host = Setup::soft().with_soft_worker("worker").start();
    let manager = SecretSetup::cached().start(&host);
    let said = fs::read_to_string("../SECURITY.md").unwrap();
    assert!(said.contains("Memory is not locked: keep swap off or encrypted"));
    for pid in [vec![host.pid(), manager.pid()], host.workers()].concat() {
        let core = line_of(pid, "limits", "Max core file size");
        assert!(core.split_whitespace().skip(4).take(2).all(|limit| limit == "0"), "{core}");
        assert_eq!(line_of(pid, "status", "VmLck").split_whitespace().nth(1), Some("0"));
    }
    for worker in host.workers() {
        signal(worker, "ABRT");
    }
    host.wait_until("another worker", |host| host.provider("worker")["state"] == "open");
    let cores = |dir: &std::path::Path| {
        let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name());
        names.filter(|name| name.to_string_lossy().starts_with("core")).count()
    };
    assert_eq!(cores(host.dir()) + cores(std::path::Path::new(".")), 0);
}
