//! Writes the envelope vectors: `cargo run -p wire --example envelope_vectors -- DIRECTORY`.
//!
//! Run once per format version; the files in `tests/vectors/envelope` are then fixed, and a
//! change of the code that changes what they mean is a fault of the code. Every value is made of
//! counted bytes, so that a reader can follow them through `docs/envelope.md`.
#![expect(clippy::unwrap_used, reason = "a tool for developers ends at the first surprise")]

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::error::Error;
use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs};

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use ciborium::Value;
use wire::api::Protection;
use wire::context::EncryptionContext;
use wire::envelope::{DataKey, Envelope, Kek, Method, Recipient, TEXT_PREFIX, kdf_input, seal};
use wire::name::KeyName;

const PLAINTEXT: &[u8] = b"correct horse battery staple";
const CONTEXT: &str = r#"{"tenant":"blue","app":"web"}"#;
const NO_CONTEXT: &str = "{}";

// Places in the seven-item array of an envelope and of a recipient.
const MAGIC: usize = 0;
const FORMAT: usize = 1;
const KEY_NAME: usize = 2;
const RECIPIENTS: usize = 3;
const NONCE: usize = 4;
const CIPHERTEXT: usize = 5;
const HEADER_MAC: usize = 6;
const METHOD: usize = 0;
const KEY_ID: usize = 1;
const VERSION: usize = 2;
const PROVIDER_KIND: usize = 3;
const PROTECTION: usize = 4;
const SALT: usize = 5;
const WRAPPED: usize = 6;

fn main() -> Result<(), Box<dyn Error>> {
    let directory = env::args().nth(1).ok_or("a directory is needed")?;
    let vectors = Vectors { directory: directory.as_ref() };
    vectors.good()?;
    vectors.not_authentic()?;
    vectors.not_an_encoding()?;
    vectors.not_a_text()
}

struct Vectors<'a> {
    directory: &'a Path,
}

impl Vectors<'_> {
    fn good(&self) -> Result<(), Box<dyn Error>> {
        let opens = |plaintext: &'static [u8]| Head { plaintext: Some(plaintext), ..OPENS };
        self.text("good", opens(PLAINTEXT), &good().to_text())?;
        self.text(
            "good_second_recipient",
            Head { recipient: 1, ..opens(PLAINTEXT) },
            &two().to_text(),
        )?;
        let empty = sealed(&[recipient(1)], NO_CONTEXT, b"");
        self.text("good_empty", Head { context: NO_CONTEXT, ..opens(b"") }, &empty.to_text())
    }

    fn not_authentic(&self) -> Result<(), Box<dyn Error>> {
        let head = |fault| Head { fault, ..INTEGRITY };
        let good_text = good().to_text();
        let context = |fault, context| Head { fault, context, ..INTEGRITY };
        self.text("context_missing", context("no context is given", NO_CONTEXT), &good_text)?;
        let changed = r#"{"tenant":"red","app":"web"}"#;
        self.text("context_value_changed", context("one value differs", changed), &good_text)?;
        let added = r#"{"tenant":"blue","app":"web","more":""}"#;
        self.text("context_entry_added", context("one entry more", added), &good_text)?;
        let device = Head { device_key: 0x41, ..head("the key of another device") };
        self.text("device_another", device, &good_text)?;

        for (name, field) in [
            ("nonce_flipped_bit", NONCE),
            ("ciphertext_flipped_bit", CIPHERTEXT),
            ("header_mac_flipped_bit", HEADER_MAC),
        ] {
            let bytes = edit(&good(), |envelope| flip_first_bit(&mut envelope[field]));
            self.binary(name, head("one bit is flipped"), &bytes)?;
        }
        let bytes = edit(&good(), |envelope| {
            *bytes_of(&mut envelope[CIPHERTEXT]).last_mut().unwrap() ^= 1;
        });
        self.binary("tag_flipped_bit", head("the last bit of the payload tag is flipped"), &bytes)?;
        let bytes = edit(&good(), |envelope| {
            bytes_of(&mut envelope[CIPHERTEXT]).remove(0);
        });
        self.binary("ciphertext_byte_removed", head("the first byte is missing"), &bytes)?;
        let bytes = edit(&good(), |envelope| envelope[KEY_NAME] = Value::from("secrets/dc"));
        self.binary("key_name_changed", head("another key name"), &bytes)?;

        for (name, field) in [
            ("key_id_flipped_bit", KEY_ID),
            ("salt_flipped_bit", SALT),
            ("wrapped_flipped_bit", WRAPPED),
        ] {
            let bytes = edit_recipient(|recipient| flip_first_bit(&mut recipient[field]));
            self.binary(name, head("one bit is flipped"), &bytes)?;
        }
        let bytes = edit_recipient(|recipient| recipient[VERSION] = 8.into());
        self.binary("version_changed", head("another key version"), &bytes)?;
        let bytes = edit_recipient(|recipient| recipient[PROVIDER_KIND] = Value::from("tpm3"));
        self.binary("provider_kind_changed", head("another provider kind"), &bytes)?;
        let bytes = edit_recipient(|recipient| recipient[PROTECTION] = 2.into());
        self.binary("protection_changed", head("emulated, was hardware"), &bytes)?;

        let bytes = edit(&two(), |envelope| list_of(&mut envelope[RECIPIENTS]).swap(0, 1));
        let swapped = Head { recipient: 1, ..head("the two recipients are swapped") };
        self.binary("recipients_swapped", swapped, &bytes)?;
        let bytes = edit(&two(), |envelope| {
            list_of(&mut envelope[RECIPIENTS]).pop();
        });
        self.binary("recipient_removed", head("the second recipient is missing"), &bytes)?;
        let bytes = edit(&good(), |envelope| {
            let recipients = list_of(&mut envelope[RECIPIENTS]);
            recipients.push(recipients[0].clone());
        });
        self.binary("recipient_repeated", head("the recipient stands there twice"), &bytes)
    }

    fn not_an_encoding(&self) -> Result<(), Box<dyn Error>> {
        let head = |fault| Head { fault, ..MALFORMED };
        let bytes = good().encode();
        self.binary("truncated", head("the last byte is missing"), &bytes[..bytes.len() - 1])?;
        self.binary("trailing_byte", head("one byte follows"), &[&bytes[..], &[0]].concat())?;
        self.binary("empty", head("no bytes"), &[])?;
        let long = [&[0x98, 7], &bytes[1..]].concat();
        self.binary("array_length_not_shortest", head("7 in two bytes"), &long)?;
        let long = [&bytes[..1], &[0x78, 8], &bytes[2..]].concat();
        self.binary("text_length_not_shortest", head("8 in two bytes"), &long)?;
        let long = [&bytes[..10], &[0x18, 1], &bytes[11..]].concat();
        self.binary("number_not_shortest", head("1 in two bytes"), &long)?;
        let open = [&[0x9f], &bytes[1..], &[0xff]].concat();
        self.binary("array_length_indefinite", head("an array of indefinite length"), &open)?;
        let tagged = [&[0xd9, 0xd9, 0xf7], &bytes[..]].concat();
        self.binary("tagged", head("a CBOR tag stands before"), &tagged)?;

        for (name, fault, field, value) in [
            ("magic_other", "another magic", MAGIC, Value::from("sealhosT")),
            ("magic_bytes", "magic is a byte string", MAGIC, Value::from(&b"sealhost"[..])),
            ("format_version_unknown", "format version 2", FORMAT, 2.into()),
            ("key_name_empty", "no key name", KEY_NAME, Value::from("")),
            ("key_name_internal", "a key name of the host", KEY_NAME, Value::from(".root")),
            ("key_name_too_long", "129 bytes", KEY_NAME, Value::from("k".repeat(129))),
            ("recipients_none", "no recipient", RECIPIENTS, Value::Array(Vec::new())),
            ("recipients_too_many", "17", RECIPIENTS, Value::Array(vec![recipient_value(); 17])),
            ("nonce_short", "11 bytes", NONCE, Value::from(&[0x60; 11][..])),
            ("ciphertext_short", "less than a tag", CIPHERTEXT, Value::from(&[0; 15][..])),
            ("header_mac_short", "31 bytes", HEADER_MAC, Value::from(&[0; 31][..])),
        ] {
            self.binary(name, head(fault), &edit(&good(), |envelope| envelope[field] = value))?;
        }
        for (name, fault, field, value) in [
            ("method_unknown", "method 2", METHOD, 2.into()),
            ("method_zero", "method 0", METHOD, 0.into()),
            ("key_id_short", "15 bytes", KEY_ID, Value::from(&[0; 15][..])),
            ("version_zero", "key version 0", VERSION, 0.into()),
            ("version_too_high", "2^32", VERSION, (1_u64 << 32).into()),
            ("version_negative", "key version -1", VERSION, (-1).into()),
            ("provider_kind_empty", "no kind", PROVIDER_KIND, Value::from("")),
            ("provider_kind_upper_case", "not a name", PROVIDER_KIND, Value::from("TPM2")),
            ("protection_unknown", "protection 4", PROTECTION, 4.into()),
            ("salt_long", "33 bytes", SALT, Value::from(&[0; 33][..])),
            ("wrapped_short", "39 bytes", WRAPPED, Value::from(&[0; 39][..])),
        ] {
            let bytes = edit_recipient(|recipient| recipient[field] = value);
            self.binary(name, head(fault), &bytes)?;
        }
        let bytes = edit(&good(), |envelope| envelope.push(0.into()));
        self.binary("field_added", head("an eighth field"), &bytes)?;
        let bytes = edit_recipient(|recipient| recipient.push(0.into()));
        self.binary("recipient_field_added", head("an eighth field of a recipient"), &bytes)
    }

    fn not_a_text(&self) -> Result<(), Box<dyn Error>> {
        let head = |fault| Head { fault, ..MALFORMED };
        let good_bytes = good().encode();
        // One byte of plaintext less or more moves the end of the base64 text.
        let shorter = sealed(&[recipient(1)], CONTEXT, &PLAINTEXT[1..]).encode();
        let text = good().to_text();
        let encoded = text.strip_prefix(TEXT_PREFIX).unwrap();
        let other = format!("sealhost:2:{encoded}");
        self.text("text_prefix_other", head("another version in the prefix"), &other)?;
        self.text("text_prefix_missing", head("no prefix"), encoded)?;
        let upper = format!("SEALHOST:1:{encoded}");
        self.text("text_prefix_upper_case", head("the prefix in capitals"), &upper)?;
        let padded = [&shorter, &good_bytes].map(|bytes| URL_SAFE.encode(bytes));
        let padded = padded.iter().find(|text| text.ends_with('=')).unwrap();
        self.text(
            "text_padded",
            head("base64url with padding"),
            &format!("{TEXT_PREFIX}{padded}"),
        )?;
        let standard = STANDARD_NO_PAD.encode(&good_bytes);
        assert_ne!(standard, encoded);
        let standard = format!("{TEXT_PREFIX}{standard}");
        self.text("text_standard_alphabet", head("base64 with + and /"), &standard)?;
        let unpadded = [&shorter, &good_bytes].map(|bytes| URL_SAFE_NO_PAD.encode(bytes));
        let mut loose = unpadded.into_iter().find(|text| !text.len().is_multiple_of(4)).unwrap();
        let last = loose.pop().unwrap();
        loose.push(char::from(u8::try_from(last)? + 1));
        let loose = format!("{TEXT_PREFIX}{loose}");
        self.text("text_unused_bits_set", head("unused bits of the last character"), &loose)?;
        self.text("text_space_after", head("a space after the end"), &format!("{text} "))
    }

    fn binary(&self, name: &str, head: Head, bytes: &[u8]) -> Result<(), Box<dyn Error>> {
        self.text(name, head, &format!("{TEXT_PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes)))
    }

    fn text(&self, name: &str, head: Head, sealed: &str) -> Result<(), Box<dyn Error>> {
        let mut file = format!("outcome: {}\nfault: {}\n", head.outcome, head.fault);
        writeln!(file, "device-key: {}", hex(&device_key(head.device_key)))?;
        writeln!(file, "recipient: {}", head.recipient)?;
        writeln!(file, "context: {}", head.context)?;
        if let Some(plaintext) = head.plaintext {
            let line = format!("plaintext: {}", hex(plaintext));
            writeln!(file, "{}", line.trim_end())?;
        }
        writeln!(file, "\n{sealed}")?;
        Ok(fs::write(self.directory.join(format!("{name}.txt")), file)?)
    }
}

#[derive(Clone, Copy)]
struct Head {
    outcome: &'static str,
    fault: &'static str,
    device_key: u8,
    recipient: usize,
    context: &'static str,
    plaintext: Option<&'static [u8]>,
}

const OPENS: Head = Head {
    outcome: "opens",
    fault: "none",
    device_key: 0x40,
    recipient: 0,
    context: CONTEXT,
    plaintext: None,
};
const INTEGRITY: Head = Head { outcome: "integrity", ..OPENS };
const MALFORMED: Head = Head { outcome: "malformed", ..OPENS };

/// `N` bytes counted up from `first`.
fn counted<const N: usize>(first: u8) -> [u8; N] {
    let mut next = first;
    [0; N].map(|_: u8| {
        let byte = next;
        next = next.wrapping_add(1);
        byte
    })
}

fn device_key(first: u8) -> [u8; 32] {
    counted(first)
}

fn data_key() -> DataKey {
    DataKey::fill_with(|key| {
        *key = counted(0x00);
        Ok::<_, Infallible>(())
    })
    .unwrap()
}

fn recipient(version: u8) -> Recipient {
    let (key_id, salt) = (counted(0xa0), counted(0x20 * version));
    let key = hmac::Key::new(hmac::HMAC_SHA256, &device_key(0x40));
    let mac = hmac::sign(&key, &kdf_input(&key_id, u32::from(version), &salt));
    let kek = Kek::from_device_mac(mac.as_ref().try_into().unwrap(), &salt).unwrap();
    Recipient {
        method: Method::HmacKdf,
        key_id,
        version: u32::from(version),
        provider_kind: "tpm2".to_owned(),
        protection: Protection::Hardware,
        salt,
        wrapped: kek.wrap(&data_key()).unwrap(),
    }
}

fn sealed(recipients: &[Recipient], context: &str, plaintext: &[u8]) -> Envelope {
    let name = KeyName::parse("secrets/db").unwrap();
    let context: BTreeMap<String, String> = serde_json::from_str(context).unwrap();
    let context = EncryptionContext::new(context).unwrap();
    seal(&name, &data_key(), recipients.to_vec(), counted(0x60), &context, plaintext).unwrap()
}

fn good() -> Envelope {
    sealed(&[recipient(1)], CONTEXT, PLAINTEXT)
}

fn two() -> Envelope {
    sealed(&[recipient(1), recipient(2)], CONTEXT, PLAINTEXT)
}

fn recipient_value() -> Value {
    let mut envelope = value(&good());
    list_of(&mut list_of(&mut envelope)[RECIPIENTS]).remove(0)
}

fn value(envelope: &Envelope) -> Value {
    ciborium::from_reader(envelope.encode().as_slice()).unwrap()
}

fn edit(envelope: &Envelope, change: impl FnOnce(&mut Vec<Value>)) -> Vec<u8> {
    let mut value = value(envelope);
    change(list_of(&mut value));
    let mut bytes = Vec::new();
    ciborium::into_writer(&value, &mut bytes).unwrap();
    bytes
}

fn edit_recipient(change: impl FnOnce(&mut Vec<Value>)) -> Vec<u8> {
    edit(&good(), |envelope| change(list_of(&mut list_of(&mut envelope[RECIPIENTS])[0])))
}

fn list_of(value: &mut Value) -> &mut Vec<Value> {
    value.as_array_mut().unwrap()
}

fn bytes_of(value: &mut Value) -> &mut Vec<u8> {
    value.as_bytes_mut().unwrap()
}

fn flip_first_bit(value: &mut Value) {
    bytes_of(value)[0] ^= 0x80;
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}
