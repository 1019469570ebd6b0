//! The topics of Azure IoT Hub, with the test playing the hub on mosquitto.

use secret_manager::{Freshness, MqttOptions, Profile, Reported};
use serde_json::{Value, json};
use swtpm_fixtures::Mosquitto;
use swtpm_fixtures::mosquitto::Demands;

use super::cloud::Cloud;
use super::device::{Device, options};

async fn start() -> (Mosquitto, Cloud, Device) {
    let broker = Mosquitto::start(Demands::default()).unwrap();
    let topics = [
        "devices/device-1/messages/events/#",
        "$iothub/methods/res/#",
        "$iothub/twin/PATCH/properties/reported/#",
    ];
    let cloud = Cloud::listening(&broker, topics.map(str::to_owned).to_vec()).await;
    let profile = Profile::iot_hub("hub.azure-devices.net", "device-1", None).unwrap();
    let device = Device::start(MqttOptions { profile, ..options(&broker) }).await;
    (broker, cloud, device)
}

async fn call(cloud: &mut Cloud, method: &str, id: &str, payload: &Value) -> (String, Value) {
    let topic = format!("$iothub/methods/POST/{method}/?$rid={id}");
    cloud.say(&topic, payload.to_string()).await;
    let (topic, payload) = cloud.next().await;
    (topic, serde_json::from_slice(&payload).unwrap())
}

#[tokio::test]
async fn request_is_a_message_with_its_id_as_property_and_is_answered_by_a_method_call() {
    let (_broker, mut cloud, device) = start().await;
    let (got, ()) = tokio::join!(device.get("a", Freshness::Stored), async {
        let (topic, payload) = cloud.next().await;
        let request: Value = serde_json::from_slice(&payload).unwrap();
        let id = request["RequestId"].as_str().unwrap();
        let properties = format!("secret-request-id={id}&$.ct=application%2Fjson&$.ce=utf-8");
        assert_eq!(topic, format!("devices/device-1/messages/events/{properties}"));
        let secrets = json!([{"Name": "a", "Value": "x"}]);
        let response = json!({"RequestId": id, "Secrets": secrets});
        let (topic, answer) = call(&mut cloud, "UpdateSecrets", "1f", &response).await;
        assert_eq!(topic, "$iothub/methods/res/200/?$rid=1f");
        assert_eq!(answer["Secrets"], json!([{"Name": "a", "Result": "delivered"}]));
    });
    assert_eq!(got.unwrap(), "x");
}

#[tokio::test]
async fn m13_method_call_for_an_unknown_request_is_answered_404() {
    let (_broker, mut cloud, _device) = start().await;
    let response = json!({"RequestId": "foreign", "Secrets": []});
    let (topic, _) = call(&mut cloud, "UpdateSecrets", "1f", &response).await;
    assert_eq!(topic, "$iothub/methods/res/404/?$rid=1f");
}

#[tokio::test]
async fn m16_delete_is_a_method_call_that_is_answered_when_it_is_done() {
    let (_broker, mut cloud, mut device) = start().await;
    let request = json!({"Secrets": [{"Name": "a"}]});
    let ((topic, answer), ()) =
        tokio::join!(call(&mut cloud, "DeleteSecrets", "2", &request), device.carry_out());
    assert_eq!(topic, "$iothub/methods/res/200/?$rid=2");
    assert_eq!(answer["Secrets"], json!([{"Name": "a", "Result": "deleted"}]));
}

#[tokio::test]
async fn unknown_method_is_answered_501() {
    let (_broker, mut cloud, _device) = start().await;
    let (topic, _) = call(&mut cloud, "Reboot", "3", &json!({})).await;
    assert_eq!(topic, "$iothub/methods/res/501/?$rid=3");
}

#[tokio::test]
async fn report_is_a_patch_of_the_twin() {
    let (_broker, mut cloud, device) = start().await;
    assert!(device.source.report(&[("a".parse().unwrap(), None, Reported::Stored)]));
    let (topic, payload) = cloud.next().await;
    assert!(topic.starts_with("$iothub/twin/PATCH/properties/reported/?$rid="), "{topic}");
    let patch: Value = serde_json::from_slice(&payload).unwrap();
    let secrets = &patch["SealhostSecrets"]["Secrets"];
    assert_eq!(*secrets, json!([{"Name": "a", "Result": "stored"}]));
}
