//! The other side of the broker: reads what the device sends, and says what the test wants.

use std::time::Duration;

use rumqttc::{AsyncClient, Event, MqttOptions, Packet, QoS, SubscribeFilter, Transport};
use serde_json::{Value, json};
use swtpm_fixtures::Mosquitto;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Generously: tests share few cores.
const PATIENCE: Duration = Duration::from_secs(60);
pub(crate) const DEVICE: &str = "device-1";

pub(crate) struct Cloud {
    client: AsyncClient,
    seen: mpsc::UnboundedReceiver<(String, Vec<u8>)>,
}

impl Cloud {
    /// Listens to what a device with plain topics sends.
    pub(crate) async fn of(broker: &Mosquitto) -> Self {
        let topics = ["request", "ack", "status"].map(topic);
        Self::listening(broker, topics.to_vec()).await
    }

    pub(crate) async fn listening(broker: &Mosquitto, topics: Vec<String>) -> Self {
        let socket = broker.socket().display().to_string();
        let mut options = MqttOptions::new("cloud", socket, 1);
        options.set_transport(Transport::unix());
        options.set_max_packet_size(2_000_000, 2_000_000);
        let (client, mut events) = AsyncClient::new(options, 64);
        let filters = topics.into_iter().map(|it| SubscribeFilter::new(it, QoS::AtLeastOnce));
        client.subscribe_many(filters).await.unwrap();
        while !matches!(events.poll().await.unwrap(), Event::Incoming(Packet::SubAck(_))) {}
        let (tell, seen) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            // A broker that is killed ends the cloud, too.
            while let Ok(event) = events.poll().await {
                if let Event::Incoming(Packet::Publish(it)) = event
                    && tell.send((it.topic, it.payload.to_vec())).is_err()
                {
                    break;
                }
            }
        });
        Self { client, seen }
    }

    /// The next message of the device, which must be on this topic.
    #[track_caller]
    pub(crate) fn next_on(&mut self, topic: &str) -> impl Future<Output = Value> {
        let place = std::panic::Location::caller();
        async move {
            let (found, payload) = self.next().await;
            assert!(found.starts_with(topic), "{place}: {found}, not {topic}");
            serde_json::from_slice(&payload).unwrap()
        }
    }

    pub(crate) async fn next(&mut self) -> (String, Vec<u8>) {
        timeout(PATIENCE, self.seen.recv()).await.unwrap().unwrap()
    }

    pub(crate) async fn request(&mut self) -> Value {
        self.next_on(&topic("request")).await
    }

    pub(crate) async fn acknowledgement(&mut self) -> Value {
        self.next_on(&topic("ack")).await
    }

    pub(crate) async fn status(&mut self) -> Value {
        self.next_on(&topic("status")).await
    }

    pub(crate) async fn say(&self, topic: &str, payload: impl Into<Vec<u8>>) {
        self.client.publish(topic, QoS::AtLeastOnce, false, payload.into()).await.unwrap();
    }

    pub(crate) async fn keep(&self, topic: &str, payload: &Value) {
        let payload = payload.to_string();
        self.client.publish(topic, QoS::AtLeastOnce, true, payload).await.unwrap();
    }

    pub(crate) async fn respond(&self, payload: &Value) {
        self.say(&topic("response"), payload.to_string()).await;
    }

    pub(crate) async fn delete(&self, payload: &Value) {
        self.say(&topic("delete"), payload.to_string()).await;
    }

    /// Answers a request with secrets, each a name and a value.
    pub(crate) async fn answer(&self, request: &Value, secrets: &[(&str, &str)]) {
        let secrets = secrets.iter().map(|(name, value)| json!({"Name": name, "Value": value}));
        let secrets: Vec<_> = secrets.collect();
        self.respond(&json!({"RequestId": request["RequestId"], "Secrets": secrets})).await;
    }
}

pub(crate) fn topic(what: &str) -> String {
    format!("sealhost/{DEVICE}/secrets/{what}")
}
