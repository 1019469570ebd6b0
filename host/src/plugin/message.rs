//! What host and worker say to each other: one message a packet, in postcard.
//!
//! The types mirror [`Call`] and [`Answer`] with numbers for enums, so that a byte from the other
//! side becomes a value only by way of a check.

mod question;

use std::sync::Arc;
use std::time::Duration;

use provider_core::abi::NOTES_BYTES;
use provider_core::key::{
    AEAD_TAG_BYTES, AEAD_TEXT_MAX_BYTES, BLOB_MAX_BYTES, DETAIL_MAX_BYTES, RANDOM_MAX_BYTES,
};
use provider_core::{
    Algorithm, Condition, ErrorKind, KeyBlob, KeyId, KeySpec, ProviderError, PublicKey, Result,
    RsaModulus, RsaResult, SecretBytes, Signature, Standing, StateBinding, Usage,
};
use serde::{Deserialize, Serialize};

use super::{AeadText, Answer, Call, DeviceCounter, DeviceKey};

pub(super) use question::{
    Asked, decode_needs, decode_opened, decode_question, encode_needs, encode_open, encode_opened,
    encode_question,
};

/// Longest packet, bytes: settings, secrets and one blob, with room.
pub(super) const PACKET_MAX_BYTES: usize = 64 * 1024;

/// A key on its way.
#[derive(Serialize, Deserialize)]
struct KeyMessage {
    usage: u32,
    id: [u8; 16],
    #[serde(with = "serde_bytes")]
    blob: Vec<u8>,
}

/// A counter on its way.
#[derive(Serialize, Deserialize)]
struct CounterMessage {
    id: [u8; 16],
    #[serde(with = "serde_bytes")]
    blob: Vec<u8>,
}

/// What an aead key is given, on its way.
#[derive(Serialize, Deserialize)]
struct AeadMessage {
    #[serde(with = "serde_bytes")]
    iv: Vec<u8>,
    #[serde(with = "serde_bytes")]
    aad: Vec<u8>,
    #[serde(with = "serde_bytes")]
    text: Vec<u8>,
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
    Import(SpecMessage, #[serde(with = "serde_bytes")] Vec<u8>),
    Destroy(KeyMessage),
    Mac(KeyMessage, #[serde(with = "serde_bytes")] Vec<u8>),
    Random(u32),
    PublicKey(KeyMessage),
    Sign(KeyMessage, [u8; 32]),
    CounterCreate([u8; 16]),
    CounterIncrement(CounterMessage),
    CounterRead(CounterMessage),
    CounterDestroy(CounterMessage),
    Condition,
    AeadEncrypt(KeyMessage, AeadMessage),
    AeadDecrypt(KeyMessage, AeadMessage),
    RsaPublic(KeyMessage),
    RsaPrivate(KeyMessage, #[serde(with = "serde_bytes")] Vec<u8>),
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
    Blob(#[serde(with = "serde_bytes")] Vec<u8>),
    Mac(#[serde(with = "serde_bytes")] Vec<u8>),
    Random(#[serde(with = "serde_bytes")] Vec<u8>),
    PublicKey(#[serde(with = "serde_bytes")] Vec<u8>),
    Signature(#[serde(with = "serde_bytes")] Vec<u8>),
    Failed { kind: u32, detail: String },
    Counter(#[serde(with = "serde_bytes")] Vec<u8>, u64),
    Value(u64),
    Condition(ConditionMessage),
    AeadCiphertext(#[serde(with = "serde_bytes")] Vec<u8>),
    AeadPlaintext(#[serde(with = "serde_bytes")] Vec<u8>),
    RsaModulus(#[serde(with = "serde_bytes")] Vec<u8>),
    Rsa(#[serde(with = "serde_bytes")] Vec<u8>),
}

/// [`Condition`] on its way.
#[derive(Serialize, Deserialize)]
struct ConditionMessage {
    standing: u32,
    auth_failures: Option<u32>,
    auth_failures_max: Option<u32>,
    recovery: Option<Duration>,
    notes: String,
}

/// A packet that is not what its place demands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a packet of the worker's socket is malformed")]
pub(super) struct Malformed;

type Decoded<T> = std::result::Result<T, Malformed>;

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
        Call::CounterCreate(id) => CallBody::CounterCreate(id.0),
        Call::CounterIncrement(counter) => CallBody::CounterIncrement(counter_to_message(counter)),
        Call::CounterRead(counter) => CallBody::CounterRead(counter_to_message(counter)),
        Call::CounterDestroy(counter) => CallBody::CounterDestroy(counter_to_message(counter)),
        Call::Condition => CallBody::Condition,
        Call::AeadEncrypt(key, text) => {
            CallBody::AeadEncrypt(key_to_message(key), aead_to_message(text))
        }
        Call::AeadDecrypt(key, text) => {
            CallBody::AeadDecrypt(key_to_message(key), aead_to_message(text))
        }
        Call::RsaPublic(key) => CallBody::RsaPublic(key_to_message(key)),
        Call::RsaPrivate(key, input) => {
            CallBody::RsaPrivate(key_to_message(key), input.expose().to_vec())
        }
    };
    encode(&CallMessage { number, body })
}

pub(super) fn decode_call(packet: &[u8]) -> Decoded<(u64, Call)> {
    let CallMessage { number, body } = decode(packet)?;
    let call = match body {
        CallBody::SelfTest => Call::SelfTest,
        CallBody::Generate(spec) => Call::Generate(spec_from_message(spec)?),
        CallBody::Import(spec, key) => Call::Import(spec_from_message(spec)?, secret(key)),
        CallBody::Destroy(key) => Call::Destroy(key_from_message(key)?),
        CallBody::Mac(key, input) => Call::Mac(key_from_message(key)?, input),
        CallBody::Random(length) => {
            Call::Random(usize::try_from(length).map_err(|_too_long| Malformed)?)
        }
        CallBody::PublicKey(key) => Call::PublicKey(key_from_message(key)?),
        CallBody::Sign(key, digest) => Call::Sign(key_from_message(key)?, digest),
        CallBody::CounterCreate(id) => Call::CounterCreate(KeyId(id)),
        CallBody::CounterIncrement(counter) => {
            Call::CounterIncrement(counter_from_message(counter))
        }
        CallBody::CounterRead(counter) => Call::CounterRead(counter_from_message(counter)),
        CallBody::CounterDestroy(counter) => Call::CounterDestroy(counter_from_message(counter)),
        CallBody::Condition => Call::Condition,
        CallBody::AeadEncrypt(key, text) => {
            Call::AeadEncrypt(key_from_message(key)?, aead_from_message(text))
        }
        CallBody::AeadDecrypt(key, text) => {
            Call::AeadDecrypt(key_from_message(key)?, aead_from_message(text))
        }
        CallBody::RsaPublic(key) => Call::RsaPublic(key_from_message(key)?),
        CallBody::RsaPrivate(key, input) => Call::RsaPrivate(key_from_message(key)?, secret(input)),
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
        Ok(Answer::Counter(blob, value)) => AnswerBody::Counter(blob.0.clone(), *value),
        Ok(Answer::Value(value)) => AnswerBody::Value(*value),
        Ok(Answer::Condition(condition)) => AnswerBody::Condition(ConditionMessage {
            standing: condition.standing.number(),
            auth_failures: condition.auth_failures,
            auth_failures_max: condition.auth_failures_max,
            recovery: condition.recovery,
            notes: condition.notes.clone(),
        }),
        Ok(Answer::AeadCiphertext(text)) => AnswerBody::AeadCiphertext(text.clone()),
        Ok(Answer::AeadPlaintext(text)) => AnswerBody::AeadPlaintext(text.expose().to_vec()),
        Ok(Answer::RsaModulus(modulus)) => AnswerBody::RsaModulus(modulus.0.clone()),
        Ok(Answer::Rsa(result)) => AnswerBody::Rsa(result.expose().to_vec()),
        Err(error) => {
            AnswerBody::Failed { kind: error.kind.number(), detail: error.detail.clone() }
        }
    };
    encode(&AnswerMessage { number, body })
}

pub(super) fn decode_answer(packet: &[u8]) -> Decoded<(u64, Result<Answer>)> {
    let AnswerMessage { number, body } = decode(packet)?;
    let answer = match body {
        AnswerBody::Done => Ok(Answer::Done),
        AnswerBody::Blob(blob) => Ok(Answer::Blob(KeyBlob(bytes(blob, BLOB_MAX_BYTES)?))),
        AnswerBody::Mac(mac) if mac.len() == provider_core::key::MAC_BYTES => {
            Ok(Answer::Mac(secret(mac)))
        }
        AnswerBody::Mac(_) => return Err(Malformed),
        AnswerBody::Random(random) if random.len() <= RANDOM_MAX_BYTES => {
            Ok(Answer::Random(secret(random)))
        }
        AnswerBody::Random(_) => return Err(Malformed),
        AnswerBody::PublicKey(point) => {
            Ok(Answer::PublicKey(PublicKey(point.try_into().map_err(|_length| Malformed)?)))
        }
        AnswerBody::Signature(signature) => {
            Ok(Answer::Signature(Signature(signature.try_into().map_err(|_length| Malformed)?)))
        }
        AnswerBody::Counter(blob, value) => {
            Ok(Answer::Counter(KeyBlob(bytes(blob, BLOB_MAX_BYTES)?), value))
        }
        AnswerBody::Value(value) => Ok(Answer::Value(value)),
        AnswerBody::Condition(message) => Ok(Answer::Condition(Condition {
            standing: Standing::from_number(message.standing).ok_or(Malformed)?,
            auth_failures: message.auth_failures,
            auth_failures_max: message.auth_failures_max,
            recovery: message.recovery,
            notes: line(message.notes, NOTES_BYTES - 1)?,
        })),
        AnswerBody::AeadCiphertext(text) => Ok(Answer::AeadCiphertext(sealed(text)?)),
        AnswerBody::AeadPlaintext(text) if text.len() <= AEAD_TEXT_MAX_BYTES => {
            Ok(Answer::AeadPlaintext(secret(text)))
        }
        AnswerBody::AeadPlaintext(_) => return Err(Malformed),
        AnswerBody::RsaModulus(bytes) => {
            let modulus = RsaModulus(bytes);
            if !modulus.is_whole() {
                return Err(Malformed);
            }
            Ok(Answer::RsaModulus(modulus))
        }
        AnswerBody::Rsa(bytes) => Ok(Answer::Rsa(rsa_result(bytes)?)),
        AnswerBody::Failed { kind, detail } => {
            let detail = line(detail, DETAIL_MAX_BYTES)?;
            Err(ProviderError::new(ErrorKind::from_number(kind).ok_or(Malformed)?, detail))
        }
    };
    Ok((number, answer))
}

/// Takes bytes over, to be wiped.
fn secret(bytes: Vec<u8>) -> SecretBytes {
    SecretBytes::new(zeroize::Zeroizing::new(bytes))
}

/// Bytes within the contract. A worker runs foreign code, so that what [`provider_core::call`]
/// checked there is checked here again.
fn bytes(bytes: Vec<u8>, most: usize) -> Decoded<Vec<u8>> {
    if (1..=most).contains(&bytes.len()) { Ok(bytes) } else { Err(Malformed) }
}

/// A ciphertext and its tag within the contract.
fn sealed(text: Vec<u8>) -> Decoded<Vec<u8>> {
    let longest = AEAD_TEXT_MAX_BYTES + AEAD_TAG_BYTES;
    if (AEAD_TAG_BYTES..=longest).contains(&text.len()) { Ok(text) } else { Err(Malformed) }
}

/// A number as long as a modulus.
fn rsa_result(bytes: Vec<u8>) -> Decoded<RsaResult> {
    let result = secret(bytes);
    let sizes = [Algorithm::Rsa2048, Algorithm::Rsa4096].map(Algorithm::modulus_bytes);
    if sizes.contains(&Some(result.len())) { Ok(result) } else { Err(Malformed) }
}

/// Text within the contract: one line, because it goes to the log.
fn line(text: String, most_bytes: usize) -> Decoded<String> {
    if text.len() <= most_bytes && !text.contains(char::is_control) {
        Ok(text)
    } else {
        Err(Malformed)
    }
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

fn counter_to_message(counter: &DeviceCounter) -> CounterMessage {
    CounterMessage { id: counter.id.0, blob: counter.blob.to_vec() }
}

fn counter_from_message(message: CounterMessage) -> DeviceCounter {
    DeviceCounter { id: KeyId(message.id), blob: Arc::from(message.blob) }
}

fn aead_to_message(input: &AeadText) -> AeadMessage {
    let text = input.text.expose().to_vec();
    AeadMessage { iv: input.iv.clone(), aad: input.aad.clone(), text }
}

fn aead_from_message(message: AeadMessage) -> AeadText {
    AeadText { iv: message.iv, aad: message.aad, text: secret(message.text) }
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

    fn aead_text(iv: usize, aad: usize, text: usize) -> AeadText {
        let text = SecretBytes::copy_of(&vec![7; text]);
        AeadText { iv: vec![8; iv], aad: vec![9; aad], text }
    }

    #[test]
    fn aead_calls_return_to_themselves() {
        check(&Call::AeadEncrypt(key(), aead_text(7, 3, 20)));
        check(&Call::AeadDecrypt(key(), aead_text(1, 0, 16)));
    }

    #[test]
    fn aead_call_at_every_limit_fits_a_packet() {
        let blob = Arc::from([7; BLOB_MAX_BYTES]);
        let text = aead_text(128, 8 * 1024, AEAD_TEXT_MAX_BYTES + AEAD_TAG_BYTES);
        let call = Call::AeadDecrypt(DeviceKey { blob, ..key() }, text);
        assert!(decode_call(&encode_call(u64::MAX, &call).unwrap()).is_ok());
    }

    #[test]
    fn rsa_calls_return_to_themselves() {
        check(&Call::RsaPublic(key()));
        check(&Call::RsaPrivate(key(), SecretBytes::copy_of(&[5; 256])));
    }

    #[test]
    fn aead_and_rsa_answers_return_to_themselves() {
        for answer in [
            Answer::AeadCiphertext(vec![1; 16]),
            Answer::AeadPlaintext(SecretBytes::copy_of(b"")),
            Answer::RsaModulus(RsaModulus(vec![0x81; 256])),
            Answer::Rsa(SecretBytes::copy_of(&[5; 512])),
        ] {
            let packet = encode_answer(7, &Ok(answer)).unwrap();
            let (number, decoded) = decode_answer(&packet).unwrap();
            assert_eq!((number, encode_answer(7, &decoded).unwrap()), (7, packet));
        }
    }

    #[test]
    fn aead_answer_at_the_limits_is_read_and_past_them_malformed() {
        let sealed = |bytes| decoded(&Ok(Answer::AeadCiphertext(vec![7; bytes])));
        for (bytes, read) in [(15, false), (16, true), (32_784, true), (32_785, false)] {
            assert_eq!(sealed(bytes), read, "{bytes}");
        }
        let opened =
            |bytes| decoded(&Ok(Answer::AeadPlaintext(SecretBytes::copy_of(&vec![7; bytes]))));
        assert_eq!((opened(0), opened(32_768), opened(32_769)), (true, true, false));
    }

    #[test]
    fn rsa_answer_of_another_size_is_malformed() {
        let result = |bytes| decoded(&Ok(Answer::Rsa(SecretBytes::copy_of(&vec![7; bytes]))));
        let modulus = |bytes| decoded(&Ok(Answer::RsaModulus(RsaModulus(vec![0x81; bytes]))));
        for (bytes, read) in
            [(0, false), (255, false), (256, true), (257, false), (512, true), (513, false)]
        {
            assert_eq!((result(bytes), modulus(bytes)), (read, read), "{bytes}");
        }
        assert!(!decoded(&Ok(Answer::RsaModulus(RsaModulus(vec![0x71; 256])))));
    }

    #[test]
    fn counter_calls_return_to_themselves() {
        let counter = || DeviceCounter { id: KeyId([3; 16]), blob: Arc::from([1, 2]) };
        check(&Call::CounterCreate(KeyId([1; 16])));
        check(&Call::CounterIncrement(counter()));
        check(&Call::CounterRead(counter()));
        check(&Call::CounterDestroy(counter()));
    }

    #[test]
    fn counter_answers_return_to_themselves() {
        for answer in [Answer::Counter(KeyBlob(vec![1, 2]), u64::MAX), Answer::Value(7)] {
            let packet = encode_answer(7, &Ok(answer)).unwrap();
            let (number, decoded) = decode_answer(&packet).unwrap();
            assert_eq!((number, encode_answer(7, &decoded).unwrap()), (7, packet));
        }
    }

    fn decoded(answer: &Result<Answer>) -> bool {
        decode_answer(&encode_answer(7, answer).unwrap()).is_ok()
    }

    #[test]
    fn blob_at_the_limits_is_read_and_past_them_malformed() {
        let blob = |bytes| decoded(&Ok(Answer::Blob(KeyBlob(vec![7; bytes]))));
        let counter = |bytes| decoded(&Ok(Answer::Counter(KeyBlob(vec![7; bytes]), 1)));
        for (bytes, read) in [(0, false), (1, true), (4096, true), (4097, false)] {
            assert_eq!((blob(bytes), counter(bytes)), (read, read), "{bytes}");
        }
    }

    #[test]
    fn random_bytes_at_the_limit_are_read_and_one_past_is_malformed() {
        let random = |bytes| decoded(&Ok(Answer::Random(secret(vec![7; bytes]))));
        assert_eq!((random(1024), random(1025)), (true, false));
    }

    #[test]
    fn detail_of_two_lines_is_malformed() {
        let failed = |detail: &str| decoded(&Err(ProviderError::new(ErrorKind::Busy, detail)));
        assert_eq!((failed("later"), failed("later\nINFO all is well")), (true, false));
    }

    #[test]
    fn condition_returns_to_itself_and_an_unknown_standing_is_malformed() {
        check(&Call::Condition);
        let condition = Condition {
            standing: Standing::LastTry,
            auth_failures: Some(2),
            auth_failures_max: Some(3),
            recovery: Some(Duration::from_secs(1000)),
            notes: "one more".into(),
        };
        let packet = encode_answer(7, &Ok(Answer::Condition(condition.clone()))).unwrap();
        let (_, answer) = decode_answer(&packet).unwrap();
        assert!(matches!(answer, Ok(Answer::Condition(seen)) if seen == condition));
        let message = ConditionMessage {
            standing: 5,
            auth_failures: None,
            auth_failures_max: None,
            recovery: None,
            notes: String::new(),
        };
        let body = AnswerBody::Condition(message);
        let packet = encode(&AnswerMessage { number: 1, body }).unwrap();
        assert_eq!(decode_answer(&packet).err(), Some(Malformed));
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
