//! Envelopes through the public API: round trips, limits, and the steps of `docs/envelope.md`
//! put together a second time from primitives.
#![expect(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    reason = "an integration test is one module, and its helpers are tests too"
)]

use std::collections::BTreeMap;
use std::convert::Infallible;

use proptest::prelude::*;
use wire::api::Protection;
use wire::code::{Code, Fault};
use wire::context::EncryptionContext;
use wire::envelope::{DEVICE_LABEL, kdf_input, open, replace_recipients, seal};
use wire::envelope::{DataKey, Envelope, Integrity, Kek, Method, Recipient};
use wire::limits::{ENVELOPE_MAX_BYTES, PLAINTEXT_MAX_BYTES, RECIPIENTS_MAX};
use wire::name::KeyName;

fn data_key(byte: u8) -> DataKey {
    DataKey::fill_with(|key| {
        key.fill(byte);
        Ok::<_, Infallible>(())
    })
    .unwrap()
}

fn recipient(version: u8) -> Recipient {
    let kek = Kek::from_device_mac(&[version; 32], &[3; 32]).unwrap();
    Recipient {
        method: Method::HmacKdf,
        key_id: [9; 16],
        version: u32::from(version),
        provider_kind: "tpm2".to_owned(),
        protection: Protection::Hardware,
        salt: [3; 32],
        wrapped: kek.wrap(&data_key(1)).unwrap(),
    }
}

fn name(text: &str) -> KeyName {
    KeyName::parse(text).unwrap()
}

fn context(entries: &[(&str, &str)]) -> EncryptionContext {
    let entries = entries.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    EncryptionContext::new(entries.collect()).unwrap()
}

fn sealed(recipients: u8, plaintext: &[u8]) -> Result<Envelope, Fault> {
    let recipients = (1..=recipients).map(recipient).collect();
    let context = context(&[("a", "b")]);
    seal(&name("secrets/db"), &data_key(1), recipients, [7; 12], &context, plaintext)
}

#[test]
fn recipient_unwraps_the_data_key_that_opens() {
    let envelope = sealed(2, b"plaintext").unwrap();
    let found = &envelope.recipients()[1];
    let kek = Kek::from_device_mac(&[2; 32], &found.salt).unwrap();
    let key = kek.unwrap(&found.wrapped).unwrap();
    assert_eq!(*open(&envelope, &key, &context(&[("a", "b")])).unwrap(), b"plaintext");
}

#[test]
fn unwrap_with_another_mac_or_salt_is_integrity() {
    let wrapped = recipient(1).wrapped;
    for (mac, salt) in [([2; 32], [3; 32]), ([1; 32], [4; 32])] {
        let kek = Kek::from_device_mac(&mac, &salt).unwrap();
        assert_eq!(kek.unwrap(&wrapped).map(|_| ()), Err(Integrity));
    }
}

#[test]
fn open_with_another_data_key_or_context_is_integrity() {
    let envelope = sealed(1, b"plaintext").unwrap();
    for (key, context) in [
        (data_key(2), context(&[("a", "b")])),
        (data_key(1), context(&[])),
        (data_key(1), context(&[("a", "c")])),
        (data_key(1), context(&[("a", "b"), ("", "")])),
    ] {
        assert_eq!(open(&envelope, &key, &context).map(|_| ()), Err(Integrity));
    }
}

#[test]
fn replaced_recipients_open_and_payload_is_untouched() {
    let envelope = sealed(1, b"plaintext").unwrap();
    let rewrapped = replace_recipients(&envelope, &data_key(1), vec![recipient(5)]).unwrap();
    assert_eq!(rewrapped.recipients(), [recipient(5)]);
    let payload = |envelope: &Envelope| {
        let bytes = envelope.encode();
        bytes[bytes.len() - 34 - 25..bytes.len() - 34].to_vec()
    };
    assert_eq!(payload(&rewrapped), payload(&envelope));
    assert_eq!(*open(&rewrapped, &data_key(1), &context(&[("a", "b")])).unwrap(), b"plaintext");
}

#[test]
fn replace_recipients_with_another_data_key_is_integrity() {
    let fault = replace_recipients(&sealed(1, b"").unwrap(), &data_key(2), vec![recipient(2)]);
    assert_eq!(fault.unwrap_err().code, Code::Integrity);
}

#[test]
fn plaintext_at_limit_with_longest_header_fits_an_envelope() {
    let longest = name(&"k".repeat(128));
    let mut widest = recipient(1);
    widest.version = u32::MAX;
    widest.provider_kind = "p".repeat(32);
    let plaintext = vec![5; PLAINTEXT_MAX_BYTES];
    let context = context(&[]);
    let recipients = vec![widest; RECIPIENTS_MAX];
    let envelope = seal(&longest, &data_key(1), recipients, [7; 12], &context, &plaintext).unwrap();
    assert!(envelope.encode().len() <= ENVELOPE_MAX_BYTES);
    let read = Envelope::parse_text(&envelope.to_text()).unwrap();
    assert_eq!(*open(&read, &data_key(1), &context).unwrap(), plaintext);
}

#[test]
fn plaintext_one_past_limit_is_too_large() {
    assert_eq!(sealed(1, &vec![0; PLAINTEXT_MAX_BYTES + 1]).unwrap_err().code, Code::TooLarge);
}

#[test]
fn recipients_none_or_one_past_limit_are_invalid() {
    for count in [0, RECIPIENTS_MAX + 1] {
        let recipients = vec![recipient(1); count];
        let fault = replace_recipients(&sealed(1, b"").unwrap(), &data_key(1), recipients);
        assert_eq!(fault.unwrap_err().code, Code::Invalid);
    }
}

#[test]
fn provider_kind_that_is_not_a_name_is_invalid() {
    for kind in ["", "TPM", &"p".repeat(33)] {
        let mut recipient = recipient(1);
        recipient.provider_kind = kind.to_owned();
        let fault = replace_recipients(&sealed(1, b"").unwrap(), &data_key(1), vec![recipient]);
        assert_eq!(fault.unwrap_err().code, Code::Invalid, "{kind}");
    }
}

#[test]
fn binary_one_past_limit_is_too_large() {
    let fault = Envelope::decode(&vec![0x87; ENVELOPE_MAX_BYTES + 1]).unwrap_err();
    assert_eq!(fault.code, Code::TooLarge);
    let fault = Envelope::decode(&vec![0x87; ENVELOPE_MAX_BYTES]).unwrap_err();
    assert_eq!(fault.code, Code::Malformed);
}

#[test]
fn device_input_begins_with_the_label_and_differs_in_every_field() {
    let input = kdf_input(&[1; 16], 2, &[3; 32]);
    assert_eq!(input.len(), 80);
    assert!(input.starts_with(DEVICE_LABEL));
    for other in [
        kdf_input(&[2; 16], 2, &[3; 32]),
        kdf_input(&[1; 16], 3, &[3; 32]),
        kdf_input(&[1; 16], 2, &[4; 32]),
    ] {
        assert_ne!(other, input);
    }
}

#[test]
fn every_flipped_bit_is_malformed_or_integrity() {
    let bytes = sealed(2, b"p").unwrap().encode();
    for at in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[at / 8] ^= 1 << (at % 8);
        match Envelope::decode(&flipped) {
            Ok(read) => {
                let opened = open(&read, &data_key(1), &context(&[("a", "b")]));
                assert_eq!(opened.map(|_| ()), Err(Integrity), "bit {at}");
            }
            Err(fault) => assert_eq!(fault.code, Code::Malformed, "bit {at}"),
        }
    }
}

#[test]
fn every_truncation_is_malformed() {
    let bytes = sealed(2, b"p").unwrap().encode();
    for length in 0..bytes.len() {
        assert_eq!(Envelope::decode(&bytes[..length]).unwrap_err().code, Code::Malformed);
    }
}

proptest! {
    #[test]
    fn sealed_bytes_open_again(
        plaintext in proptest::collection::vec(any::<u8>(), 0..400),
        entries in proptest::collection::btree_map(".{0,8}", ".{0,8}", 0..4),
        key_name in "[a-z0-9_][a-z0-9._-]{0,9}(/[a-z0-9_][a-z0-9._-]{0,9}){0,2}",
        recipients in 1_usize..4,
        nonce: [u8; 12],
        key: u8,
    ) {
        let context = EncryptionContext::new(BTreeMap::clone(&entries)).unwrap();
        let recipients = vec![recipient(3); recipients];
        let key = data_key(key);
        let envelope = seal(&name(&key_name), &key, recipients, nonce, &context, &plaintext).unwrap();
        let binary = Envelope::decode(&envelope.encode()).unwrap();
        let text = Envelope::parse_text(&envelope.to_text()).unwrap();
        prop_assert_eq!(&binary, &envelope);
        prop_assert_eq!(&text, &envelope);
        prop_assert_eq!(text.key_name().as_str(), key_name);
        prop_assert!(*open(&text, &key, &context).unwrap() == plaintext);
    }

    #[test]
    fn whatever_decodes_is_the_one_encoding(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(envelope) = Envelope::decode(&bytes) {
            prop_assert_eq!(envelope.encode(), bytes);
        }
    }

    #[test]
    fn changed_byte_never_decodes_to_the_same_envelope(at: prop::sample::Index, byte: u8) {
        let good = sealed(1, b"p").unwrap();
        let mut bytes = good.encode();
        let at = at.index(bytes.len());
        prop_assume!(bytes[at] != byte);
        bytes[at] = byte;
        if let Ok(envelope) = Envelope::decode(&bytes) {
            prop_assert_eq!(envelope.encode(), bytes);
            prop_assert!(envelope != good);
        }
    }
}
