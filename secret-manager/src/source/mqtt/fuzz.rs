//! The bodies of the fuzz targets of this room (`docs/fuzzing.md`).

use std::collections::BTreeSet;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use rumqttc::QoS;
use rumqttc::mqttbytes::v4::{Packet, Publish};

use super::contract::{self, Fault, MESSAGE_SECRETS_MAX, PAYLOAD_MAX_BYTES, RequestId, Status};
use super::packet::{PacketReader, Received, write_packet};
use super::topics::{Caller, Incoming, Profile};

/// What a broker sends, packet by packet.
pub fn mqtt_packet(data: &[u8]) {
    let mut reader = PacketReader::new(data);
    // A packet has two bytes at least.
    for _ in 0..=data.len() / 2 {
        let Some(Ok(received)) = ready(reader.next()) else { return };
        let Received::Message(message) = received else { continue };
        assert!(message.payload.as_bytes().len() <= PAYLOAD_MAX_BYTES + 4096);
        assert!(message.packet_id != Some(0));
        again(&message.topic, message.payload.as_bytes());
    }
    assert!(data.is_empty(), "packets without end");
}

/// A message that we write ourselves is read as it was.
fn again(topic: &str, payload: &[u8]) {
    let packet = Packet::Publish(Publish::new(topic, QoS::AtMostOnce, payload));
    let mut bytes = Vec::new();
    if !matches!(ready(write_packet(&mut bytes, &packet)), Some(Ok(()))) {
        return;
    }
    let read = ready(PacketReader::new(bytes.as_slice()).next());
    let Some(Ok(Received::Message(read))) = read else {
        return assert!(topic.is_empty(), "what is written is not read");
    };
    assert_eq!((read.topic.as_str(), read.payload.as_bytes(), read.cut), (topic, payload, false));
}

/// All bytes are there, so that nothing is waited for.
fn ready<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

/// What the cloud sends: the first byte chooses which message it is.
pub fn mqtt_message(data: &[u8]) {
    let Some((choice, payload)) = data.split_first() else { return };
    if choice % 2 == 0 {
        let Some(message) = within(contract::decode_update(payload), payload) else { return };
        assert!(message.secrets.len() <= MESSAGE_SECRETS_MAX);
        let mut seen = BTreeSet::new();
        for draft in message.secrets.iter().filter_map(|it| it.draft.as_ref().ok()?.as_ref()) {
            assert!(draft.is_sound());
            assert!(seen.insert((draft.name.clone(), draft.stored_version())));
        }
        check_id(message.request_id.as_ref());
    } else {
        let Some(message) = within(contract::decode_delete(payload), payload) else { return };
        assert!(message.secrets.len() <= MESSAGE_SECRETS_MAX);
        check_id(message.request_id.as_ref());
    }
}

fn within<T>(decoded: Result<T, Fault>, payload: &[u8]) -> Option<T> {
    assert!(decoded.is_err() || payload.len() <= PAYLOAD_MAX_BYTES);
    decoded.ok()
}

fn check_id(id: Option<&RequestId>) {
    if let Some(id) = id {
        assert_eq!(RequestId::parse(&id.to_string()).as_ref(), Some(id));
    }
}

/// A topic: whom we answer cannot lead the answer to another topic.
pub fn mqtt_topic(data: &[u8]) {
    let Ok(topic) = str::from_utf8(data) else { return };
    let profiles = [
        Profile::plain("fuzz"),
        Profile::iot_hub("hub.example", "fuzz", None),
        Profile::plain(topic),
        Profile::iot_hub(topic, topic, Some(topic)),
    ];
    for profile in profiles.into_iter().flatten() {
        if let Incoming::Update(caller) | Incoming::Delete(caller) | Incoming::Other(caller) =
            profile.incoming(topic)
        {
            let answer = profile.acknowledgement(&caller, Status::Accepted);
            assert!(!answer.contains(['#', '+']) && !answer.contains(char::is_control));
            let levels = if matches!(caller, Caller::Topic) { 4 } else { 5 };
            assert_eq!(answer.split('/').count(), levels, "{answer}");
        }
        let id = profile.client_id();
        assert!(!id.is_empty() && !id.contains(['#', '+', '?', '&']));
    }
}
