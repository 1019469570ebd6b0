//! What host and worker say to each other: one message a packet, in postcard.
//!
//! The types mirror [`Call`] and [`Answer`] with numbers for enums, so that a byte from the other
//! side becomes a value only by way of a check.

use std::sync::Arc;

use provider_core::{
    Algorithm, AuthSubject, Capabilities, ErrorKind, Identity, Info, KeyBlob, KeyId, KeySpec, Mac,
    Protection, ProviderError, PublicKey, Result, SecretBytes, Secrets, Settings, Signature,
    StateBinding, Usage,
};
use serde::{Deserialize, Serialize};

use super::opening::{Description, OpenFailure};
use super::{Answer, Call, CallError, DeviceKey, OpenRequest};

/// Longest packet, bytes: settings, secrets and one blob, with room.
pub(super) const PACKET_MAX_BYTES: usize = 64 * 1024;

/// The first packet to a worker.
#[derive(Serialize, Deserialize)]
pub(super) struct OpenMessage {
    plugin: String,
    sha256: Option<[u8; 32]>,
    parent: i32,
    settings: Vec<(String, String)>,
    secrets: Vec<(String, Vec<u8>)>,
    known: Option<Vec<u8>>,
    refused: Vec<Vec<u8>>,
}

/// The first packet from a worker.
#[derive(Serialize, Deserialize)]
pub(super) enum OpenedMessage {
    /// The device is open.
    Opened { info: InfoMessage, identity: Vec<u8>, subject: Option<Vec<u8>> },
    /// The provider failed.
    Failed { kind: u32, detail: String, subject: Option<Vec<u8>> },
    /// The device refused our PIN before, and was not shown it.
    Withheld { subject: Vec<u8> },
    /// The plugin was not loaded.
    NotLoaded(PluginFileMessage),
}

/// [`super::PluginFileError`] on its way.
#[derive(Serialize, Deserialize)]
pub(super) struct PluginFileMessage {
    kind: u8,
    path: String,
    text: String,
}

/// [`Info`] on its way.
#[derive(Serialize, Deserialize)]
pub(super) struct InfoMessage {
    kind: String,
    manufacturer: String,
    firmware: String,
    notes: String,
    protection: u32,
    capabilities: u64,
    concurrency: u32,
}

/// A key on its way.
#[derive(Serialize, Deserialize)]
struct KeyMessage {
    usage: u32,
    id: [u8; 16],
    blob: Vec<u8>,
}

/// A specification on its way.
#[derive(Serialize, Deserialize)]
struct SpecMessage {
    usage: u32,
    algorithm: u32,
    id: [u8; 16],
    state: Option<String>,
}

/// A call on its way, with the number that its answer will carry.
#[derive(Serialize, Deserialize)]
struct CallMessage {
    number: u64,
    body: CallBody,
}

#[derive(Serialize, Deserialize)]
enum CallBody {
    SelfTest,
    Generate(SpecMessage),
    Import(SpecMessage, Vec<u8>),
    Destroy(KeyMessage),
    Mac(KeyMessage, Vec<u8>),
    Random(u32),
    PublicKey(KeyMessage),
    Sign(KeyMessage, [u8; 32]),
}

/// An answer on its way.
#[derive(Serialize, Deserialize)]
struct AnswerMessage {
    number: u64,
    body: AnswerBody,
}

#[derive(Serialize, Deserialize)]
enum AnswerBody {
    Done,
    Blob(Vec<u8>),
    Mac(Vec<u8>),
    Random(Vec<u8>),
    PublicKey(Vec<u8>),
    Signature(Vec<u8>),
    Failed { kind: u32, detail: String },
}

/// A packet that is not what its place demands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a packet of the worker's socket is malformed")]
pub(super) struct Malformed;

type Decoded<T> = std::result::Result<T, Malformed>;

/// Everything that a worker needs to open its device.
pub(super) struct Opening {
    pub(super) plugin: std::path::PathBuf,
    pub(super) sha256: Option<[u8; 32]>,
    pub(super) parent: i32,
    pub(super) settings: Settings,
    pub(super) secrets: Secrets,
    pub(super) known: Option<Identity>,
    pub(super) refused: Vec<AuthSubject>,
}

pub(super) fn encode_open(
    source: &super::PluginSource,
    request: &OpenRequest,
    parent: i32,
) -> Decoded<Vec<u8>> {
    let OpenRequest { settings, secrets, known, refused } = request;
    encode(&OpenMessage {
        plugin: source.path.to_str().ok_or(Malformed)?.to_owned(),
        sha256: source.sha256,
        parent,
        settings: settings.iter().map(|(key, value)| (key.into(), value.into())).collect(),
        secrets: secrets.iter().map(|(key, value)| (key.into(), value.expose().into())).collect(),
        known: known.as_ref().map(|identity| identity.0.clone()),
        refused: refused.iter().map(|subject| subject.0.clone()).collect(),
    })
}

pub(super) fn decode_open(packet: &[u8]) -> Decoded<Opening> {
    let message: OpenMessage = decode(packet)?;
    let secret = |(name, bytes)| (name, SecretBytes::new(zeroize::Zeroizing::new(bytes)));
    Ok(Opening {
        plugin: message.plugin.into(),
        sha256: message.sha256,
        parent: message.parent,
        settings: Settings::new(message.settings),
        secrets: Secrets::new(message.secrets.into_iter().map(secret)),
        known: message.known.map(Identity),
        refused: message.refused.into_iter().map(AuthSubject).collect(),
    })
}

pub(super) fn encode_opened(
    opened: &std::result::Result<Description, OpenFailure>,
) -> Decoded<Vec<u8>> {
    let bytes = |subject: &Option<AuthSubject>| subject.as_ref().map(|subject| subject.0.clone());
    encode(&match opened {
        Ok(Description { info, identity, subject }) => OpenedMessage::Opened {
            info: InfoMessage {
                kind: info.kind.clone(),
                manufacturer: info.manufacturer.clone(),
                firmware: info.firmware.clone(),
                notes: info.notes.clone(),
                protection: info.protection.number(),
                capabilities: info.capabilities.0,
                concurrency: info.concurrency,
            },
            identity: identity.0.clone(),
            subject: bytes(subject),
        },
        Err(OpenFailure::Withheld(subject)) => {
            OpenedMessage::Withheld { subject: subject.0.clone() }
        }
        Err(OpenFailure::Failed { error, subject }) => match error {
            CallError::Provider(error) => OpenedMessage::Failed {
                kind: error.kind.number(),
                detail: error.detail.clone(),
                subject: bytes(subject),
            },
            CallError::Plugin(error) => OpenedMessage::NotLoaded(plugin_to_message(error)),
            CallError::Busy | CallError::Timeout(_) | CallError::Gone(_) => OpenedMessage::Failed {
                kind: ErrorKind::Internal.number(),
                detail: error.to_string(),
                subject: None,
            },
        },
    })
}

pub(super) fn decode_opened(
    packet: &[u8],
) -> Decoded<std::result::Result<Description, OpenFailure>> {
    Ok(match decode(packet)? {
        OpenedMessage::Opened { info, identity, subject } => Ok(Description {
            info: Info {
                kind: info.kind,
                manufacturer: info.manufacturer,
                firmware: info.firmware,
                notes: info.notes,
                protection: Protection::from_number(info.protection).ok_or(Malformed)?,
                capabilities: Capabilities(info.capabilities),
                concurrency: info.concurrency.max(1),
            },
            identity: Identity(identity),
            subject: subject.map(AuthSubject),
        }),
        OpenedMessage::Failed { kind, detail, subject } => {
            let kind = ErrorKind::from_number(kind).ok_or(Malformed)?;
            let error = CallError::Provider(ProviderError::new(kind, detail));
            Err(OpenFailure::Failed { error, subject: subject.map(AuthSubject) })
        }
        OpenedMessage::Withheld { subject } => Err(OpenFailure::Withheld(AuthSubject(subject))),
        OpenedMessage::NotLoaded(message) => {
            Err(CallError::Plugin(plugin_from_message(message)?).into())
        }
    })
}

/// The blob is borrowed by nobody afterwards, so a call is encoded from references.
pub(super) fn encode_call(number: u64, call: &Call) -> Decoded<Vec<u8>> {
    let body = match call {
        Call::SelfTest => CallBody::SelfTest,
        Call::Generate(spec) => CallBody::Generate(spec_to_message(spec)),
        Call::Import(spec, key) => CallBody::Import(spec_to_message(spec), key.expose().to_vec()),
        Call::Destroy(key) => CallBody::Destroy(key_to_message(key)),
        Call::Mac(key, input) => CallBody::Mac(key_to_message(key), input.clone()),
        Call::Random(length) => {
            CallBody::Random(u32::try_from(*length).map_err(|_too_long| Malformed)?)
        }
        Call::PublicKey(key) => CallBody::PublicKey(key_to_message(key)),
        Call::Sign(key, digest) => CallBody::Sign(key_to_message(key), *digest),
    };
    encode(&CallMessage { number, body })
}

pub(super) fn decode_call(packet: &[u8]) -> Decoded<(u64, Call)> {
    let CallMessage { number, body } = decode(packet)?;
    let call = match body {
        CallBody::SelfTest => Call::SelfTest,
        CallBody::Generate(spec) => Call::Generate(spec_from_message(spec)?),
        CallBody::Import(spec, key) => {
            let key = SecretBytes::new(zeroize::Zeroizing::new(key));
            Call::Import(spec_from_message(spec)?, key)
        }
        CallBody::Destroy(key) => Call::Destroy(key_from_message(key)?),
        CallBody::Mac(key, input) => Call::Mac(key_from_message(key)?, input),
        CallBody::Random(length) => {
            Call::Random(usize::try_from(length).map_err(|_too_long| Malformed)?)
        }
        CallBody::PublicKey(key) => Call::PublicKey(key_from_message(key)?),
        CallBody::Sign(key, digest) => Call::Sign(key_from_message(key)?, digest),
    };
    Ok((number, call))
}

pub(super) fn encode_answer(number: u64, answer: &Result<Answer>) -> Decoded<Vec<u8>> {
    let body = match answer {
        Ok(Answer::Done) => AnswerBody::Done,
        Ok(Answer::Blob(blob)) => AnswerBody::Blob(blob.0.clone()),
        Ok(Answer::Mac(mac)) => AnswerBody::Mac(mac.expose().to_vec()),
        Ok(Answer::Random(bytes)) => AnswerBody::Random(bytes.expose().to_vec()),
        Ok(Answer::PublicKey(point)) => AnswerBody::PublicKey(point.0.to_vec()),
        Ok(Answer::Signature(signature)) => AnswerBody::Signature(signature.0.to_vec()),
        Err(error) => {
            AnswerBody::Failed { kind: error.kind.number(), detail: error.detail.clone() }
        }
    };
    encode(&AnswerMessage { number, body })
}

pub(super) fn decode_answer(packet: &[u8]) -> Decoded<(u64, Result<Answer>)> {
    let AnswerMessage { number, body } = decode(packet)?;
    let secret = |bytes| SecretBytes::new(zeroize::Zeroizing::new(bytes));
    let answer = match body {
        AnswerBody::Done => Ok(Answer::Done),
        AnswerBody::Blob(blob) => Ok(Answer::Blob(KeyBlob(blob))),
        AnswerBody::Mac(mac) if mac.len() == provider_core::key::MAC_BYTES => {
            Ok(Answer::Mac(Mac::new(zeroize::Zeroizing::new(mac))))
        }
        AnswerBody::Mac(_) => return Err(Malformed),
        AnswerBody::Random(bytes) => Ok(Answer::Random(secret(bytes))),
        AnswerBody::PublicKey(point) => {
            Ok(Answer::PublicKey(PublicKey(point.try_into().map_err(|_length| Malformed)?)))
        }
        AnswerBody::Signature(signature) => {
            Ok(Answer::Signature(Signature(signature.try_into().map_err(|_length| Malformed)?)))
        }
        AnswerBody::Failed { kind, detail } => {
            Err(ProviderError::new(ErrorKind::from_number(kind).ok_or(Malformed)?, detail))
        }
    };
    Ok((number, answer))
}

fn encode(message: &impl Serialize) -> Decoded<Vec<u8>> {
    let packet = postcard::to_stdvec(message).map_err(|_unencodable| Malformed)?;
    if packet.len() > PACKET_MAX_BYTES { Err(Malformed) } else { Ok(packet) }
}

fn decode<'a, T: Deserialize<'a>>(packet: &'a [u8]) -> Decoded<T> {
    match postcard::take_from_bytes(packet) {
        Ok((message, [])) => Ok(message),
        Ok(_) | Err(_) => Err(Malformed),
    }
}

fn key_to_message(key: &DeviceKey) -> KeyMessage {
    KeyMessage { usage: key.usage.number(), id: key.id.0, blob: key.blob.to_vec() }
}

fn key_from_message(message: KeyMessage) -> Decoded<DeviceKey> {
    Ok(DeviceKey {
        usage: Usage::from_number(message.usage).ok_or(Malformed)?,
        id: KeyId(message.id),
        blob: Arc::from(message.blob),
    })
}

fn spec_to_message(spec: &KeySpec) -> SpecMessage {
    SpecMessage {
        usage: spec.usage.number(),
        algorithm: spec.algorithm.number(),
        id: spec.id.0,
        state: spec.state.as_ref().map(|state| state.as_str().to_owned()),
    }
}

fn spec_from_message(message: SpecMessage) -> Decoded<KeySpec> {
    let state = message.state.map(|state| StateBinding::new(&state)).transpose();
    Ok(KeySpec {
        usage: Usage::from_number(message.usage).ok_or(Malformed)?,
        algorithm: Algorithm::from_number(message.algorithm).ok_or(Malformed)?,
        id: KeyId(message.id),
        state: state.map_err(|_invalid| Malformed)?,
    })
}

fn plugin_to_message(error: &super::PluginFileError) -> PluginFileMessage {
    use super::PluginFileError as E;
    let (kind, path, text) = match error {
        E::Unreadable { path, reason } => (1, path, reason),
        E::Untrusted { path, reason } => (2, path, reason),
        E::Digest { path, found } => (3, path, found),
        E::Unloadable { path, reason } => (4, path, reason),
        E::Foreign { path, reason } => (5, path, reason),
    };
    PluginFileMessage { kind, path: path.display().to_string(), text: text.clone() }
}

fn plugin_from_message(message: PluginFileMessage) -> Decoded<super::PluginFileError> {
    use super::PluginFileError as E;
    let path = std::path::PathBuf::from(message.path);
    Ok(match message.kind {
        1 => E::Unreadable { path, reason: message.text },
        2 => E::Untrusted { path, reason: message.text },
        3 => E::Digest { path, found: message.text },
        4 => E::Unloadable { path, reason: message.text },
        5 => E::Foreign { path, reason: message.text },
        _ => return Err(Malformed),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(call: &Call) {
        let packet = encode_call(7, call).unwrap();
        let (number, decoded) = decode_call(&packet).unwrap();
        assert_eq!(number, 7);
        assert_eq!(encode_call(7, &decoded).unwrap(), packet);
        for length in 0..packet.len() {
            assert!(decode_call(&packet[..length]).is_err(), "cut to {length} bytes");
        }
        let mut longer = packet;
        longer.push(0);
        assert!(decode_call(&longer).is_err(), "trailing byte");
    }

    fn key() -> DeviceKey {
        DeviceKey { usage: Usage::Mac, id: KeyId([3; 16]), blob: Arc::from([1, 2, 3]) }
    }

    #[test]
    fn mac_call_returns_to_itself() {
        check(&Call::Mac(key(), vec![1, 2]));
    }

    #[test]
    fn generate_call_returns_to_itself() {
        check(&Call::Generate(KeySpec {
            usage: Usage::Seal,
            algorithm: Algorithm::HmacSha256,
            id: KeyId([1; 16]),
            state: Some(StateBinding::new("sha256:7").unwrap()),
        }));
    }

    #[test]
    fn sign_call_returns_to_itself() {
        check(&Call::Sign(key(), [9; 32]));
    }

    #[test]
    fn mac_answer_of_another_length_is_malformed() {
        let body = AnswerBody::Mac(vec![1; 31]);
        let packet = encode(&AnswerMessage { number: 1, body }).unwrap();
        assert_eq!(decode_answer(&packet).err(), Some(Malformed));
    }

    #[test]
    fn packet_past_the_limit_is_refused() {
        let call = Call::Mac(key(), vec![0; PACKET_MAX_BYTES]);
        assert_eq!(encode_call(1, &call).err(), Some(Malformed));
    }
}
