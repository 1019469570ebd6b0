//! What is left of secrets in memory, in files and in the log after use and after errors.
//!
//! The look comes right after the last reply: nothing is sent in between that would use buffers
//! and stacks again. Secrets go through several connections at once, so that they pass through
//! every thread of the host.
//!
//! Excepted, as SECURITY.md says: the cache of the software provider, which holds its keys while
//! they are in use, and the emulators' modules, which hold keys and PIN of their tokens
//! (SoftHSM runs inside the worker of its provider).
#![expect(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "integration tests, and what they share"
)]

use std::fs;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use aws_lc_rs::hmac;
use aws_lc_rs::key_wrap::{AES_256, AesKek, KeyWrap as _};
use serde_json::json;
use swtpm_fixtures::{SoftHsm, Swtpm};
use tests::traces::{Searcher, Secret, Traces, at_once};
use tests::{Sealhost, Setup, b64};
use wire::envelope::{Envelope, kdf_input};

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).unwrap();
    bytes
}

/// A text of hexadecimal digits that nobody else has.
fn random_text() -> String {
    random::<24>().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Seals, unseals, rewraps, in batches and alone, and fails in several ways, always with the
/// payload and the context value given.
fn use_payload(host: &Sealhost, key: &str, payload: &[u8], context: &str) {
    let seal = format!("/v1/keys/{key}/seal");
    let unseal = format!("/v1/keys/{key}/unseal");
    let item = json!({"plaintext": b64(payload), "context": {"value": context}});
    let sealed = host.post(&seal, item.clone()).text("sealed");
    let opened = json!({"sealed": sealed, "context": {"value": context}});
    assert_eq!(host.post(&unseal, opened.clone()).text("plaintext"), b64(payload));
    host.post(&seal, json!({"items": [item, item]})).done();
    host.post(&unseal, json!({"items": [opened, {"sealed": sealed}]})).done();
    host.post(&format!("/v1/keys/{key}/rewrap"), json!({"sealed": sealed})).done();

    let wrong = json!({"sealed": sealed, "context": {"value": context, "more": "x"}});
    host.post(&unseal, wrong).problem(400, "integrity");
    let mut unknown = item.clone();
    unknown["unknown"] = json!(1);
    host.post(&seal, unknown).problem(400, "malformed");
    host.post("/v1/keys/nobody/seal", item.clone()).problem(404, "not_found");
    let cut = item.to_string();
    let cut = &cut.as_bytes()[..cut.len() - 1];
    let reply = tests::http::request(&host.socket(), "POST", &seal, cut);
    reply.problem(400, "malformed");
}

#[test]
fn payload_and_context_leave_no_trace() {
    let swtpm = Swtpm::start().unwrap();
    let hsm = SoftHsm::start("edge", "1234").unwrap();
    let setup = Setup::soft().with_soft_worker("worker").with_tpm(&swtpm).with_hsm(&hsm);
    let host = setup.start();
    let (payload, context) = (random::<96>(), random_text());
    let keys = ["soft", "worker", "tpm", "hsm"];
    for key in keys {
        host.create(key, "seal", key);
    }
    at_once(|_| keys.iter().for_each(|key| use_payload(&host, key, &payload, &context)));
    let secrets = [Secret::bytes("payload", &payload), Secret::text("context", &context)];
    let traces = Traces { host: &host, searcher: Searcher::new(&secrets) };
    traces.check(&["worker", "tpm", "hsm"]);
}

#[test]
fn large_payload_leaves_no_trace() {
    let host = Setup::soft().start();
    host.create("soft", "seal", "soft");
    let payload: Vec<u8> = (0..600).flat_map(|_| random::<1024>()).collect();
    at_once(|_| use_payload(&host, "soft", &payload, "context"));
    // Pieces of one kilobyte in every hundred stand for all of it.
    let samples: Vec<u8> = payload.chunks_exact(1024).step_by(100).flatten().copied().collect();
    let mut secret = Secret::bytes("payload", &samples);
    // Base64 of a part at a multiple of three bytes is a part of the base64.
    secret.forms =
        vec![("raw", samples), ("base64", b64(&payload).into_bytes()[4 * 1024..5 * 1024].to_vec())];
    let traces = Traces { host: &host, searcher: Searcher::new(&[secret]) };
    traces.check(&[]);
}

#[test]
fn imported_key_leaves_no_trace_in_host_and_tpm_worker() {
    let swtpm = Swtpm::start().unwrap();
    let hsm = SoftHsm::start("edge", "1234").unwrap();
    let host = Setup::default().with_tpm(&swtpm).with_hsm(&hsm).start();
    let providers = ["tpm", "hsm"];
    let keys = [random::<48>().to_vec(), random::<160>().to_vec()];
    at_once(|number| {
        let (provider, key) = (providers[number % 2], &keys[number / 2]);
        let target = format!("/v1/keys/key-{number}/import");
        let body = json!({"usage": "mac", "key": b64(key), "providers": [provider]});
        host.post(&target, body.clone()).done();
        host.post(&format!("/v1/keys/key-{number}/mac"), json!({"message": b64("m")})).done();
        host.post(&target, body.clone()).problem(409, "conflict");
        let mut wrong = body;
        wrong["usage"] = json!("seal");
        host.post(&target, wrong).problem(400, "invalid");
        let mut version = json!({"usage": "mac", "key": b64(key), "new_version": true});
        host.post(&target, version.clone()).done();
        version["floor"] = json!("hardware");
        host.post(&target, version).problem(400, "invalid");
    });
    let secrets = keys.map(|key| Secret::bytes("imported key", &key));
    let traces = Traces { host: &host, searcher: Searcher::new(&secrets) };
    // SoftHSM, which is in the worker of `hsm`, keeps its objects in clear memory.
    traces.check(&["tpm"]);
}

#[test]
fn pin_leaves_no_trace_in_host_and_files() {
    let pin = random_text();
    let hsm = SoftHsm::start("edge", &pin).unwrap();
    let mut host = Setup::soft().with_hsm(&hsm).start();
    host.create("a", "seal", "hsm");
    let sealed = host.seal("a", "x");
    hsm.remove_token().unwrap();
    host.unseal("a", &sealed).problem(503, "unavailable");
    hsm.restore_token().unwrap();
    host.wait_until("the token is back", |host| host.unseal("a", &sealed).status == 200);
    host.restart();
    let traces = Traces { host: &host, searcher: Searcher::new(&[Secret::text("PIN", &pin)]) };
    traces.check(&["hsm"]);
}

#[test]
fn refused_pin_leaves_no_trace() {
    let pin = random_text();
    let hsm = SoftHsm::start("edge", "1234").unwrap();
    fs::write(hsm.pin_file(), &pin).unwrap();
    let mut host = Setup::soft().with_hsm(&hsm).start();
    assert!(host.provider("hsm")["reason"].as_str().unwrap().contains("PIN"));
    let searcher = Searcher::new(&[Secret::text("PIN", &pin)]);
    let check = |host: &Sealhost| {
        // The opening is tried again and again, and has the PIN while it lasts.
        host.wait_until("a time between two openings", |host| {
            searcher.find_in_process(host.pid(), "the host").is_empty()
        });
        for path in [host.state_dir(), host.audit_path(), host.dir().join("log")] {
            assert!(searcher.find_in_files(&path).is_empty());
        }
    };
    check(&host);
    host.restart();
    check(&host);
}

/// What the host computes for one envelope of a software key, computed again from its files.
fn keys_of_envelope(host: &Sealhost, sealed: &str) -> Vec<Secret> {
    let envelope = Envelope::parse_text(sealed).unwrap();
    let recipient = &envelope.recipients()[0];
    let root = fs::read(host.state_dir().join("soft.root")).unwrap();
    let registry = rusqlite::Connection::open(host.state_dir().join("registry.db")).unwrap();
    let blob: Vec<u8> = registry
        .query_row("SELECT blob FROM versions WHERE key = 'a'", [], |row| row.get(0))
        .unwrap();
    // A header of 19 bytes, a nonce of 12, the wrapped key and its tag.
    let nonce = Nonce::try_assume_unique_for_key(&blob[19..31]).unwrap();
    let mut wrapped = blob[31..].to_vec();
    let cipher = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &root).unwrap());
    let key = cipher.open_in_place(nonce, Aad::from(&blob[..19]), &mut wrapped).unwrap();
    let input = kdf_input(&recipient.key_id, recipient.version, &recipient.salt);
    let mac = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), &input);
    let kek = derive(&recipient.salt, mac.as_ref(), b"sealhost/envelope/1/kek/hmac-kdf");
    let mut data_key = [0; 32];
    let aes = AesKek::new(&AES_256, &kek).unwrap();
    aes.unwrap(&recipient.wrapped, &mut data_key).unwrap();
    let payload_key = derive(&[], &data_key, b"sealhost/envelope/1/payload");
    let header_key = derive(&[], &data_key, b"sealhost/envelope/1/header");
    vec![
        Secret::bytes("device MAC", mac.as_ref()),
        Secret::bytes("KEK", &kek),
        Secret::bytes("data key", &data_key),
        Secret::bytes("payload key", &payload_key),
        Secret::bytes("header key", &header_key),
    ]
}

struct Bytes32;

impl KeyType for Bytes32 {
    fn len(&self) -> usize {
        32
    }
}

fn derive(salt: &[u8], secret: &[u8], info: &[u8]) -> [u8; 32] {
    let mut key = [0; 32];
    let extracted = Salt::new(HKDF_SHA256, salt).extract(secret);
    extracted.expand(&[info], Bytes32).unwrap().fill(&mut key).unwrap();
    key
}

/// Seals and unseals with a software key, and looks for the keys of that envelope.
fn check_envelope_keys(setup: Setup, workers: &[&str]) {
    let mut host = setup.start();
    host.create("a", "seal", "soft");
    let first = host.seal("a", "x");
    // The registry's file belongs to a running host alone, so the keys are computed in between.
    assert!(host.stop().success());
    let secrets = keys_of_envelope(&host, &first);
    host.start();
    at_once(|_| {
        host.unseal("a", &first).done();
        host.post("/v1/keys/a/rewrap", json!({"sealed": first})).done();
        let wrong = json!({"sealed": first, "context": {"more": "x"}});
        host.post("/v1/keys/a/unseal", wrong).problem(400, "integrity");
    });
    Traces { host: &host, searcher: Searcher::new(&secrets) }.check(workers);
}

#[test]
fn keys_of_an_envelope_leave_no_trace() {
    check_envelope_keys(Setup::soft(), &[]);
}

#[test]
fn keys_of_an_envelope_leave_no_trace_in_a_worker() {
    check_envelope_keys(Setup::default().with_soft_worker("soft"), &["soft"]);
}

#[test]
fn searcher_finds_what_is_there() {
    let secret = random::<48>();
    let searcher = Searcher::new(&[Secret::bytes("secret", &secret)]);
    // This process holds it, on the stack and on the heap.
    assert!(!searcher.find_in_process(std::process::id(), "this test").is_empty());
}
