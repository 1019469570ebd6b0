//! Requests and responses: cases M11, M13, M14 and M15.

use std::time::Duration;

use secret_manager::{Freshness, GetError, Reported, Source, SourceError};
use serde_json::{Value, json};
use swtpm_fixtures::Mosquitto;
use swtpm_fixtures::mosquitto::Demands;

use super::cloud::Cloud;
use super::device::{Device, hasty, options, wanted};

fn broker() -> Mosquitto {
    Mosquitto::start(Demands::default()).unwrap()
}

/// Asks for names, answers with a message, and compares what is acknowledged.
async fn check(names: &[&str], secrets: Value, acknowledged: Value) -> Vec<Vec<String>> {
    let broker = broker();
    let mut cloud = Cloud::of(&broker).await;
    let device = Device::start(options(&broker)).await;
    let wanted = wanted(names);
    let (fetched, ()) = tokio::join!(device.source.fetch(&wanted), async {
        let request = cloud.request().await;
        let id = request["RequestId"].clone();
        cloud.respond(&json!({"RequestId": id, "Secrets": secrets})).await;
        let mut found = cloud.acknowledgement().await;
        assert_eq!(found["RequestId"], id);
        found.as_object_mut().unwrap().remove("RequestId");
        assert_eq!(found, acknowledged);
    });
    device.source.stop().await;
    let fetched = fetched.unwrap().into_iter().map(|drafts| {
        let values = drafts.iter().map(|draft| draft.value.as_bytes().to_vec());
        values.map(|value| String::from_utf8(value).unwrap()).collect()
    });
    fetched.collect()
}

#[tokio::test]
async fn request_names_what_is_wanted_and_when_it_was_made() {
    let broker = broker();
    let mut cloud = Cloud::of(&broker).await;
    let device = Device::start(options(&broker)).await;
    let mut wanted = wanted(&["a", "b/c"]);
    wanted[1].version = Some("v1".parse().unwrap());
    let (fetched, ()) = tokio::join!(device.source.fetch(&wanted), async {
        let request = cloud.request().await;
        assert_eq!(request["RequestId"].as_str().unwrap().len(), 36);
        assert!(request["CreateDate"].as_str().unwrap().ends_with('Z'), "{request}");
        assert_eq!(request["Secrets"], json!([{"Name": "a"}, {"Name": "b/c", "Version": "v1"}]));
        cloud.answer(&request, &[]).await;
    });
    assert!(fetched.unwrap().iter().all(Vec::is_empty));
}

#[tokio::test]
async fn m11_secret_with_a_null_version_is_stored_as_default() {
    let broker = broker();
    let mut cloud = Cloud::of(&broker).await;
    let device = Device::start(options(&broker)).await;
    let (got, ()) = tokio::join!(device.get("a", Freshness::Stored), async {
        let request = cloud.request().await;
        let secrets = json!([{"Name": "a", "Version": null, "Value": "x"}]);
        cloud.respond(&json!({"RequestId": request["RequestId"], "Secrets": secrets})).await;
    });
    assert_eq!(got.unwrap(), "x");
    let versions = device.chain.versions(&"a".parse().unwrap()).await.unwrap();
    let versions: Vec<_> = versions.iter().map(|it| it.version.as_str()).collect();
    assert_eq!(versions, ["default"]);
}

#[tokio::test]
async fn m13_response_to_an_unknown_request_is_refused() {
    let broker = broker();
    let mut cloud = Cloud::of(&broker).await;
    let mut device = Device::start(options(&broker)).await;
    let secrets = json!([{"Name": "a", "Value": "x"}]);
    cloud.respond(&json!({"RequestId": "foreign", "Secrets": secrets})).await;
    let answer = cloud.acknowledgement().await;
    let refused = json!({"RequestId": "foreign", "Status": 404, "Reason": "unknown_request"});
    assert_eq!(answer, refused);
    assert!(device.pushes.try_recv().is_err());
    assert_eq!(device.base.held(), (0, 0));
}

#[tokio::test]
async fn m13_same_response_twice_is_taken_once() {
    let broker = broker();
    let mut cloud = Cloud::of(&broker).await;
    let device = Device::start(options(&broker)).await;
    let (got, request) = tokio::join!(device.get("a", Freshness::Stored), async {
        let request = cloud.request().await;
        cloud.answer(&request, &[("a", "first")]).await;
        cloud.answer(&request, &[("a", "second")]).await;
        assert_eq!(cloud.acknowledgement().await["Status"], 200);
        let second = cloud.acknowledgement().await;
        assert_eq!(
            (&second["Status"], &second["Reason"]),
            (&json!(409), &json!("already_answered"))
        );
        request
    });
    assert_eq!(got.unwrap(), "first");
    cloud.answer(&request, &[("a", "third")]).await;
    assert_eq!(cloud.acknowledgement().await["Status"], 409);
    assert_eq!(device.get("a", Freshness::Stored).await.unwrap(), "first");
}

#[tokio::test]
async fn m13_response_after_the_last_time_out_is_refused() {
    let broker = broker();
    let mut cloud = Cloud::of(&broker).await;
    let device = Device::start(hasty(&broker)).await;
    device.source.fetch(&wanted(&["a"])).await.unwrap_err();
    let request = cloud.request().await;
    assert_eq!(cloud.request().await["RequestId"], request["RequestId"]);
    assert_eq!(cloud.request().await["RequestId"], request["RequestId"]);
    cloud.answer(&request, &[("a", "late")]).await;
    let answer = cloud.acknowledgement().await;
    assert_eq!((&answer["Status"], &answer["Reason"]), (&json!(410), &json!("too_late")));
    assert_eq!(device.base.held(), (0, 0));
}

#[tokio::test]
async fn m14_silent_cloud_is_asked_as_often_as_set_and_is_not_not_found() {
    let broker = broker();
    let mut cloud = Cloud::of(&broker).await;
    let device = Device::start(hasty(&broker)).await;
    let error = device.get("a", Freshness::Stored).await.unwrap_err();
    let GetError::Source(SourceError::Silent { reason, .. }) = &error else { panic!("{error}") };
    assert_eq!(reason, "3 requests were not answered within 0.15 s each");
    for _attempt in 0..3 {
        cloud.request().await;
    }
    // The next message on the same connection is not a fourth request.
    assert!(device.source.report(&[("a".parse().unwrap(), None, Reported::Failed)]));
    cloud.status().await;
}

#[tokio::test]
async fn m14_answer_during_the_pause_after_a_time_out_is_taken() {
    let broker = broker();
    let mut cloud = Cloud::of(&broker).await;
    let mut options = hasty(&broker);
    options.patience.timeout = Duration::from_millis(1);
    options.patience.first_pause = Duration::from_secs(120);
    options.patience.longest_pause = Duration::from_secs(120);
    let device = Device::start(options).await;
    let (got, ()) = tokio::join!(device.get("a", Freshness::Stored), async {
        let request = cloud.request().await;
        cloud.answer(&request, &[("a", "x")]).await;
    });
    assert_eq!(got.unwrap(), "x");
}

#[tokio::test]
async fn m15_three_names_of_which_one_is_absent_are_two_delivered_and_one_missing() {
    let secrets = json!([{"Name": "c", "Value": "3"}, {"Name": "a", "Value": "1"}]);
    let acknowledged = json!({"Status": 200, "Secrets": [
        {"Name": "c", "Result": "delivered"},
        {"Name": "a", "Result": "delivered"},
        {"Name": "b", "Result": "missing"},
    ]});
    let fetched = check(&["a", "b", "c"], secrets, acknowledged).await;
    assert_eq!(fetched, [vec!["1"], vec![], vec!["3"]]);
}

#[tokio::test]
async fn secret_that_cannot_be_used_is_refused_with_its_reason() {
    let secrets = json!([
        {"Name": "a", "Value": "1"},
        {"Name": "b", "Value": "2", "ExpirationDate": "soon"},
        {"Name": "other", "Value": "3"},
    ]);
    let acknowledged = json!({"Status": 200, "Secrets": [
        {"Name": "a", "Result": "delivered"},
        {"Name": "b", "Result": "refused", "Reason": "date"},
        {"Name": "other", "Result": "refused", "Reason": "not_asked_for"},
    ]});
    assert_eq!(check(&["a", "b"], secrets, acknowledged).await, [vec!["1"], vec![]]);
}

#[tokio::test]
async fn response_of_which_nothing_can_be_used_is_an_error_and_not_not_found() {
    let broker = broker();
    let mut cloud = Cloud::of(&broker).await;
    let device = Device::start(options(&broker)).await;
    let (got, ()) = tokio::join!(device.get("a", Freshness::Stored), async {
        let request = cloud.request().await;
        let secrets = json!([{"Name": "a", "Version": "v 1", "Value": "x"}]);
        cloud.respond(&json!({"RequestId": request["RequestId"], "Secrets": secrets})).await;
        assert_eq!(cloud.acknowledgement().await["Status"], 422);
    });
    assert!(matches!(got, Err(GetError::Source(SourceError::Malformed { .. }))));
}

#[tokio::test]
async fn response_that_is_not_json_is_refused_and_the_request_waits_on() {
    let broker = broker();
    let mut cloud = Cloud::of(&broker).await;
    let device = Device::start(options(&broker)).await;
    let (got, ()) = tokio::join!(device.get("a", Freshness::Stored), async {
        let request = cloud.request().await;
        cloud.say(&super::cloud::topic("response"), "{").await;
        let refused = json!({"Status": 400, "Reason": "malformed"});
        assert_eq!(cloud.acknowledgement().await, refused);
        cloud.answer(&request, &[("a", "x")]).await;
    });
    assert_eq!(got.unwrap(), "x");
}

#[tokio::test]
async fn response_over_the_limit_is_refused_and_the_connection_stays() {
    let broker = broker();
    let mut cloud = Cloud::of(&broker).await;
    let device = Device::start(options(&broker)).await;
    let (got, ()) = tokio::join!(device.get("a", Freshness::Stored), async {
        let request = cloud.request().await;
        let topic = super::cloud::topic("response");
        for bytes in [secret_manager::PAYLOAD_MAX_BYTES + 1, 1_000_000] {
            cloud.say(&topic, vec![b' '; bytes]).await;
            let refused = json!({"Status": 413, "Reason": "too_large"});
            assert_eq!(cloud.acknowledgement().await, refused);
        }
        cloud.answer(&request, &[("a", "x")]).await;
    });
    assert_eq!(got.unwrap(), "x");
}
