//! MQTT packets on a stream, by rumqttc's codec, in buffers of our own that are wiped: packets
//! carry secrets in, and a password out. Foreign bytes.
//!
//! A message over the limit is cut off and not refused with the connection, because the broker
//! would deliver it again to the next one, for ever.
#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::fmt;
use std::io;

use bytes::{Bytes, BytesMut};
use rumqttc::mqttbytes::v4::{Packet, Publish};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use zeroize::{Zeroize, Zeroizing};

use super::contract::PAYLOAD_MAX_BYTES;

/// Most bytes of a packet that are kept, without its fixed header: the longest payload and more
/// than our topics take.
const KEPT_MAX_BYTES: usize = PAYLOAD_MAX_BYTES + 4096;
/// Longest packet that we send: what IoT Hub takes of a device.
const SENT_MAX_BYTES: usize = 256 * 1024;
/// A fixed header is a byte of type and flags and one to four of length (MQTT 3.1.1 section 2.2).
const HEADER_MAX_BYTES: usize = 5;
const CHUNK_BYTES: usize = 4096;
const PUBLISH: u8 = 3;

/// A message that came.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) topic: String,
    pub(super) payload: Payload,
    /// What to acknowledge, if anything.
    pub(super) packet_id: Option<u16>,
    /// Whether the broker had kept it for whoever subscribes.
    pub(super) retained: bool,
    /// Whether it was over the limit, and is not whole.
    pub(super) cut: bool,
}

/// The bytes of a message, wiped when dropped.
pub(super) struct Payload(Bytes);

impl Payload {
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Payload {
    fn drop(&mut self) {
        // Nobody else has a part of the buffer: a test holds that against the codec.
        if let Ok(mut bytes) = std::mem::take(&mut self.0).try_into_mut() {
            bytes.as_mut().zeroize();
        }
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Payload({} bytes)", self.0.len())
    }
}

/// A packet that came.
#[derive(Debug)]
pub(super) enum Received {
    Message(Message),
    Other(Packet),
}

/// Why there is no packet.
#[derive(Debug, thiserror::Error)]
pub(super) enum PacketError {
    #[error("the broker closed the connection")]
    Closed,
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("the broker sends what is not MQTT: {0}")]
    Codec(#[from] rumqttc::mqttbytes::Error),
    #[error("the broker sends what is not MQTT: a length of more than four bytes")]
    Length,
    #[error("the broker sends a control packet of {0} bytes")]
    TooLong(usize),
}

/// Reads packets one by one.
#[derive(Debug)]
pub(super) struct PacketReader<R> {
    stream: R,
    header: Vec<u8>,
    body: Zeroizing<Vec<u8>>,
    /// Bytes of the packet that are read and not kept.
    skipped: usize,
}

impl<R: AsyncRead + Unpin> PacketReader<R> {
    pub(super) fn new(stream: R) -> Self {
        Self { stream, header: Vec::new(), body: Zeroizing::new(Vec::new()), skipped: 0 }
    }

    /// Reads the next packet. A call that is given up loses nothing: the next one goes on.
    pub(super) async fn next(&mut self) -> Result<Received, PacketError> {
        loop {
            let Some(length) = length_in(&self.header)? else {
                let byte = [self.stream.read_u8().await.map_err(closed)?];
                self.header.extend_from_slice(&byte);
                continue;
            };
            let kept = length.min(KEPT_MAX_BYTES);
            if length > kept && self.kind() != PUBLISH {
                return Err(PacketError::TooLong(length));
            }
            let read = self.body.len().saturating_add(self.skipped);
            let missing = length.saturating_sub(read);
            if missing == 0 {
                return self.packet(kept < length);
            }
            // Reserved before the first byte, so that no copy is left behind by growth.
            let room = kept.saturating_sub(self.body.len());
            self.body.reserve_exact(room);
            let mut chunk = Zeroizing::new([0; CHUNK_BYTES]);
            let next = chunk.get_mut(..missing.min(CHUNK_BYTES)).unwrap_or_default();
            let count = self.stream.read(next).await?;
            let got = chunk.get(..count).unwrap_or_default();
            if got.is_empty() {
                return Err(PacketError::Closed);
            }
            let (keep, skip) = got.split_at(room.min(got.len()));
            self.body.extend_from_slice(keep);
            self.skipped = self.skipped.saturating_add(skip.len());
        }
    }

    fn kind(&self) -> u8 {
        self.header.first().map_or(0, |byte| byte >> 4)
    }

    fn packet(&mut self, cut: bool) -> Result<Received, PacketError> {
        let body = std::mem::take(&mut self.body);
        let header = std::mem::take(&mut self.header);
        self.skipped = 0;
        let mut bytes = BytesMut::with_capacity(body.len().saturating_add(HEADER_MAX_BYTES));
        bytes.extend(header.first());
        write_length(body.len(), &mut bytes);
        bytes.extend_from_slice(&body);
        let packet = Packet::read(&mut bytes, KEPT_MAX_BYTES)?;
        // The payload is the only part of the buffer that is left from here on.
        drop(bytes);
        let Packet::Publish(Publish { topic, payload, pkid, retain, .. }) = packet else {
            return Ok(Received::Other(packet));
        };
        let packet_id = (pkid != 0).then_some(pkid);
        let payload = Payload(payload);
        Ok(Received::Message(Message { topic, payload, packet_id, retained: retain, cut }))
    }
}

/// Writes one packet.
pub(super) async fn write_packet<W: AsyncWrite + Unpin>(
    stream: &mut W,
    packet: &Packet,
) -> Result<(), PacketError> {
    // With room for all of it, so that no copy is left behind by growth.
    let room = packet.size().saturating_add(HEADER_MAX_BYTES);
    let mut bytes = Wiped(BytesMut::with_capacity(room));
    packet.write(&mut bytes.0, SENT_MAX_BYTES)?;
    stream.write_all(&bytes.0).await?;
    stream.flush().await?;
    Ok(())
}

/// Bytes on their way out, wiped also when the writing is given up.
struct Wiped(BytesMut);

impl Drop for Wiped {
    fn drop(&mut self) {
        self.0.as_mut().zeroize();
    }
}

fn closed(error: io::Error) -> PacketError {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        PacketError::Closed
    } else {
        PacketError::Io(error)
    }
}

/// The length that a fixed header says, once it is whole (MQTT 3.1.1 section 2.2.3).
fn length_in(header: &[u8]) -> Result<Option<usize>, PacketError> {
    let Some((_, digits)) = header.split_first() else { return Ok(None) };
    let value = digits.iter().rev().fold(0_usize, |value, digit| {
        value.saturating_mul(128).saturating_add(usize::from(digit & 0x7f))
    });
    match digits.last() {
        Some(last) if last & 0x80 == 0 => Ok(Some(value)),
        _ if digits.len() >= 4 => Err(PacketError::Length),
        _ => Ok(None),
    }
}

fn write_length(mut length: usize, bytes: &mut BytesMut) {
    loop {
        let digit = u8::try_from(length & 0x7f).unwrap_or_default();
        length >>= 7;
        let more = if length > 0 { 0x80 } else { 0 };
        bytes.extend([digit | more]);
        if length == 0 {
            break;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rumqttc::QoS;
    use rumqttc::mqttbytes::v4::PubAck;

    use super::*;

    fn block_on<F: Future>(future: F) -> F::Output {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
    }

    fn publish(topic: &str, payload: &[u8]) -> BytesMut {
        let mut bytes = BytesMut::new();
        let mut publish = Publish::new(topic, QoS::AtLeastOnce, payload);
        publish.pkid = 7;
        publish.write(&mut bytes).unwrap();
        bytes
    }

    fn read(bytes: &[u8]) -> Result<Received, PacketError> {
        block_on(PacketReader::new(bytes).next())
    }

    fn message(bytes: &[u8]) -> Message {
        match read(bytes).unwrap() {
            Received::Message(message) => message,
            Received::Other(packet) => panic!("{packet:?}"),
        }
    }

    /// A message with this many bytes after its fixed header.
    #[track_caller]
    fn check(length: usize, cut: bool, kept: usize) {
        // A length and five bytes of topic, and a packet id.
        const AROUND: usize = 9;
        let message = message(&publish("topic", &vec![1; length.saturating_sub(AROUND)]));
        assert_eq!(message.payload.as_bytes().len().saturating_add(AROUND), kept);
        assert_eq!(message.cut, cut);
        assert_eq!((message.topic.as_str(), message.packet_id), ("topic", Some(7)));
    }

    #[test]
    fn message_at_limit_is_whole_and_one_past_it_is_cut() {
        check(KEPT_MAX_BYTES, false, KEPT_MAX_BYTES);
        check(KEPT_MAX_BYTES + 1, true, KEPT_MAX_BYTES);
        check(1_000_000, true, KEPT_MAX_BYTES);
    }

    #[test]
    fn packet_after_a_cut_message_is_read() {
        let mut bytes = publish("topic", &vec![1; 300_000]);
        PubAck::new(3).write(&mut bytes).unwrap();
        block_on(async {
            let mut reader = PacketReader::new(&bytes[..]);
            assert!(matches!(reader.next().await, Ok(Received::Message(_))));
            assert!(matches!(reader.next().await, Ok(Received::Other(Packet::PubAck(_)))));
            assert!(matches!(reader.next().await, Err(PacketError::Closed)));
        });
    }

    #[test]
    fn payload_is_the_only_user_of_its_buffer_and_can_be_wiped() {
        let mut message = message(&publish("topic", b"marker"));
        let payload = std::mem::take(&mut message.payload.0);
        assert!(payload.try_into_mut().is_ok());
    }

    #[test]
    fn control_packet_over_the_limit_ends_the_connection() {
        let mut bytes = vec![0x90];
        let mut length = BytesMut::new();
        write_length(KEPT_MAX_BYTES + 1, &mut length);
        bytes.extend_from_slice(&length);
        assert!(matches!(read(&bytes), Err(PacketError::TooLong(_))));
    }

    #[test]
    fn length_of_five_bytes_ends_the_connection() {
        assert!(matches!(read(&[0x30, 0xff, 0xff, 0xff, 0xff]), Err(PacketError::Length)));
    }

    #[test]
    fn stream_that_ends_within_a_packet_is_closed() {
        let bytes = publish("topic", b"payload");
        assert!(matches!(read(&bytes[..bytes.len() - 1]), Err(PacketError::Closed)));
        assert!(matches!(read(&bytes[..1]), Err(PacketError::Closed)));
        assert!(matches!(read(&[]), Err(PacketError::Closed)));
    }

    #[test]
    fn debug_shows_no_payload() {
        let shown = format!("{:?}", read(&publish("topic", b"marker")).unwrap());
        assert!(!shown.contains("marker") && !shown.contains("109"), "{shown}");
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_packet_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = read(&bytes);
        }

        #[test]
        fn message_comes_whole_whatever_its_length(length in 0_usize..70_000) {
            let payload = vec![5; length];
            let message = message(&publish("a/b", &payload));
            prop_assert_eq!(message.payload.as_bytes(), &payload[..]);
            prop_assert!(!message.cut);
        }
    }
}
