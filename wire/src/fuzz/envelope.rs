//! Envelopes, and what they are made of.

use super::check_fault;
use crate::api::Protection;
use crate::cbor::{self, NotCanonical, Reader};
use crate::code::{Code, Fault};
use crate::context::EncryptionContext;
use crate::envelope::{DataKey, Envelope, Kek, Method, Recipient, open, seal};
use crate::limits::{CONTEXT_MAX_BYTES, PLAINTEXT_MAX_BYTES, RECIPIENTS_MAX};
use crate::name::{KeyName, ProviderName};

/// Binary form: what is read is written back byte by byte, and is nobody's.
pub fn envelope(data: &[u8]) {
    match Envelope::decode(data) {
        Ok(envelope) => {
            assert_eq!(envelope.encode(), data);
            assert_eq!(Envelope::parse_text(&envelope.to_text()).as_ref(), Ok(&envelope));
            check_claims(&envelope);
        }
        Err(fault) => check_fault(&fault),
    }
}

/// Text form: one text for each envelope.
pub fn envelope_text(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    match Envelope::parse_text(text) {
        Ok(envelope) => {
            assert_eq!(envelope.to_text(), text);
            check_claims(&envelope);
        }
        Err(fault) => check_fault(&fault),
    }
}

/// What every envelope that was read has, whoever made it.
fn check_claims(envelope: &Envelope) {
    assert_eq!(KeyName::parse(envelope.key_name().as_str()).as_ref(), Ok(envelope.key_name()));
    assert!((1..=RECIPIENTS_MAX).contains(&envelope.recipients().len()));
    for recipient in envelope.recipients() {
        assert!(ProviderName::parse(&recipient.provider_kind).is_ok());
        assert!(recipient.version >= 1);
    }
    // The fuzzer does not have this key.
    let Ok(key) = DataKey::fill_with(|key| {
        key.fill(0xa5);
        Ok::<_, Fault>(())
    }) else {
        return;
    };
    assert!(open(envelope, &key, &EncryptionContext::default()).is_err());
}

/// Seals what the fuzzer chose, and changes one bit: the untouched envelope opens, the other does
/// not, in neither form.
pub fn sealed(data: &[u8]) {
    let Some((&[place_high, place_low, seed, count], plaintext)) = data.split_first_chunk() else {
        return;
    };
    let recipients = vec![recipient(seed); usize::from(count % 17)];
    let Ok(name) = KeyName::parse("fuzz/key") else { return };
    let kek = Kek::from_device_mac(&[seed; 32], &[seed; 32]);
    let key = DataKey::fill_with(|key| {
        key.fill(seed);
        Ok::<_, Fault>(())
    });
    let (Ok(kek), Ok(key)) = (kek, key) else { return };
    let wrapped = kek.wrap(&key);
    assert!(wrapped.is_ok_and(|wrapped| kek.unwrap(&wrapped).is_ok()));
    let context = EncryptionContext::default();
    let few = recipients.is_empty() || recipients.len() > RECIPIENTS_MAX;
    let envelope = match seal(&name, &key, recipients, [seed; 12], &context, plaintext) {
        Ok(envelope) => envelope,
        Err(fault) => {
            assert!(few && fault.code == Code::Invalid || plaintext.len() > PLAINTEXT_MAX_BYTES);
            return;
        }
    };
    assert!(open(&envelope, &key, &context).is_ok_and(|opened| *opened == plaintext));
    let mut bytes = envelope.encode();
    assert_eq!(Envelope::decode(&bytes).as_ref(), Ok(&envelope));
    let bit = usize::from(u16::from_be_bytes([place_high, place_low]));
    let place = (bit / 8) % bytes.len();
    if let Some(byte) = bytes.get_mut(place) {
        *byte ^= 1 << (bit % 8);
    }
    if let Ok(other) = Envelope::decode(&bytes) {
        assert!(open(&other, &key, &context).is_err(), "bit {bit} does not matter");
    }
}

fn recipient(seed: u8) -> Recipient {
    Recipient {
        method: Method::HmacKdf,
        key_id: [seed; 16],
        version: u32::from(seed).saturating_add(1),
        provider_kind: "soft".to_owned(),
        protection: Protection::Software,
        salt: [seed; 32],
        wrapped: [seed; 40],
    }
}

/// Contexts in JSON: the same entries have the same canonical bytes.
pub fn context(data: &[u8]) {
    let Ok(context) = serde_json::from_slice::<EncryptionContext>(data) else { return };
    assert!(context.canonical().len() <= CONTEXT_MAX_BYTES);
    assert_eq!(context.is_empty(), context.canonical() == [0xa0]);
    let again = EncryptionContext::new(context.entries().clone());
    assert_eq!(again.as_ref(), Ok(&context));
    let text = serde_json::to_string(&context).unwrap_or_default();
    assert!(serde_json::from_str::<EncryptionContext>(&text).is_ok_and(|it| it == context));
    // An entry more is another context.
    let mut more = context.entries().clone();
    if more.insert("fuzz".to_owned(), "more".to_owned()).is_none() {
        let more = EncryptionContext::new(more);
        assert!(more.is_err() || more.is_ok_and(|it| it.canonical() != context.canonical()));
    }
}

/// Items of CBOR, one after the other: what is read is written back byte by byte.
pub fn cbor(data: &[u8]) {
    let mut rest = data;
    while let Ok(written) = item(rest) {
        assert!(!written.is_empty());
        let Some(after) = rest.strip_prefix(written.as_slice()) else {
            panic_at(rest, &written);
            return;
        };
        rest = after;
    }
}

/// Reads the first item as what it says to be, and writes it.
fn item(bytes: &[u8]) -> Result<Vec<u8>, NotCanonical> {
    let mut reader = Reader::new(bytes);
    let mut out = Vec::new();
    match bytes.first().map(|initial| initial >> 5) {
        Some(0) => cbor::uint(&mut out, reader.uint()?),
        Some(2) => cbor::bytes(&mut out, reader.bytes()?),
        Some(3) => cbor::text(&mut out, reader.text()?),
        Some(4) => match usize::try_from(reader.array()?) {
            Ok(items) => cbor::array(&mut out, items),
            Err(_too_many) => return Err(NotCanonical("more items than memory")),
        },
        Some(_) | None => return Err(NotCanonical("another type")),
    }
    Ok(out)
}

fn panic_at(read: &[u8], written: &[u8]) {
    assert_eq!(read, written, "what was read is not what is written");
}
