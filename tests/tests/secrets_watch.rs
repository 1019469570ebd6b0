//! Changes as server-sent events: to whom they are told, and how a stream ends.
#![expect(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    reason = "integration tests, and what they share"
)]

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use serde_json::Value;
use tests::{Sealhost, SecretManager, SecretSetup, Setup, User};

/// A stream of events that has begun.
struct Stream(BufReader<UnixStream>);

impl Stream {
    /// Opens one, and reads on to its first comment, after which every change is told.
    fn open(manager: &SecretManager) -> Self {
        let mut stream = UnixStream::connect(manager.socket()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream.write_all(b"GET /v1/watch HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let mut stream = Self(BufReader::new(stream));
        let mut head = String::new();
        while !head.ends_with(": here\n") {
            assert_ne!(stream.0.read_line(&mut head).unwrap(), 0, "{head}");
        }
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        assert!(head.to_lowercase().contains("content-type: text/event-stream\r\n"), "{head}");
        stream
    }

    /// The next line that begins so; none at the end of the stream.
    fn next(&mut self, begins: &str) -> Option<String> {
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line).unwrap() == 0 {
                return None;
            }
            if let Some(rest) = line.strip_prefix(begins) {
                return Some(rest.trim_end().to_owned());
            }
        }
    }

    /// The next change, as kind, name and version.
    fn change(&mut self) -> (String, String, String) {
        let change: Value = serde_json::from_str(&self.next("data: ").unwrap()).unwrap();
        let text = |field: &str| change[field].as_str().unwrap_or_default().to_owned();
        (text("kind"), text("name"), text("version"))
    }
}

/// Changes something, and compares what a watcher is told next.
#[track_caller]
fn check(stream: &mut Stream, work: impl FnOnce(), change: (&str, &str, &str)) {
    work();
    let (kind, name, version) = stream.change();
    assert_eq!((kind.as_str(), name.as_str(), version.as_str()), change);
}

fn start(rules: &str) -> (SecretManager, Sealhost) {
    let host = Setup::soft().start();
    let root = "[[rule]]\nprincipal = { uid = 0 }\nkeys = [\"**\"]\noperations = [\"*\"]\n";
    let setup = SecretSetup::cached().for_everybody().with_rules(&format!("{root}{rules}"));
    (setup.start(&host), host)
}

#[test]
fn puts_and_deletes_are_told_without_values() {
    let (manager, _host) = start("");
    let mut stream = Stream::open(&manager);
    check(&mut stream, || manager.store("a", "marker"), ("put", "a", "default"));
    let delete = || manager.delete("/v1/secrets/a?version=default").done();
    check(&mut stream, delete, ("delete", "a", "default"));
    check(&mut stream, || manager.store("b", "marker"), ("put", "b", "default"));
    check(&mut stream, || manager.delete("/v1/secrets/b").done(), ("delete", "b", ""));
}

#[test]
fn watcher_is_told_only_of_what_it_may_list() {
    let rule =
        "[[rule]]\nprincipal = { uid = 4242 }\nkeys = [\"web/*\"]\noperations = [\"list\"]\n";
    let (manager, _host) = start(rule);
    let mut stream = User::new(4242).does(|| Stream::open(&manager));
    manager.store("other", "x");
    manager.delete("/v1/secrets/other").done();
    check(&mut stream, || manager.store("web%2Fdb", "x"), ("put", "web/db", "default"));
}

#[test]
fn rules_taken_away_end_what_is_told() {
    let rule =
        "[[rule]]\nprincipal = { uid = 4242 }\nkeys = [\"a\", \"b\"]\noperations = [\"list\"]\n";
    let (mut manager, _host) = start(rule);
    let mut stream = User::new(4242).does(|| Stream::open(&manager));
    check(&mut stream, || manager.store("a", "x"), ("put", "a", "default"));
    manager.reconfigure(|setup| {
        let root = "[[rule]]\nprincipal = { uid = 0 }\nkeys = [\"**\"]\noperations = [\"*\"]\n";
        setup.with_rules(&format!("{root}{}", rule.replace("\"a\", ", "")))
    });
    manager.signal("HUP");
    manager.wait_until("the reload", |manager| {
        manager.audit().iter().any(|line| line["kind"] == "reload")
    });
    manager.store("a", "y");
    check(&mut stream, || manager.store("b", "x"), ("put", "b", "default"));
}

#[test]
fn every_watcher_is_told() {
    let (manager, _host) = start("");
    let mut streams: Vec<_> = (0..8).map(|_| Stream::open(&manager)).collect();
    manager.store("a", "x");
    for stream in &mut streams {
        check(stream, || {}, ("put", "a", "default"));
    }
}

#[test]
fn watcher_that_reads_nothing_is_told_how_much_it_missed() {
    let host = Setup::soft().start();
    let manager = SecretSetup::of("[[store]]\ntype = \"memory\"\n").start(&host);
    let mut slow = Stream::open(&manager);
    // More than the socket, the channel and the chain keep for it.
    let name = format!("{}%2Fx", "n".repeat(120));
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (manager, name) = (&manager, &name);
            scope.spawn(move || {
                for number in 0..500 {
                    let target = format!("/v1/secrets/{name}?version=v{thread}-{number}");
                    manager.delete(&target).done();
                }
            });
        }
    });
    let missed = slow.next("event: missed").map(|_| slow.next("data: ").unwrap()).unwrap();
    let missed: Value = serde_json::from_str(&missed).unwrap();
    assert!(missed["changes"].as_u64().unwrap() > 0);
    check(&mut Stream::open(&manager), || manager.store("a", "x"), ("put", "a", "default"));
}

#[test]
fn open_watch_does_not_keep_the_daemon_from_stopping() {
    let (mut manager, _host) = start("");
    let mut stream = Stream::open(&manager);
    check(&mut stream, || manager.store("a", "x"), ("put", "a", "default"));
    let begun = std::time::Instant::now();
    assert_eq!(manager.stop().code(), Some(0), "{}", manager.log());
    assert!(begun.elapsed().as_secs() < 10, "it waited for a watcher");
    assert_eq!(stream.next("data: "), None);
    assert!(!manager.socket().exists());
    assert_eq!(manager.verified_audit().last().unwrap()["kind"], "stop");
}
