//! Plugins whose counters are wrong.

use serde_json::json;
use tests::Sealhost;

use crate::bench::{Faulty, faulty, faulty_works, panics_in, soft_works, wait_until_open};

/// A host with a counter `n` in the faulty provider.
fn with_counter(provider: &Faulty) -> Sealhost {
    let host = provider.start_open();
    let made = host.post("/v1/counters/n", json!({})).ok();
    assert_eq!((&made["provider"], &made["value"]), (&json!("c"), &json!(1)));
    host
}

#[test]
fn increment_without_a_value_is_internal_and_costs_nobody_else() {
    let host = with_counter(&faulty("counter_unwritten"));
    let problem = host.post("/v1/counters/n/increment", json!({})).problem(500, "internal");
    assert_eq!((&problem["key"], &problem["provider"]), (&json!("n"), &json!("c")));
    assert_eq!(host.get("/v1/counters/n").ok()["value"], 1);
    faulty_works(&host);
    soft_works(&host, "other");
}

#[test]
fn counter_made_without_a_value_is_not_there() {
    let host = faulty("counter_unwritten").settings("silent_create = \"yes\"").start_open();
    let _internal = host.post("/v1/counters/n", json!({})).problem(500, "internal");
    let _gone = host.get("/v1/counters/n").problem(404, "not_found");
    let _made = host.post("/v1/counters/n", json!({"kind": "registry"})).ok();
}

#[test]
fn plugin_that_lacks_a_function_of_counters_has_none() {
    let host = faulty("counter_missing").start_open();
    let _unsupported = host.post("/v1/counters/n", json!({})).problem(400, "unsupported");
    let _gone = host.get("/v1/counters/n").problem(404, "not_found");
    faulty_works(&host);
}

#[test]
fn panic_while_raising_costs_the_worker_and_not_the_counter() {
    let host = with_counter(&panics_in("counter_increment"));
    let before = host.workers();
    let _internal = host.post("/v1/counters/n/increment", json!({})).problem(500, "internal");
    host.wait_until("another worker", |host| {
        let now = host.workers();
        !now.is_empty() && now.iter().all(|worker| !before.contains(worker))
    });
    wait_until_open(&host);
    assert_eq!(host.get("/v1/counters/n").ok()["value"], 1);
}
