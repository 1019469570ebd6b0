//! SIGHUP reads the access rules again, and a broken file changes nothing.
#![expect(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    reason = "integration tests, and what they share"
)]

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::{Value, json};
use tests::{Sealhost, Setup, User};

const ROOT: &str = "[[rule]]\nprincipal = { uid = 0 }\nkeys = [\"**\"]\noperations = [\"*\"]\n";
const USER: &str = "[[rule]]\nprincipal = { uid = 4242 }\noperations = [\"random\"]\n";

fn reloads(host: &Sealhost) -> Vec<Value> {
    let text = std::fs::read_to_string(host.audit_path()).unwrap();
    let lines = text.lines().filter(|line| line.contains("\"kind\":\"reload\""));
    lines.map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Writes other rules, sends SIGHUP, and waits until the audit has it; compares its outcome and
/// whether user 4242 may draw random bytes then.
#[track_caller]
fn check(host: &mut Sealhost, rules: &str, outcome: &str, allowed: bool) {
    let before = reloads(host).len();
    host.reconfigure(|setup| setup.with_rules(rules));
    host.signal("HUP");
    host.wait_until("the reload", |host| reloads(host).len() > before);
    let reloads = reloads(host);
    assert_eq!((reloads.len(), &reloads[before]["outcome"]), (before + 1, &json!(outcome)));
    assert_eq!(may(host), allowed);
    assert_eq!(host.get("/v1/status").status, 200);
}

fn may(host: &Sealhost) -> bool {
    let reply = User::new(4242).post(&host.socket(), "/v1/random", json!({"bytes": 1}));
    if reply.status != 200 {
        reply.problem(403, "denied");
    }
    reply.status == 200
}

fn host(rules: &str) -> Sealhost {
    Setup::soft().for_everybody().with_rules(rules).start()
}

#[test]
fn reload_takes_rules_in_and_out() {
    let mut host = host(ROOT);
    assert!(!may(&host));
    check(&mut host, &format!("{ROOT}{USER}"), "ok", true);
    check(&mut host, ROOT, "ok", false);
    let _whole = host.verified_audit();
}

#[test]
fn broken_reload_keeps_the_old_rules() {
    let mut host = host(&format!("{ROOT}{USER}"));
    for broken in [
        "[[rule]]\nprincipal = { uid = 0 }\nkeys = [\"**\"]\noperations = [\"open\"]\n",
        "[[rule]]\nprincipal = {}\noperations = [\"random\"]\n",
        "[[rule]]\nprincipal = { user = \"no-such-user\" }\noperations = [\"random\"]\n",
        "[[rule\n",
        "\u{0}",
    ] {
        check(&mut host, broken, "invalid", true);
    }
    check(&mut host, ROOT, "ok", false);
}

#[test]
fn reload_of_a_file_that_others_could_write_keeps_the_old_rules() {
    use std::os::unix::fs::PermissionsExt;
    let mut host = host(ROOT);
    host.reconfigure(|setup| setup.with_rules(&format!("{ROOT}{USER}")));
    let open = std::fs::Permissions::from_mode(0o666);
    std::fs::set_permissions(host.config_path(), open).unwrap();
    host.signal("HUP");
    host.wait_until("the reload", |host| !reloads(host).is_empty());
    assert_eq!(reloads(&host)[0]["outcome"], "invalid");
    assert!(!may(&host));
    assert!(host.log().contains("chmod go-w"), "{}", host.log());
}

#[test]
fn reload_of_a_file_that_is_gone_keeps_the_old_rules() {
    let host = host(&format!("{ROOT}{USER}"));
    std::fs::remove_file(host.config_path()).unwrap();
    host.signal("HUP");
    host.wait_until("the reload", |host| !reloads(host).is_empty());
    assert!(may(&host));
}

#[test]
fn broken_reload_lists_every_fault_in_the_log() {
    let mut host = host(ROOT);
    check(
        &mut host,
        "[[rule]]\nprincipal = {}\noperations = [\"random\"]\n\
         [[rule]]\nprincipal = { uid = 1 }\noperations = [\"open\"]\n",
        "invalid",
        false,
    );
    let log = host.log();
    assert!(log.contains("no operation \"open\"") && log.contains("names 0 principals"), "{log}");
}

#[test]
fn reload_says_which_sections_wait_for_a_restart() {
    let mut host = host(ROOT);
    host.reconfigure(|setup| setup.with_floor("hardware"));
    host.signal("HUP");
    host.wait_until("the reload", |host| !reloads(host).is_empty());
    assert_eq!(host.get("/v1/status").ok()["floor"], "software");
    assert!(host.log().contains("[selection]"), "{}", host.log());
}

#[test]
fn reloads_under_load_drop_no_request() {
    let mut host = host(ROOT);
    host.create("a", "seal", "soft");
    let sealed = host.seal("a", "text");
    let (done, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    let socket = host.socket();
    let body = json!({"sealed": sealed}).to_string();
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let target = "/v1/keys/a/unseal";
                    let reply = tests::http::request(&socket, "POST", target, body.as_bytes());
                    assert_eq!(reply.status, 200);
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for round in 0..20 {
            let rules = if round % 2 == 0 { format!("{ROOT}{USER}") } else { ROOT.to_owned() };
            let before = reloads(&host).len();
            host.reconfigure(|setup| setup.with_rules(&rules));
            host.signal("HUP");
            host.wait_until("the reload", |host| reloads(host).len() > before);
        }
        done.store(true, Ordering::Relaxed);
    });
    assert!(answered.load(Ordering::Relaxed) > 100);
    assert!(reloads(&host).iter().all(|line| line["outcome"] == "ok"));
    let _whole = host.verified_audit();
}
