//! The worker process: what it has of the host, and what ends with what.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use serde_json::json;
use tests::sealhost::signal;
use tests::{Sealhost, Setup};

use crate::bench::{
    faulty, faulty_works, logged, mac, soft_works, wait_until_open, waiting, within,
};
use crate::build::install_c;

fn is_running(pid: u32) -> bool {
    let state = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = state.rsplit(") ").next().and_then(|rest| rest.chars().next());
    state.is_some_and(|state| state != 'Z')
}

/// Whether every thread of a process has followed SIGSTOP.
fn is_stopped(pid: u32) -> bool {
    let mut tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    tasks.all(|task| {
        let stat = fs::read_to_string(task.unwrap().path().join("stat")).unwrap();
        stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('T'))
    })
}

fn maps(pid: u32) -> String {
    fs::read_to_string(format!("/proc/{pid}/maps")).unwrap()
}

fn environment(pid: u32) -> Vec<String> {
    let bytes = fs::read(format!("/proc/{pid}/environ")).unwrap();
    // glibc cuts the text of its tunables into pieces, in place.
    let text = String::from_utf8(bytes).unwrap().replace("\0glibc.malloc.", ":glibc.malloc.");
    let mut variables: Vec<_> =
        text.split('\0').filter(|variable| !variable.is_empty()).map(str::to_owned).collect();
    variables.sort();
    variables
}

fn one_worker(host: &Sealhost) -> u32 {
    let workers = host.workers();
    assert_eq!(workers.len(), 1, "{workers:?}");
    workers[0]
}

#[test]
fn killed_worker_is_started_again_and_keys_are_as_before() {
    let host = faulty("good").start_open();
    let before = mac(&host, b"message").text("mac");
    let worker = one_worker(&host);
    signal(worker, "KILL");
    host.wait_until("another worker", |host| {
        host.workers().first().is_some_and(|it| *it != worker)
    });
    wait_until_open(&host);
    assert_eq!(mac(&host, b"message").text("mac"), before);
    assert!(logged(&host, &["worker lost", "signal: 9"]));
    faulty_works(&host);
    soft_works(&host, "other");
}

#[test]
fn calls_with_a_killed_worker_are_unavailable() {
    let host = faulty("slow_mac").start_open();
    let worker = one_worker(&host);
    thread::scope(|scope| {
        let calls: Vec<_> = (0..20).map(|_| scope.spawn(|| mac(&host, b"message"))).collect();
        host.wait_until("calls at the device", |host| waiting(host) > 0);
        signal(worker, "KILL");
        for call in calls {
            let reply = call.join().unwrap();
            if reply.status != 200 {
                let _gone = reply.problem(503, "unavailable");
            }
        }
    });
    wait_until_open(&host);
    let _mac = mac(&host, b"message").text("mac");
}

#[test]
fn stopped_worker_is_killed_at_the_deadline() {
    let host = faulty("good").deadline("mac = \"100ms\"").start_open();
    let worker = one_worker(&host);
    signal(worker, "STOP");
    host.wait_until("its standstill", |_| is_stopped(worker));
    let reply = within(Duration::from_secs(5), || mac(&host, b"message"));
    let _timeout = reply.problem(504, "timeout");
    host.wait_until("its end", |_| !is_running(worker));
    wait_until_open(&host);
    faulty_works(&host);
}

#[test]
fn workers_end_with_a_killed_host() {
    let mut host = faulty("good").start_open();
    let worker = one_worker(&host);
    host.kill();
    host.wait_until("the end of the worker", |_| !is_running(worker));
    host.start();
    faulty_works(&host);
}

#[test]
fn hanging_workers_end_with_a_killed_host() {
    let mut host = faulty("hangs_in_mac").start_open();
    let worker = one_worker(&host);
    thread::scope(|scope| {
        let socket = host.socket();
        let call = scope.spawn(move || {
            tests::http::try_request(&socket, "POST", "/v1/keys/m/mac", b"{\"message\":\"\"}")
        });
        host.wait_until("the call", |host| {
            // The call has no record yet, so its arrival shows only in the worker.
            is_running(one_worker(host))
        });
        host.kill();
        assert!(call.join().unwrap().is_err());
    });
    host.wait_until("the end of the worker", |_| !is_running(worker));
}

#[test]
fn worker_that_hangs_at_its_end_does_not_keep_the_host() {
    let mut host = faulty("hangs_in_close").start_open();
    let worker = one_worker(&host);
    let status = within(Duration::from_secs(15), || host.stop());
    assert!(status.success(), "{status}");
    assert!(logged(&host, &["worker did not end by itself; killed"]));
    assert!(!is_running(worker));
}

#[test]
fn worker_that_crashes_at_its_end_does_not_harm_the_host() {
    let mut host = faulty("crashes_in_close").start_open();
    assert!(host.stop().success());
    host.start();
    faulty_works(&host);
}

#[test]
fn worker_has_no_environment_but_its_own() {
    let host = faulty("good").start_open();
    let environment = environment(one_worker(&host));
    let [tunables] = &environment[..] else { panic!("{environment:?}") };
    assert!(tunables.starts_with("GLIBC_TUNABLES="), "{tunables}");
}

#[test]
fn worker_has_the_environment_of_its_provider() {
    let host = Setup::soft()
        .with_provider(
            "name = \"c\"\nplugin = \"good\"\n[provider.settings]\nroot_source = \"generated\"\n\
             [provider.env]\nSOFTHSM2_CONF = \"/tmp/x\"\nVENDOR_LIB = \"a b\"\n",
        )
        .prepare();
    install_c(&host, "good");
    let mut host = host;
    host.start();
    let environment = environment(one_worker(&host));
    let [tunables, conf, vendor] = &environment[..] else { panic!("{environment:?}") };
    assert!(tunables.starts_with("GLIBC_TUNABLES="), "{tunables}");
    assert_eq!((conf.as_str(), vendor.as_str()), ("SOFTHSM2_CONF=/tmp/x", "VENDOR_LIB=a b"));
}

#[test]
fn plugin_is_in_the_worker_and_not_in_the_host() {
    let host = faulty("good").start_open();
    let file = host.plugin_dir().join("libgood.so");
    let file = file.to_str().unwrap();
    assert!(maps(one_worker(&host)).contains(file));
    assert!(!maps(host.pid()).contains(file));
}

#[test]
fn worker_has_no_descriptor_of_the_host_but_its_socket_the_log_and_the_lock() {
    let host = faulty("good").start_open();
    let ours = descriptors("self");
    let mut open = descriptors(&one_worker(&host).to_string());
    // What this test was started with and handed on is not the host's.
    open.retain(|(number, target)| {
        number.len() == 1 && number.as_str() < "3"
            || !ours.contains(&(number.clone(), target.clone()))
    });
    let log = host.dir().join("log").display().to_string();
    let [(zero, socket), (one, output), (two, errors), (_, lock)] = &open[..] else {
        panic!("{open:?}")
    };
    assert_eq!((zero.as_str(), one.as_str(), two.as_str()), ("0", "1", "2"));
    assert!(socket.starts_with("socket:"), "{socket}");
    assert_eq!((output.as_str(), errors.as_str()), ("/dev/null", log.as_str()));
    // Held with the host, so that the next one waits for the end of our call.
    assert_eq!(*lock, host.state_dir().join("lock").display().to_string());
}

fn descriptors(process: &str) -> Vec<(String, String)> {
    let mut open: Vec<_> = fs::read_dir(format!("/proc/{process}/fd"))
        .unwrap()
        .filter_map(|entry| {
            let entry = entry.ok()?;
            // The one by which the directory itself is read is gone by now.
            let target = fs::read_link(entry.path()).ok()?;
            Some((entry.file_name().into_string().ok()?, target.display().to_string()))
        })
        .collect();
    open.sort();
    open
}

#[test]
fn worker_is_hardened() {
    let host = faulty("good").start_open();
    let worker = one_worker(&host);
    let limits = fs::read_to_string(format!("/proc/{worker}/limits")).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().rev().nth(1), Some("0"), "{core}");
    let status = fs::read_to_string(format!("/proc/{worker}/status")).unwrap();
    assert!(status.lines().any(|line| line == "Umask:\t0077"), "{status}");
    assert_eq!(owner(Path::new(&format!("/proc/{worker}/mem"))), 0);
    let command = fs::read_to_string(format!("/proc/{worker}/cmdline")).unwrap();
    assert_eq!(command, "sealhost\0worker\0c\0");
}

fn owner(path: &Path) -> u32 {
    use std::os::unix::fs::MetadataExt;
    fs::metadata(path).unwrap().uid()
}

#[test]
fn worker_that_nobody_started_ends() {
    let host = Setup::soft().start();
    let program = tests::sealhost::built("sealhost");
    let output = within(Duration::from_secs(5), || {
        std::process::Command::new(program)
            .args(["worker", "c"])
            .stdin(std::process::Stdio::null())
            .output()
            .unwrap()
    });
    assert!(!output.status.success(), "{}", output.status);
    soft_works(&host, "other");
}

#[test]
fn provider_in_c_seals_across_a_restart_and_computes_macs() {
    for provider in [faulty("good"), faulty("good").in_process()] {
        let mut host = provider.start_open();
        let sealed = host.seal("s", "correct horse");
        let computed = mac(&host, b"message").ok();
        assert_eq!(
            (&computed["provider"], &computed["protection"]),
            (&json!("c"), &json!("software"))
        );
        host.restart();
        let unsealed = host.unseal("s", &sealed);
        assert_eq!(unsealed.text("plaintext"), tests::b64("correct horse"));
        assert_eq!(mac(&host, b"message").text("mac"), computed["mac"]);
        let key = tests::b64("Jefe");
        let body = json!({"usage": "mac", "key": key, "providers": ["c"]});
        let _record = host.post("/v1/keys/jefe/import", body).ok();
        let body = json!({"message": tests::b64("what do ya want for nothing?")});
        let known = host.post("/v1/keys/jefe/mac", body).text("mac");
        assert_eq!(known, "W9zBRr9gdU5qBCQmCJV1x1oAPwidJzmDnexYuWTsOEM=");
        let _random = host.post("/v1/random", json!({"bytes": 1024})).text("random");
        assert!(host.delete("/v1/keys/jefe?confirm=jefe").status < 300);
    }
}
