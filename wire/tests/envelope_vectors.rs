//! Runs every file of `tests/vectors/envelope`, and takes the good one apart a second time with
//! the steps of `docs/envelope.md` written out over the primitives.
#![expect(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    reason = "an integration test is one module, and its helpers are tests too"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hmac;
use aws_lc_rs::key_wrap::{AES_256, AesKek, KeyWrap as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use wire::code::{Code, Fault};
use wire::context::EncryptionContext;
use wire::envelope::{Envelope, Kek, kdf_input, open};

const DOCUMENT: &str = include_str!("../../docs/envelope.md");

const GOOD: usize = 3;
const EDITED: usize = 19;
const BADLY_ENCODED: usize = 39;

struct Vector {
    name: String,
    head: BTreeMap<String, String>,
    sealed: String,
}

impl Vector {
    fn field(&self, name: &str) -> &str {
        &self.head[name]
    }

    fn device_key(&self) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, &unhex(self.field("device-key")))
    }

    /// What a host does with the text, the device's HMAC in between.
    fn open(&self) -> Result<Vec<u8>, Fault> {
        let context: EncryptionContext = serde_json::from_str(self.field("context")).unwrap();
        let envelope = Envelope::parse_text(&self.sealed)?;
        let recipient = &envelope.recipients()[self.field("recipient").parse::<usize>().unwrap()];
        let input = kdf_input(&recipient.key_id, recipient.version, &recipient.salt);
        let mac = hmac::sign(&self.device_key(), &input);
        let kek = Kek::from_device_mac(mac.as_ref().try_into().unwrap(), &recipient.salt)?;
        let data_key = kek.unwrap(&recipient.wrapped)?;
        Ok(open(&envelope, &data_key, &context)?.to_vec())
    }
}

fn vectors() -> Vec<Vector> {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors/envelope");
    let files = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|ext| ext == "txt")).map(read).collect()
}

fn read(path: PathBuf) -> Vector {
    let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
    let text = fs::read_to_string(path).unwrap();
    let (head, sealed) = text.split_once("\n\n").unwrap();
    let head = head.lines().map(|line| {
        let (field, value) = line.split_once(':').unwrap();
        (field.to_owned(), value.trim_start().to_owned())
    });
    Vector { name, head: head.collect(), sealed: sealed.strip_suffix('\n').unwrap().to_owned() }
}

fn vector(name: &str) -> Vector {
    vectors().into_iter().find(|vector| vector.name == name).unwrap()
}

fn check(outcome: &str, files: usize) {
    let vectors: Vec<_> =
        vectors().into_iter().filter(|vector| vector.field("outcome") == outcome).collect();
    assert_eq!(vectors.len(), files);
    for vector in vectors {
        let found = match vector.open() {
            Ok(plaintext) => {
                assert_eq!(plaintext, unhex(vector.field("plaintext")), "{}", vector.name);
                "opens".to_owned()
            }
            Err(fault) => fault.code.as_str().to_owned(),
        };
        assert_eq!(found, outcome, "{}: {}", vector.name, vector.field("fault"));
    }
}

fn unhex(text: &str) -> Vec<u8> {
    assert!(text.len().is_multiple_of(2));
    let digits = |i| u8::from_str_radix(&text[i..i + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(digits).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn hmac_sha256(key: &[u8], message: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message).as_ref().to_vec()
}

/// RFC 5869 for one block of output.
fn hkdf(salt: &[u8], secret: &[u8], info: &[u8]) -> Vec<u8> {
    hmac_sha256(&hmac_sha256(salt, secret), &[info, &[1]].concat())
}

#[test]
fn good_vectors_open() {
    check("opens", GOOD);
}

#[test]
fn edited_vectors_are_integrity() {
    check("integrity", EDITED);
}

#[test]
fn badly_encoded_vectors_are_malformed() {
    check("malformed", BADLY_ENCODED);
}

#[test]
fn every_vector_has_one_of_the_outcomes() {
    assert_eq!(vectors().len(), GOOD + EDITED + BADLY_ENCODED);
}

#[test]
fn good_vectors_are_written_again_byte_by_byte() {
    for name in ["good", "good_empty", "good_second_recipient"] {
        let sealed = vector(name).sealed;
        assert_eq!(Envelope::parse_text(&sealed).unwrap().to_text(), sealed);
    }
}

#[test]
fn error_of_an_edited_vector_does_not_tell_what_was_edited() {
    let told: Vec<_> = vectors()
        .iter()
        .filter(|vector| vector.field("outcome") == "integrity")
        .map(|vector| vector.open().unwrap_err())
        .collect();
    let one =
        Fault::new(Code::Integrity, "the sealed value, context and key do not belong together");
    assert!(told.iter().all(|fault| *fault == one));
}

/// Assembles the good vector from its parts alone, in the order of the document, and compares
/// each intermediate value with the one printed there.
#[test]
fn good_vector_follows_from_the_document() {
    let documented = |what: &str, value: &[u8]| {
        let row = format!("| {what} | `{}` |", hex(value));
        assert!(DOCUMENT.contains(&row), "{row}");
    };
    let vector = vector("good");
    let data_key: Vec<u8> = (0x00..0x20).collect();
    let key_id: Vec<u8> = (0xa0..0xb0).collect();
    let salt: Vec<u8> = (0x20..0x40).collect();
    let nonce: Vec<u8> = (0x60..0x6c).collect();

    let input = [
        b"sealhost/seal/1\0\x00\x04\x00\x00\x00\x01\x00\x10",
        &key_id[..],
        b"\x00\x04\x00\x00\x00\x01\x00\x20",
        &salt,
    ]
    .concat();
    documented("device input", &input);
    let mac = hmac_sha256(&unhex(vector.field("device-key")), &input);
    documented("device MAC", &mac);
    let kek = hkdf(&salt, &mac, b"sealhost/envelope/1/kek/hmac-kdf");
    documented("KEK", &kek);
    let mut wrapped = [0; 40];
    AesKek::new(&AES_256, &kek).unwrap().wrap(&data_key, &mut wrapped).unwrap();
    documented("wrapped key", &wrapped);

    let payload_key = hkdf(&[], &data_key, b"sealhost/envelope/1/payload");
    documented("payload key", &payload_key);
    let aad = b"\x83\x01\x6asecrets/db\xa2\x63app\x63web\x66tenant\x64blue";
    documented("AAD", aad);
    let mut ciphertext = unhex(vector.field("plaintext"));
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &payload_key).unwrap())
        .seal_in_place_append_tag(
            Nonce::try_assume_unique_for_key(&nonce).unwrap(),
            Aad::from(aad),
            &mut ciphertext,
        )
        .unwrap();
    documented("ciphertext and tag", &ciphertext);

    let header = [
        b"\x87\x68sealhost\x01\x6asecrets/db\x81\x87\x01\x50",
        &key_id[..],
        b"\x01\x64tpm2\x03\x58\x20",
        &salt,
        b"\x58\x28",
        &wrapped,
        b"\x4c",
        &nonce,
    ]
    .concat();
    documented("header", &header);
    let header_key = hkdf(&[], &data_key, b"sealhost/envelope/1/header");
    documented("header key", &header_key);
    let header_mac = hmac_sha256(&header_key, &header);
    documented("header MAC", &header_mac);

    let envelope = [&header[..], b"\x58\x2c", &ciphertext, b"\x58\x20", &header_mac].concat();
    let text = format!("sealhost:1:{}", URL_SAFE_NO_PAD.encode(envelope));
    assert_eq!(text, vector.sealed);
    assert!(DOCUMENT.contains(&text));
}
