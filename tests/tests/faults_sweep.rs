//! One script with every operation of the API, again and again, while the n-th call to the device
//! has a fault, for each n: whatever fails says so by a stable code and in bounded time, works when
//! it is repeated, and leaves every key whole or wholly away.
#![expect(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::panic,
    reason = "integration tests, and what they share"
)]

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::http;
use tests::{Response, Sealhost, Setup, b64};

const DEADLINES: &str =
    "[provider.deadlines]\nopen = \"1500ms\"\nmac = \"250ms\"\ngenerate = \"250ms\"\n";

/// A request may take its deadline, and once more where a change is undone by another call.
const LONGEST: Duration = Duration::from_millis(2500);

/// What never changes, whatever fails: made before any fault.
struct Old {
    sealed: String,
    mac: String,
    public: Value,
}

/// A host whose provider `faulty` is behind the plugin, with keys of every usage on it.
struct Bench {
    host: Sealhost,
    old: Old,
}

fn b64url(byte: u8) -> String {
    b64([byte; 32])
}

impl Bench {
    fn start() -> Self {
        let host = Setup::default()
            .with_soft_behind_faults("faulty", DEADLINES)
            .with_soft()
            .with_order(&["faulty", "soft"])
            .start();
        for (key, usage) in [("s", "seal"), ("m", "mac"), ("g", "sign")] {
            host.create(key, usage, "faulty");
        }
        let old = Old {
            sealed: host.seal("s", "old"),
            mac: host.post("/v1/keys/m/mac", json!({"message": b64("old")})).text("mac"),
            public: host.get("/v1/keys/g/public").ok()["public_key"].clone(),
        };
        Self { host, old }
    }

    /// Sends one request until it succeeds. A failure is an error of the list, in bounded time.
    /// What it may find already done by an answer that was lost is `done`.
    #[track_caller]
    fn insist(&self, method: &str, target: &str, body: &Value, done: &[&str]) -> Response {
        let patience = Instant::now() + Duration::from_secs(20);
        loop {
            let begun = Instant::now();
            let body = body.to_string();
            let body = if method == "POST" { body.as_bytes() } else { b"" };
            let reply = http::request(&self.host.socket(), method, target, body);
            let took = begun.elapsed();
            assert!(took < LONGEST, "{method} {target}: {took:?}");
            if (200..300).contains(&reply.status) {
                return reply;
            }
            let code = reply.json()["code"].as_str().unwrap().to_owned();
            if done.contains(&code.as_str()) {
                return reply;
            }
            let known = ["unavailable", "timeout", "internal", "integrity", "busy"];
            assert!(known.contains(&code.as_str()), "{method} {target}: {reply:?}");
            assert!(Instant::now() < patience, "{method} {target}: {reply:?}\n{}", self.host.log());
            // As wait_until does between two questions.
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    #[track_caller]
    fn post(&self, target: &str, body: &Value) -> Response {
        self.insist("POST", target, body, &[])
    }

    /// Every operation that there is, with keys of this round.
    #[track_caller]
    fn script(&self, round: u32) {
        let of = |key: &str| format!("/v1/keys/{key}{round}");
        for (key, usage) in [("s", "seal"), ("m", "mac"), ("g", "sign")] {
            let body = json!({"usage": usage, "providers": ["faulty"]});
            // The key may be there although its answer was lost.
            self.insist("POST", &of(key), &body, &["conflict"]);
        }
        let body = json!({"usage": "mac", "key": b64url(7), "providers": ["faulty"]});
        self.insist("POST", &format!("{}/import", of("i")), &body, &["conflict"]);
        let seal = |text: &str| json!({"plaintext": b64(text), "context": {"a": "b"}});
        let sealed = self.post(&format!("{}/seal", of("s")), &seal("new")).text("sealed");
        let unseal = |sealed: &str| json!({"sealed": sealed, "context": {"a": "b"}});
        let opened = self.post(&format!("{}/unseal", of("s")), &unseal(&sealed)).text("plaintext");
        assert_eq!(opened, b64("new"));
        self.post(&format!("{}/rotate", of("s")), &json!({}));
        let rewrapped = self.post(&format!("{}/rewrap", of("s")), &json!({"sealed": sealed}));
        let rewrapped = rewrapped.text("sealed");
        let opened = self.post(&format!("{}/unseal", of("s")), &unseal(&rewrapped));
        assert_eq!(opened.text("plaintext"), b64("new"));
        let mac = self.post(&format!("{}/mac", of("m")), &json!({"message": b64("x")})).text("mac");
        let verify = json!({"message": b64("x"), "mac": mac});
        let verified = self.post(&format!("{}/verify", of("m")), &verify).ok();
        assert_eq!(verified["valid"], true, "{verified}");
        let known = self.post(&format!("{}/mac", of("i")), &json!({"message": b64("x")}));
        assert_eq!(known.text("mac"), b64(imported_mac()));
        self.post(&format!("{}/sign", of("g")), &json!({"digest": b64url(1)})).done();
        self.insist("GET", &format!("{}/public", of("g")), &json!(null), &[]).done();
        self.post("/v1/random", &json!({"bytes": 32})).done();
        let target = format!("{}?confirm=m{round}", of("m"));
        self.insist("DELETE", &target, &json!(null), &["not_found"]);
    }

    /// What must hold whatever failed.
    #[track_caller]
    fn check(&self) {
        let host = &self.host;
        assert_eq!(host.provider("faulty")["state"], "open", "{}", host.log());
        assert_eq!(host.unseal("s", &self.old.sealed).text("plaintext"), b64("old"));
        let mac = host.post("/v1/keys/m/mac", json!({"message": b64("old")}));
        assert_eq!(mac.text("mac"), self.old.mac);
        assert_eq!(host.get("/v1/keys/g/public").ok()["public_key"], self.old.public);
        // A key is wholly there, with versions that are usable or gone, or wholly away.
        let keys = host.get("/v1/keys").ok();
        for key in keys["keys"].as_array().unwrap() {
            let name = key["name"].as_str().unwrap();
            let found = host.get(&format!("/v1/keys/{name}")).ok();
            for version in found["versions"].as_array().unwrap() {
                let state = version["state"].as_str().unwrap();
                assert!(["active", "decrypt-only", "destroyed"].contains(&state), "{found}");
            }
            let usage = found["usage"].as_str().unwrap();
            match usage {
                "seal" => {
                    let sealed = host.seal(name, "again");
                    assert_eq!(host.unseal(name, &sealed).text("plaintext"), b64("again"));
                }
                "mac" => {
                    host.post(&format!("/v1/keys/{name}/mac"), json!({"message": ""})).done();
                }
                "sign" => {
                    host.post(&format!("/v1/keys/{name}/sign"), json!({"digest": b64url(2)}))
                        .done();
                }
                other => panic!("a key of usage {other}"),
            }
        }
        assert!(!host.verified_audit().is_empty());
    }
}

/// HMAC-SHA256 of "x" under the key that is imported.
fn imported_mac() -> Vec<u8> {
    use aws_lc_rs::hmac;
    let key = hmac::Key::new(hmac::HMAC_SHA256, &[7; 32]);
    hmac::sign(&key, b"x").as_ref().to_vec()
}

/// What becomes of the worker.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Worker {
    Stays,
    Ends,
}

/// Lets the first call to the device of a script have a fault, then the second, and so on until a
/// script has fewer calls.
#[track_caller]
fn sweep(fault: &str, worker: Worker) {
    let mut bench = Bench::start();
    let mut rounds = 0;
    let begun = Instant::now();
    loop {
        rounds += 1;
        bench.host.plan("faulty", &format!("any:{rounds} {fault}"));
        bench.script(rounds);
        let fired = bench.host.journal("faulty").iter().any(|line| line.ends_with(fault));
        bench.host.plan("faulty", "");
        bench.host.wait_until("being open", |host| host.provider("faulty")["state"] == "open");
        if !fired {
            break;
        }
        // The keys of this round are checked, and make room for those of the next.
        bench.check();
        for key in ["s", "g", "i"] {
            let target = format!("/v1/keys/{key}{rounds}?confirm={key}{rounds}");
            bench.host.delete(&target).done();
        }
        if worker == Worker::Ends {
            // Or the pauses before the next worker would grow, as they shall; and what is on disk is
            // seen to verify after each fault.
            bench.host.restart();
        }
    }
    assert!(rounds >= 18, "{rounds} rounds only");
    // All of it is there, and verifies, when the registry is read anew.
    bench.host.restart();
    bench.check();
    println!("{fault}: {} faults in {:?}", rounds - 1, begun.elapsed());
}

#[test]
fn each_call_finds_the_device_gone() {
    sweep("gone", Worker::Stays);
}

#[test]
fn each_call_is_done_and_its_answer_lost() {
    sweep("after gone", Worker::Stays);
}

#[test]
fn each_call_hangs() {
    sweep("hang", Worker::Ends);
}

#[test]
fn each_call_crashes_the_worker() {
    sweep("crash", Worker::Ends);
}

#[test]
fn each_call_crashes_the_worker_when_it_is_done() {
    sweep("after crash", Worker::Ends);
}

#[test]
fn each_call_fails_internally() {
    sweep("internal", Worker::Stays);
}

#[test]
fn each_call_fails_its_integrity() {
    sweep("integrity", Worker::Stays);
}

#[test]
fn each_call_panics() {
    sweep("panic", Worker::Ends);
}
