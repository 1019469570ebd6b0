//! Counters over the socket: which device keeps them, that they only rise, and what is noticed.
#![expect(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    reason = "integration tests, and what they share"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use rusqlite::Connection;
use serde_json::{Value, json};
use swtpm_fixtures::{SoftHsm, Swtpm};
use tests::sealhost::built;
use tests::{Sealhost, Setup, User};

fn create(host: &Sealhost, name: &str, body: Value) -> Value {
    let created = host.post(&format!("/v1/counters/{name}"), body);
    assert_eq!(created.status, 201, "{}", created.json());
    created.ok()
}

#[track_caller]
fn increment(host: &Sealhost, name: &str) -> u64 {
    let raised = host.post(&format!("/v1/counters/{name}/increment"), json!({})).ok();
    raised["value"].as_u64().unwrap()
}

#[track_caller]
fn read(host: &Sealhost, name: &str) -> u64 {
    host.get(&format!("/v1/counters/{name}")).ok()["value"].as_u64().unwrap()
}

/// Makes a counter, which must be kept by this provider, or by the registry for none.
#[track_caller]
fn check(host: &Sealhost, name: &str, body: Value, provider: Option<&str>) {
    let counter = create(host, name, body);
    let kind = if provider.is_some() { "device" } else { "registry" };
    assert_eq!((&counter["kind"], &counter["provider"]), (&json!(kind), &json!(provider)));
    let first = counter["value"].as_u64().unwrap();
    assert!(first >= 1);
    assert_eq!(read(host, name), first);
    let raised = increment(host, name);
    assert!(raised > first);
    assert_eq!(read(host, name), raised);
}

/// The NV indices of the owner that an emulator has.
fn indices(swtpm: &Swtpm) -> usize {
    let output = Command::new("tpm2_getcap")
        .args(["handles-nv-index", "-T", &swtpm.tcti()])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().matches("0x18").count()
}

#[test]
fn counter_of_a_tpm_has_the_whole_record() {
    let swtpm = Swtpm::start().unwrap();
    let host = Setup::soft().with_tpm(&swtpm).start();
    let mut counter = create(&host, "stores%2Fweb", json!({}));
    let time = counter["created_at"].take();
    assert!(time.as_str().unwrap().ends_with('Z'), "{time}");
    let expected = json!({
        "name": "stores/web", "value": 1, "kind": "device", "provider": "tpm",
        "protection": "emulated", "created_at": null,
    });
    assert_eq!(counter, expected);
    assert_eq!(increment(&host, "stores%2Fweb"), 2);
    let list = host.get("/v1/counters").ok();
    let record = json!({
        "name": "stores/web", "kind": "device", "provider": "tpm", "protection": "emulated",
        "created_at": time,
    });
    assert_eq!(list, json!({"counters": [record]}));
}

#[test]
fn counter_is_raised_from_the_value_that_the_caller_knows_and_from_no_other() {
    let swtpm = Swtpm::start().unwrap();
    let host = Setup::soft().with_tpm(&swtpm).start();
    for (name, kind) in [("a", "device"), ("b", "registry")] {
        let first = create(&host, name, json!({"kind": kind}))["value"].as_u64().unwrap();
        let increment = format!("/v1/counters/{name}/increment");
        let raised = host.post(&increment, json!({"from": first})).ok();
        assert_eq!(raised["value"], first + 1);
        // The same again, as one that was sent before and comes late.
        for from in [first, first + 2, 0] {
            let problem = host.post(&increment, json!({"from": from})).problem(409, "conflict");
            assert_eq!(problem["key"], name, "{problem}");
        }
        assert_eq!(read(&host, name), first + 1);
    }
}

#[test]
fn counter_raised_from_one_value_by_many_at_once_is_raised_once() {
    let swtpm = Swtpm::start().unwrap();
    let host = Setup::soft().with_tpm(&swtpm).start();
    for (name, kind) in [("a", "device"), ("b", "registry")] {
        let first = create(&host, name, json!({"kind": kind}))["value"].as_u64().unwrap();
        let increment = format!("/v1/counters/{name}/increment");
        let statuses: Vec<u16> = std::thread::scope(|scope| {
            let ask = || host.post(&increment, json!({"from": first})).status;
            let asking: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
            asking.into_iter().map(|it| it.join().unwrap()).collect()
        });
        assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
        assert_eq!(statuses.iter().filter(|status| **status == 409).count(), 7, "{statuses:?}");
        assert_eq!(read(&host, name), first + 1);
    }
}

#[test]
fn first_provider_with_counters_keeps_them() {
    let swtpm = Swtpm::start().unwrap();
    let hsm = SoftHsm::start("edge", "1234").unwrap();
    let host = Setup::soft().with_hsm(&hsm).with_tpm(&swtpm).start();
    check(&host, "a", json!({}), Some("tpm"));
    check(&host, "b", json!({"floor": "emulated", "kind": "device"}), Some("tpm"));
    check(&host, "c", json!({"providers": ["soft", "tpm"]}), Some("tpm"));
    check(&host, "d", json!({"providers": ["soft", "hsm"]}), None);
    check(&host, "e", json!({"kind": "registry"}), None);
    assert_eq!(indices(&swtpm), 3);
    let wanting = json!({"floor": "hardware"});
    let _unsupported = host.post("/v1/counters/f", wanting).problem(400, "unsupported");
}

#[test]
fn registry_keeps_counters_where_no_provider_does() {
    let hsm = SoftHsm::start("edge", "1234").unwrap();
    for host in [Setup::soft().start(), Setup::default().with_hsm(&hsm).start()] {
        check(&host, "a", json!({}), None);
        check(&host, "b", json!({"floor": "software"}), None);
        for (wanting, reason) in [
            (json!({"kind": "device"}), "has no counters"),
            (json!({"floor": "emulated"}), "the registry gives software protection"),
        ] {
            let problem = host.post("/v1/counters/c", wanting).problem(400, "unsupported");
            assert!(problem["detail"].as_str().unwrap().contains(reason), "{problem}");
        }
    }
}

#[test]
fn configured_floor_is_not_for_counters() {
    let host = Setup::soft().with_floor("hardware").start();
    check(&host, "a", json!({}), None);
}

#[test]
fn tpm_that_never_was_there_is_passed_over() {
    let host = Setup::soft().with_tpm_at("device:/dev/no-such-tpm").with_order(&["tpm", "soft"]);
    check(&host.start(), "a", json!({}), None);
}

#[test]
fn tpm_that_is_gone_stops_the_making_and_its_counters_wait() {
    let mut swtpm = Swtpm::start().unwrap();
    let host = Setup::default().with_tpm(&swtpm).with_soft().start();
    let value = create(&host, "a", json!({}))["value"].as_u64().unwrap();
    swtpm.stop().unwrap();
    host.wait_until("the loss is noticed", |host| {
        let raised = host.post("/v1/counters/a/increment", json!({}));
        raised.status == 503 && host.provider("tpm")["state"] != "open"
    });
    let problem = host.post("/v1/counters/b", json!({})).problem(503, "unavailable");
    assert_eq!(problem["provider"], "tpm");
    let _unavailable = host.delete("/v1/counters/a?confirm=a").problem(503, "unavailable");
    check(&host, "c", json!({"kind": "registry"}), None);
    swtpm.start_again().unwrap();
    host.wait_until("the TPM is back", |host| {
        host.post("/v1/counters/a/increment", json!({})).status == 200
    });
    assert!(read(&host, "a") > value);
}

#[test]
fn names_of_counters_and_keys_do_not_meet() {
    let host = Setup::soft().start();
    host.create("a", "seal", "soft");
    create(&host, "a", json!({}));
    let _conflict = host.post("/v1/counters/a", json!({})).problem(409, "conflict");
    host.delete("/v1/keys/a?confirm=a").done();
    assert_eq!(read(&host, "a"), 1);
    let _none = host.get("/v1/counters/b").problem(404, "not_found");
    let _none = host.post("/v1/counters/b/increment", json!({})).problem(404, "not_found");
    let _none = host.delete("/v1/counters/b?confirm=b").problem(404, "not_found");
}

#[test]
fn bad_requests_are_refused_and_make_nothing() {
    let host = Setup::soft().start();
    for (body, code) in [
        (json!({"kind": "paper"}), "invalid"),
        (json!({"start": 7}), "malformed"),
        (json!([]), "malformed"),
        (json!({"providers": []}), "invalid"),
        (json!({"kind": "registry", "providers": ["soft"]}), "invalid"),
        (json!({"kind": "registry", "floor": "hardware"}), "invalid"),
    ] {
        let _refused = host.post("/v1/counters/a", body).problem(400, code);
    }
    let _internal = host.post("/v1/counters/.a", json!({})).problem(400, "invalid");
    assert_eq!(host.get("/v1/counters").ok(), json!({"counters": []}));
    create(&host, "a", json!({}));
    let by = json!({"by": 2});
    let _refused = host.post("/v1/counters/a/increment", by).problem(400, "malformed");
    for confirm in ["", "?confirm=b"] {
        let _refused = host.delete(&format!("/v1/counters/a{confirm}")).problem(400, "invalid");
    }
    assert_eq!(read(&host, "a"), 1);
}

#[test]
fn rules_hold_for_counters_by_name_and_operation() {
    let rules = "[[rule]]\nprincipal = { uid = 0 }\nkeys = [\"**\"]\noperations = [\"*\"]\n\
                 [[rule]]\nprincipal = { uid = 4242 }\nkeys = [\"stores/*\"]\n\
                 operations = [\"read_counter\", \"list_counters\"]\n";
    let host = Setup::soft().for_everybody().with_rules(rules).start();
    create(&host, "stores%2Fweb", json!({}));
    create(&host, "other", json!({}));
    let user = User::new(4242);
    let ask = |method: &str, target: &str| user.request(&host.socket(), method, target, b"");
    ask("GET", "/v1/counters/stores%2Fweb").done();
    let list = ask("GET", "/v1/counters").ok();
    assert_eq!(list["counters"].as_array().unwrap().len(), 1);
    assert_eq!(list["counters"][0]["name"], "stores/web");
    for target in ["/v1/counters/other", "/v1/counters/none"] {
        let _denied = ask("GET", target).problem(403, "denied");
    }
    let raise = "/v1/counters/stores%2Fweb/increment";
    let _denied = ask("POST", raise).problem(403, "denied");
    let _denied = ask("DELETE", "/v1/counters/stores%2Fweb?confirm=stores%2Fweb");
    assert_eq!(read(&host, "stores%2Fweb"), 1);
}

#[test]
fn values_outlive_a_restart_on_every_kind() {
    let swtpm = Swtpm::start().unwrap();
    let mut host = Setup::soft().with_tpm(&swtpm).start();
    create(&host, "device", json!({}));
    create(&host, "registry", json!({"kind": "registry"}));
    for _ in 0..3 {
        let before = ["device", "registry"].map(|name| increment(&host, name));
        host.restart();
        assert_eq!(["device", "registry"].map(|name| read(&host, name)), before);
        let after = ["device", "registry"].map(|name| increment(&host, name));
        assert!(after.iter().zip(before).all(|(after, before)| *after > before));
    }
}

#[test]
fn no_value_is_given_to_two_callers() {
    let swtpm = Swtpm::start().unwrap();
    let host = Setup::soft().with_tpm(&swtpm).start();
    create(&host, "device", json!({}));
    create(&host, "registry", json!({"kind": "registry"}));
    for name in ["device", "registry"] {
        let values: Vec<u64> = std::thread::scope(|scope| {
            let host = &host;
            let raise = move || (0..12).map(|_| increment(host, name)).collect::<Vec<_>>();
            let callers: Vec<_> = (0..6).map(|_| scope.spawn(raise)).collect();
            callers.into_iter().flat_map(|caller| caller.join().unwrap()).collect()
        });
        let distinct: BTreeSet<_> = values.iter().copied().collect();
        assert_eq!((distinct.len(), values.len()), (72, 72), "{name}");
        assert_eq!(distinct.last(), Some(&read(&host, name)));
    }
    let _whole = host.verified_audit();
}

#[test]
fn destroyed_counter_is_gone_and_the_next_one_begins_above_it() {
    let swtpm = Swtpm::start().unwrap();
    let mut host = Setup::soft().with_tpm(&swtpm).start();
    for (name, body) in [("device", json!({})), ("registry", json!({"kind": "registry"}))] {
        create(&host, name, body.clone());
        let last = (0..5).map(|_| increment(&host, name)).max().unwrap();
        let gone = host.delete(&format!("/v1/counters/{name}?confirm={name}")).ok();
        assert_eq!(gone, json!({"counter": name}));
        let _gone = host.get(&format!("/v1/counters/{name}")).problem(404, "not_found");
        host.restart();
        let again = create(&host, name, body);
        assert!(again["value"].as_u64().unwrap() > last, "{again}, after {last}");
    }
    assert_eq!(indices(&swtpm), 1);
}

#[test]
fn audit_has_intent_and_outcome_of_making_and_one_line_of_raising() {
    let swtpm = Swtpm::start().unwrap();
    let host = Setup::default().with_tpm(&swtpm).start();
    let made = host.post("/v1/counters/a", json!({}));
    let raised = host.post("/v1/counters/a/increment", json!({}));
    let seen = host.get("/v1/counters/a");
    let gone = host.delete("/v1/counters/a?confirm=a");
    let lines = |reply: &tests::Response, operation: &str| -> Vec<String> {
        let lines = host.audit_of(reply.id());
        for line in &lines {
            assert_eq!((&line["operation"], &line["key"]), (&json!(operation), &json!("a")));
        }
        let last = lines.last().unwrap();
        assert_eq!((&last["outcome"], &last["provider"]), (&json!("ok"), &json!("tpm")), "{last}");
        assert_eq!(last["protection"], "emulated");
        lines.iter().map(|line| line["kind"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(lines(&made, "create_counter"), ["intent", "outcome"]);
    assert_eq!(lines(&raised, "increment_counter"), ["request"]);
    assert_eq!(lines(&seen, "read_counter"), ["request"]);
    assert_eq!(lines(&gone, "destroy_counter"), ["intent", "outcome"]);
    let _whole = host.verified_audit();
}

#[test]
fn raising_a_counter_of_the_registry_raises_the_generation_of_its_line() {
    let host = Setup::soft().start();
    create(&host, "a", json!({}));
    let generation = |id: &str| host.audit_of(id)[0]["generation"].as_u64().unwrap();
    let first = host.post("/v1/counters/a/increment", json!({}));
    let second = host.post("/v1/counters/a/increment", json!({}));
    assert_eq!(generation(second.id()), generation(first.id()) + 1);
}

/// Runs a tool of another maker on the TPM.
fn tpm2(swtpm: &Swtpm, tool: &str, arguments: &[&str]) {
    let output = Command::new(tool).args(arguments).args(["-T", &swtpm.tcti()]).output().unwrap();
    assert!(output.status.success(), "{tool}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn counter_that_its_device_lost_is_no_absent_counter() {
    let swtpm = Swtpm::start().unwrap();
    let host = Setup::soft().with_tpm(&swtpm).start();
    create(&host, "a", json!({}));
    tpm2(&swtpm, "tpm2_nvundefine", &["-C", "o", "0x01820000"]);
    let check_lost = || {
        let raised = host.post("/v1/counters/a/increment", json!({})).problem(400, "integrity");
        assert!(raised["detail"].as_str().unwrap().contains("lost the counter"), "{raised}");
        let _lost = host.get("/v1/counters/a").problem(400, "integrity");
        let _taken = host.post("/v1/counters/a", json!({})).problem(409, "conflict");
    };
    check_lost();
    let attributes = "authread|authwrite|no_da|nt=0x1";
    tpm2(&swtpm, "tpm2_nvdefine", &["-C", "o", "-a", attributes, "0x01820000"]);
    tpm2(&swtpm, "tpm2_nvincrement", &["-C", "0x01820000", "0x01820000"]);
    check_lost();
    host.delete("/v1/counters/a?confirm=a").done();
    let _gone = host.get("/v1/counters/a").problem(404, "not_found");
    assert_eq!(indices(&swtpm), 1, "the other's counter stays");
}

/// The registry's files of a stopped host, to be put back.
fn copy(host: &Sealhost) -> Vec<(PathBuf, Vec<u8>)> {
    let files = fs::read_dir(host.state_dir()).unwrap().map(|entry| entry.unwrap().path());
    let of_registry = files.filter(|path| path.to_str().unwrap().contains("registry.db"));
    of_registry.map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

fn put_back(host: &Sealhost, files: &[(PathBuf, Vec<u8>)]) {
    for (path, _) in copy(host) {
        fs::remove_file(path).unwrap();
    }
    for (path, bytes) in files {
        fs::write(path, bytes).unwrap();
    }
}

fn edit(host: &Sealhost, statements: &str) {
    let registry = Connection::open(host.state_dir().join("registry.db")).unwrap();
    registry.execute_batch(statements).unwrap();
}

/// Starts a host that must refuse, and checks what it said.
#[track_caller]
fn check_refused(host: &mut Sealhost, words: &str) {
    let before = host.log().len();
    let started = host.try_start();
    let log = host.log();
    let said = log.get(before..).unwrap();
    assert!(started.is_err_and(|status| !status.success()), "it started:\n{said}");
    assert!(said.contains(words), "{words:?} is not in:\n{said}");
}

#[test]
fn registry_that_was_put_back_is_refused() {
    let mut host = Setup::soft().start();
    create(&host, "a", json!({}));
    assert!(host.stop().success());
    let older = copy(&host);
    host.start();
    increment(&host, "a");
    assert!(host.stop().success());
    put_back(&host, &older);
    check_refused(&mut host, "an older registry was put in its place");
}

#[test]
fn edits_of_counters_are_noticed() {
    let mut swtpm = Swtpm::start().unwrap();
    let mut host = Setup::default().with_tpm(&swtpm).with_soft().start();
    create(&host, "old", json!({"kind": "registry"}));
    host.delete("/v1/counters/old?confirm=old").done();
    create(&host, "own", json!({"kind": "registry"}));
    create(&host, "dev", json!({}));
    create(&host, "dev2", json!({}));
    assert!(host.stop().success());
    swtpm.stop().unwrap();
    let good = copy(&host);
    for statement in [
        "UPDATE counters SET value = value - 1 WHERE name = 'own'",
        "UPDATE counters SET value = value + 1 WHERE name = 'own'",
        "UPDATE counters SET name = 'other' WHERE name = 'own'",
        "UPDATE counters SET created_at = '2020-01-01T00:00:00Z' WHERE name = 'own'",
        "DELETE FROM counters WHERE name = 'own'",
        "DELETE FROM counters",
        "DELETE FROM counters; UPDATE counter_floor SET value = 0",
        "UPDATE counter_floor SET value = 0",
        "DELETE FROM counters WHERE name = 'dev'",
        "UPDATE counters SET protection = 'hardware' WHERE name = 'dev'",
        "UPDATE counters SET stage = 'destroying' WHERE name = 'dev'",
        "UPDATE counters SET blob = (SELECT blob FROM counters WHERE name = 'dev2'),
         id = (SELECT id FROM counters WHERE name = 'dev2') WHERE name = 'dev'",
        "UPDATE counters SET provider = NULL, value = 1 WHERE name = 'dev'",
    ] {
        edit(&host, statement);
        check_refused(&mut host, "the registry was altered or replaced by an older one");
        put_back(&host, &good);
    }
    swtpm.start_again().unwrap();
    host.start();
    host.wait_until("the TPM is open", |host| host.provider("tpm")["state"] == "open");
    assert_eq!((read(&host, "own"), read(&host, "dev")), (2, 1));
}

#[test]
fn sealctl_makes_raises_shows_and_destroys_a_counter() {
    let host = Setup::soft().start();
    let sealctl = |arguments: &[&str]| {
        let socket = host.socket();
        let output = Command::new(built("sealctl"))
            .args(["--socket", socket.to_str().unwrap(), "counter"])
            .args(arguments)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(sealctl(&["create", "stores/web"]).contains("kept in  registry"));
    assert_eq!(sealctl(&["increment", "stores/web"]), "2\n");
    assert!(sealctl(&["show", "stores/web"]).contains("value    2"));
    assert!(sealctl(&["list"]).contains("stores/web  registry"));
    let destroy = ["destroy", "stores/web", "--confirm", "stores/web"];
    assert_eq!(sealctl(&destroy), "destroyed counter stores/web\n");
    assert_eq!(sealctl(&["list"]), "there are no counters that you may see\n");
}
