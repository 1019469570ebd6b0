//! What comes without having been asked for: updates, and deletions (case M16).

use secret_manager::lifecycle::{Action, Event, Lifecycle, Patience};
use secret_manager::{Freshness, GetError, Policy, Push, Reported};
use serde_json::{Value, json};
use swtpm_fixtures::Mosquitto;
use swtpm_fixtures::mosquitto::Demands;

use super::cloud::{Cloud, topic};
use super::device::{Device, options};

async fn start() -> (Mosquitto, Cloud, Device) {
    let broker = Mosquitto::start(Demands::default()).unwrap();
    let cloud = Cloud::of(&broker).await;
    let device = Device::start(options(&broker)).await;
    (broker, cloud, device)
}

fn update(value: &str) -> Value {
    json!({"Secrets": [{"Name": "a", "Version": "v1", "Value": value}]})
}

#[tokio::test]
async fn m16_delete_erases_every_layer_keeps_the_stale_out_is_reported_and_asked_for_again() {
    let (_broker, mut cloud, mut device) = start().await;
    cloud
        .respond(
            &json!({"CreateDate": "2026-01-01T00:00:00Z", "Secrets": update("old")["Secrets"]}),
        )
        .await;
    device.carry_out().await;
    assert_eq!(cloud.acknowledgement().await["Secrets"][0]["Result"], "stored");
    assert_eq!(device.get("a", Freshness::Stored).await.unwrap(), "old");

    let mut machine = Lifecycle::new(Patience::default());
    machine.step(Event::Started { complete: true }, 0);
    cloud.delete(&json!({"RequestId": "d1", "Secrets": [{"Name": "a"}]})).await;
    assert_eq!(machine.step(Event::DeleteRequested, 0), Some(Action::Delete));
    device.carry_out().await;
    assert_eq!(
        cloud.acknowledgement().await,
        json!({"RequestId": "d1", "Status": 200, "Secrets": [{"Name": "a", "Result": "deleted"}]}),
    );
    assert_eq!((device.base.held(), device.cache.held()), ((0, 0), (0, 0)));

    // The tombstone keeps out what is older than it, and a lookup does not ask.
    cloud
        .respond(
            &json!({"CreateDate": "2026-01-01T00:00:00Z", "Secrets": update("old")["Secrets"]}),
        )
        .await;
    device.carry_out().await;
    assert_eq!(cloud.acknowledgement().await["Secrets"][0]["Result"], "outdated");
    let error = device.get("a", Freshness::Stored).await.unwrap_err();
    assert!(matches!(error, GetError::NotFound), "{error}");
    assert!(device.source.report(&[("a".parse().unwrap(), None, Reported::Deleted)]));
    let report = cloud.status().await;
    assert_eq!(report["Secrets"], json!([{"Name": "a", "Result": "deleted"}]));

    let send = machine.step(Event::Deleted, 0);
    assert!(matches!(send, Some(Action::Send { .. })), "{send:?}");
    let (got, ()) = tokio::join!(device.get("a", Freshness::Forced), async {
        let request = cloud.request().await;
        cloud.answer(&request, &[("a", "new")]).await;
    });
    assert_eq!(got.unwrap(), "new");
}

#[tokio::test]
async fn unsolicited_update_is_stored_where_that_is_configured() {
    let (_broker, mut cloud, mut device) = start().await;
    cloud.respond(&update("pushed")).await;
    device.carry_out().await;
    assert_eq!(
        cloud.acknowledgement().await,
        json!({"Status": 200, "Secrets": [{"Name": "a", "Version": "v1", "Result": "stored"}]}),
    );
    assert_eq!(device.get("a", Freshness::Stored).await.unwrap(), "pushed");
}

#[tokio::test]
async fn unsolicited_update_and_delete_are_refused_where_nothing_is_configured() {
    let broker = Mosquitto::start(Demands::default()).unwrap();
    let mut cloud = Cloud::of(&broker).await;
    let mut setup = options(&broker);
    setup.policy = Policy::default();
    let mut device = Device::start(setup).await;
    cloud.respond(&update("pushed")).await;
    let refused = json!({"Status": 403, "Reason": "not_asked_for"});
    assert_eq!(cloud.acknowledgement().await, refused);
    cloud.delete(&json!({"Secrets": [{"Name": "a"}]})).await;
    assert_eq!(cloud.acknowledgement().await, refused);
    assert!(device.pushes.try_recv().is_err());
}

#[tokio::test]
async fn push_that_is_not_carried_out_is_answered_as_failed() {
    let (_broker, mut cloud, mut device) = start().await;
    cloud.respond(&update("pushed")).await;
    drop(device.push().await);
    let answer = cloud.acknowledgement().await;
    assert_eq!(
        (&answer["Status"], &answer["Secrets"][0]["Result"]),
        (&json!(500), &json!("failed"))
    );
}

#[tokio::test]
async fn push_of_which_nothing_can_be_used_is_refused() {
    let (_broker, mut cloud, mut device) = start().await;
    cloud.delete(&json!({"Secrets": [{"Name": "a b"}]})).await;
    let answer = cloud.acknowledgement().await;
    assert_eq!(answer["Status"], 422);
    assert_eq!(answer["Secrets"], json!([{"Result": "refused", "Reason": "name"}]));
    assert!(device.pushes.try_recv().is_err());
}

#[tokio::test]
async fn pushes_at_limit_wait_and_one_past_it_is_answered_busy() {
    let (_broker, mut cloud, mut device) = start().await;
    for _push in 0..=secret_manager::DELIVERIES_WAITING_MAX {
        cloud.respond(&update("pushed")).await;
    }
    assert_eq!(cloud.acknowledgement().await, json!({"Status": 503, "Reason": "busy"}));
    for _push in 0..secret_manager::DELIVERIES_WAITING_MAX {
        device.carry_out().await;
        assert_eq!(cloud.acknowledgement().await["Status"], 200);
    }
}

#[tokio::test]
async fn retained_delete_is_not_followed() {
    let broker = Mosquitto::start(Demands::default()).unwrap();
    let mut cloud = Cloud::of(&broker).await;
    cloud.keep(&topic("delete"), &json!({"RequestId": "old", "Secrets": [{"Name": "a"}]})).await;
    // The broker has it before it has this one, to which the cloud listens.
    cloud.say(&topic("status"), "{}").await;
    cloud.status().await;
    let mut device = Device::start(options(&broker)).await;
    cloud.delete(&json!({"RequestId": "new", "Secrets": [{"Name": "b"}]})).await;
    let Push { delivery, ticket } = device.push().await;
    assert_eq!(delivery.removals[0].name.as_str(), "b");
    ticket.done(&[]);
    assert_eq!(cloud.acknowledgement().await["RequestId"], "new");
}

#[tokio::test]
async fn push_that_was_not_carried_out_before_the_end_is_delivered_again() {
    let (broker, mut cloud, mut device) = start().await;
    cloud.delete(&json!({"RequestId": "d1", "Secrets": [{"Name": "a"}]})).await;
    let push = device.push().await;
    // As after a crash: nobody said anything about the push, to the cloud or to the broker.
    drop((device.source, device.chain));
    let mut device = Device::start(options(&broker)).await;
    drop(push);
    device.carry_out().await;
    assert_eq!(cloud.acknowledgement().await["Status"], 200);
}

#[tokio::test]
async fn push_while_the_device_is_away_is_delivered_when_it_is_back() {
    let (broker, mut cloud, device) = start().await;
    device.source.stop().await;
    cloud.respond(&update("pushed")).await;
    // The broker has it before it has this one, to which the cloud listens.
    cloud.say(&topic("status"), "{}").await;
    cloud.status().await;
    let mut device = Device::start(options(&broker)).await;
    device.carry_out().await;
    assert_eq!(cloud.acknowledgement().await["Status"], 200);
    assert_eq!(device.get("a", Freshness::Stored).await.unwrap(), "pushed");
}
