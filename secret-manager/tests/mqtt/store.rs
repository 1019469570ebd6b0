//! The source behind stores: cases M7 and M8, and work without the cloud.

use secret_manager::{Freshness, GetError, Reported, SourceError};
use serde_json::json;
use swtpm_fixtures::Mosquitto;
use swtpm_fixtures::mosquitto::Demands;

use super::cloud::Cloud;
use super::device::{Device, hasty, options};

/// Gets a secret, which the cloud delivers when asked.
async fn get(device: &Device, cloud: &mut Cloud, freshness: Freshness, value: &str) -> String {
    let (got, ()) = tokio::join!(device.get("a", freshness), async {
        let request = cloud.request().await;
        cloud.answer(&request, &[("a", value)]).await;
        assert_eq!(cloud.acknowledgement().await["Status"], 200);
    });
    got.unwrap()
}

#[tokio::test]
async fn m7_cold_get_makes_one_request_and_fills_every_store() {
    let broker = Mosquitto::start(Demands::default()).unwrap();
    let mut cloud = Cloud::of(&broker).await;
    let device = Device::start(options(&broker)).await;
    assert_eq!(get(&device, &mut cloud, Freshness::Stored, "one").await, "one");
    assert_eq!((device.base.held(), device.cache.held()), ((1, 3), (1, 3)));
    assert_eq!(device.get("a", Freshness::Stored).await.unwrap(), "one");
    // The next message on the same connection is not a second request.
    assert!(device.source.report(&[("a".parse().unwrap(), None, Reported::Stored)]));
    let report = cloud.status().await;
    assert_eq!(report["Secrets"], json!([{"Name": "a", "Result": "stored"}]));
}

#[tokio::test]
async fn m8_forced_get_asks_again_and_rewrites_every_store() {
    let broker = Mosquitto::start(Demands::default()).unwrap();
    let mut cloud = Cloud::of(&broker).await;
    let device = Device::start(options(&broker)).await;
    get(&device, &mut cloud, Freshness::Stored, "one").await;
    assert_eq!(get(&device, &mut cloud, Freshness::Forced, "three").await, "three");
    assert_eq!((device.base.held(), device.cache.held()), ((1, 5), (1, 5)));
    assert_eq!(device.get("a", Freshness::Stored).await.unwrap(), "three");
}

#[tokio::test]
async fn stored_secret_is_served_without_a_broker_and_another_is_unavailable() {
    let mut broker = Mosquitto::start(Demands::default()).unwrap();
    let mut cloud = Cloud::of(&broker).await;
    let mut device = Device::start(hasty(&broker)).await;
    cloud.respond(&json!({"Secrets": [{"Name": "a", "Value": "one"}]})).await;
    device.carry_out().await;
    assert_eq!(cloud.acknowledgement().await["Status"], 200);
    broker.stop().unwrap();
    device.link(|state| *state != secret_manager::LinkState::Up).await;
    assert_eq!(device.get("a", Freshness::Stored).await.unwrap(), "one");
    let error = device.get("b", Freshness::Stored).await.unwrap_err();
    let GetError::Source(SourceError::Silent { reason, .. }) = &error else { panic!("{error}") };
    assert!(reason.starts_with("the broker cannot be reached: "), "{reason}");
}
