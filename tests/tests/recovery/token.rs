//! Tokens that are removed and come back.

use std::time::{Duration, Instant};

use serde_json::json;
use swtpm_fixtures::SoftHsm;
use tests::{Setup, b64};

use crate::mac;

#[test]
fn token_that_is_removed_and_restored_serves_again() {
    let hsm = SoftHsm::start("edge", "1234").unwrap();
    let host = Setup::default().with_hsm(&hsm).start();
    host.create("a", "seal", "hsm");
    host.create("s", "sign", "hsm");
    let sealed = host.seal("a", "x");
    for _ in 0..3 {
        hsm.remove_token().unwrap();
        host.unseal("a", &sealed).problem(503, "unavailable");
        assert_eq!(host.provider("hsm")["state"], "down");
        hsm.restore_token().unwrap();
        let back = Instant::now();
        host.wait_until("the token is back", |host| host.unseal("a", &sealed).status == 200);
        assert!(back.elapsed() < Duration::from_secs(2), "{:?}", back.elapsed());
        host.post("/v1/keys/s/sign", json!({"digest": b64([1; 32])})).done();
    }
}

#[test]
fn change_that_a_lost_token_cut_short_is_completed_when_it_is_back() {
    let hsm = SoftHsm::start("edge", "1234").unwrap();
    let host = Setup::default().with_hsm(&hsm).start();
    host.create("a", "mac", "hsm");
    let before = mac(&host, "a").text("mac");
    let objects = hsm.objects().unwrap();
    hsm.remove_token().unwrap();
    host.post("/v1/keys/a/rotate", json!({})).problem(503, "unavailable");
    host.post("/v1/keys/b", json!({"usage": "mac"})).problem(503, "unavailable");
    host.delete("/v1/keys/a?confirm=a").problem(503, "unavailable");
    hsm.restore_token().unwrap();
    host.wait_until("the token is back", |host| host.provider("hsm")["state"] == "open");
    assert_eq!(mac(&host, "a").text("mac"), before);
    host.get("/v1/keys/b").problem(404, "not_found");
    host.wait_until("the leftovers are gone", |_| hsm.objects().unwrap() == objects);
    let rotated = host.post("/v1/keys/a/rotate", json!({})).ok();
    assert_eq!(rotated["versions"].as_array().unwrap().len(), 2);
    host.create("b", "mac", "hsm");
    host.delete("/v1/keys/a?confirm=a").done();
    assert_eq!(hsm.objects().unwrap(), objects);
}

#[test]
fn destruction_that_a_lost_token_cut_short_is_completed() {
    let hsm = SoftHsm::start("edge", "1234").unwrap();
    let mut host = Setup::default().with_hsm(&hsm).start();
    let own = hsm.objects().unwrap();
    host.create("a", "mac", "hsm");
    hsm.remove_token().unwrap();
    // The host has not noticed yet, so it begins.
    host.delete("/v1/keys/a?confirm=a").problem(503, "unavailable");
    hsm.restore_token().unwrap();
    host.wait_until("the token is back", |host| host.provider("hsm")["state"] == "open");
    // What was begun is done without anybody asking again.
    host.wait_until("the destruction is completed", |_| hsm.objects().unwrap() == own);
    mac(&host, "a").problem(404, "not_found");
    host.restart();
    mac(&host, "a").problem(404, "not_found");
    let recovered = host.audit().iter().filter(|line| line["kind"] == "recovered").count();
    assert_eq!(recovered, 1);
}
