//! The bodies of the fuzz targets of this room (`docs/fuzzing.md`): packets between host and
//! worker, of which neither side believes the other.

use provider_core::key::{
    AEAD_TAG_BYTES, AEAD_TEXT_MAX_BYTES, BLOB_MAX_BYTES, DETAIL_MAX_BYTES, IDENTITY_MAX_BYTES,
    RANDOM_MAX_BYTES, RSA_MAX_BYTES, SUBJECT_MAX_BYTES,
};

use super::message::{self, PACKET_MAX_BYTES};
use super::{Answer, CallError, OpenFailure};

/// What a worker reads: its opening, then calls.
pub fn worker_call(data: &[u8]) {
    if data.len() > PACKET_MAX_BYTES {
        return;
    }
    let _asked = message::decode_question(data);
    if let Ok((number, call)) = message::decode_call(data) {
        let packet = message::encode_call(number, &call).unwrap_or_default();
        assert!(!packet.is_empty() && packet.len() <= data.len());
        let again = message::decode_call(&packet);
        let again = again.and_then(|(number, call)| message::encode_call(number, &call));
        assert_eq!(again.ok(), Some(packet));
    }
}

/// What the host reads of a worker: how its opening went, then answers.
pub fn worker_answer(data: &[u8]) {
    if data.len() > PACKET_MAX_BYTES {
        return;
    }
    if let Ok(opened) = message::decode_opened(data) {
        check_opened(&opened);
        let packet = message::encode_opened(&opened).unwrap_or_default();
        let again = message::decode_opened(&packet);
        assert_eq!(again.and_then(|it| message::encode_opened(&it)).ok(), Some(packet));
    }
    if let Ok(Ok(needs)) = message::decode_needs(data) {
        let packet = message::encode_needs(&Ok(needs.clone())).unwrap_or_default();
        assert_eq!(message::decode_needs(&packet), Ok(Ok(needs)));
    }
    if let Ok((number, answer)) = message::decode_answer(data) {
        match &answer {
            Ok(Answer::Blob(blob) | Answer::Counter(blob, _)) => {
                assert!((1..=BLOB_MAX_BYTES).contains(&blob.0.len()));
            }
            Ok(Answer::Condition(condition)) => check_line(&condition.notes),
            Ok(Answer::Random(bytes)) => assert!(bytes.len() <= RANDOM_MAX_BYTES),
            Ok(Answer::AeadCiphertext(text)) => {
                let text_bytes = text.len().checked_sub(AEAD_TAG_BYTES);
                assert!(text_bytes.is_some_and(|bytes| bytes <= AEAD_TEXT_MAX_BYTES));
            }
            Ok(Answer::AeadPlaintext(text)) => assert!(text.len() <= AEAD_TEXT_MAX_BYTES),
            Ok(Answer::RsaModulus(modulus)) => assert!(modulus.is_whole()),
            Ok(Answer::Rsa(result)) => assert!([256, RSA_MAX_BYTES].contains(&result.len())),
            Ok(
                Answer::Done
                | Answer::Mac(_)
                | Answer::PublicKey(_)
                | Answer::Signature(_)
                | Answer::Value(_),
            ) => {}
            Err(error) => check_line(&error.detail),
        }
        let packet = message::encode_answer(number, &answer).unwrap_or_default();
        let again = message::decode_answer(&packet);
        let again = again.and_then(|(number, answer)| message::encode_answer(number, &answer));
        assert_eq!(again.ok(), Some(packet));
    }
}

fn check_opened(opened: &Result<super::opening::Description, OpenFailure>) {
    match opened {
        Ok(description) => {
            let info = &description.info;
            for text in [&info.kind, &info.manufacturer, &info.firmware, &info.notes] {
                check_line(text);
            }
            assert!((1..=64).contains(&info.concurrency));
            assert!((1..=IDENTITY_MAX_BYTES).contains(&description.identity.0.len()));
        }
        Err(OpenFailure::Withheld(subject)) => {
            assert!((1..=SUBJECT_MAX_BYTES).contains(&subject.0.len()));
        }
        Err(OpenFailure::Failed { error, .. }) => match error {
            CallError::Provider(error) => check_line(&error.detail),
            CallError::Plugin(_) | CallError::Busy | CallError::Timeout(_) | CallError::Gone(_) => {
            }
        },
    }
}

/// What goes to the log is one line, and not long.
fn check_line(text: &str) {
    assert!(text.len() <= DETAIL_MAX_BYTES && !text.contains(char::is_control), "{text:?}");
}
