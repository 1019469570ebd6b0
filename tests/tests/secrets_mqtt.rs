//! The secret manager behind a real broker, through its socket: it asks for what it is to have,
//! takes what the cloud sends, reports, and serves what it has without a broker.
#![expect(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    reason = "integration tests, and what they share"
)]

// What the cloud speaks.
use rumqttc as _;
use serde_json::{Value, json};
use swtpm_fixtures::Mosquitto;
use swtpm_fixtures::mosquitto::Demands;
use tests::{SecretManager, SecretSetup, Setup};

#[path = "../../secret-manager/tests/mqtt/cloud.rs"]
#[expect(dead_code, reason = "the source's own tests use the rest")]
mod cloud;

use cloud::{Cloud, DEVICE};

fn source(broker: &Mosquitto, more: &str) -> String {
    format!(
        "[source]\ntype = \"mqtt\"\ndevice = \"{DEVICE}\"\nbroker = \"unix:{}\"\n\
         first_pause = \"10ms\"\nlongest_pause = \"100ms\"\n{more}\n",
        broker.socket().display()
    )
}

fn broker() -> Mosquitto {
    Mosquitto::start(Demands::default()).unwrap()
}

fn served(manager: &SecretManager, name: &str) -> Option<Vec<u8>> {
    (manager.get(&format!("/v1/secrets/{name}")).status == 200).then(|| manager.value(name))
}

#[tokio::test(flavor = "multi_thread")]
async fn m7_wanted_secret_is_asked_for_at_the_start_stored_reported_and_served_offline() {
    let (host, mut broker) = (Setup::soft().start(), broker());
    let mut cloud = Cloud::of(&broker).await;
    let mut manager = SecretSetup::cached()
        .with(&source(&broker, "wanted = [\"web/db\", \"web/none\"]"))
        .start(&host);
    let request = cloud.request().await;
    let names: Vec<_> =
        request["Secrets"].as_array().unwrap().iter().map(|it| &it["Name"]).collect();
    assert_eq!(names, ["web/db", "web/none"]);
    cloud.answer(&request, &[("web/db", "correct horse")]).await;
    cloud.acknowledgement().await;
    let report = cloud.status().await;
    let entries = report["Secrets"].to_string();
    assert!(entries.contains("web/db") && entries.contains("stored"), "{report}");
    assert!(entries.contains("web/none") && entries.contains("missing"), "{report}");
    assert_eq!(manager.value("web%2Fdb"), b"correct horse");

    broker.stop().unwrap();
    manager.restart();
    assert_eq!(manager.value("web%2Fdb"), b"correct horse", "without a broker, from the store");
}

#[tokio::test(flavor = "multi_thread")]
async fn m7_secret_that_a_caller_asks_for_is_fetched_once() {
    let (host, broker) = (Setup::soft().start(), broker());
    let mut cloud = Cloud::of(&broker).await;
    let manager = SecretSetup::cached().with(&source(&broker, "")).start(&host);
    let asking = tokio::task::spawn_blocking(move || {
        let first = manager.value("api%2Fkey");
        (first, manager.value("api%2Fkey"), manager)
    });
    let request = cloud.request().await;
    cloud.answer(&request, &[("api/key", "a+b")]).await;
    let (first, second, manager) = asking.await.unwrap();
    assert_eq!((first.as_slice(), second.as_slice()), (&b"a+b"[..], &b"a+b"[..]));
    let lines = manager.verified_audit();
    let from: Vec<_> =
        lines.iter().filter(|line| line["operation"] == "get").map(|line| &line["from"]).collect();
    assert_eq!(from.len(), 2, "{lines:?}");
    assert_eq!(from.last(), Some(&&json!("memory")));
}

#[tokio::test(flavor = "multi_thread")]
async fn m16_delete_from_the_cloud_erases_reports_and_asks_again() {
    let (host, broker) = (Setup::soft().start(), broker());
    let mut cloud = Cloud::of(&broker).await;
    let manager = SecretSetup::cached()
        .with(&source(&broker, "wanted = [\"web/db\"]\ndeletes = true\nunsolicited_updates = true"))
        .start(&host);
    let request = cloud.request().await;
    cloud.answer(&request, &[("web/db", "old")]).await;
    cloud.acknowledgement().await;
    cloud.status().await;
    assert_eq!(served(&manager, "web%2Fdb").unwrap(), b"old");

    cloud.delete(&json!({"RequestId": "11", "Secrets": [{"Name": "web/db"}]})).await;
    let mut seen: Vec<Value> = Vec::new();
    let again = loop {
        let (topic, payload) = cloud.next().await;
        let message: Value = serde_json::from_slice(&payload).unwrap();
        if topic.ends_with("/request") {
            break message;
        }
        seen.push(message);
    };
    assert!(seen.iter().any(|message| message.to_string().contains("deleted")), "{seen:?}");
    cloud.answer(&again, &[("web/db", "new")]).await;
    manager.wait_until("the new value", |manager| {
        served(manager, "web%2Fdb").is_some_and(|value| value == b"new")
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn m14_silent_cloud_is_unavailable_and_not_not_found() {
    let (host, broker) = (Setup::soft().start(), broker());
    let _cloud = Cloud::of(&broker).await;
    let quick = source(&broker, "timeout = \"50ms\"\nattempts = 2");
    let manager = SecretSetup::cached().with(&quick).start(&host);
    manager.wait_until("the connection", |manager| manager.get("/v1/secrets/x").status == 503);
    let problem = manager.get("/v1/secrets/x");
    assert_eq!(problem.status, 503, "{problem:?}");
}
