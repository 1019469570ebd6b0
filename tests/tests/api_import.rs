//! Importing HMAC keys and signing keys over the socket.
#![expect(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    reason = "integration tests, and what they share"
)]

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use serde_json::{Value, json};
use swtpm_fixtures::{SoftHsm, Swtpm};
use tests::{Response, Sealhost, Setup, b64, http};

/// Imports a key of so many bytes, and compares its MAC with that of another implementation.
#[track_caller]
fn check(host: &Sealhost, bytes: usize) {
    let key: Vec<_> = (1..=255).cycle().take(bytes).collect();
    let name = format!("/v1/keys/of-{bytes}");
    let imported = import(host, &name, json!({"usage": "mac", "key": b64(&key)}));
    assert_eq!(imported.status, 201, "{}", imported.json());
    let record = imported.ok();
    assert_eq!(record["versions"][0]["origin"], "imported-clear");
    assert_eq!(record["usage"], "mac");
    let mac = host.post(&format!("{name}/mac"), json!({"message": b64("message")})).ok();
    let expected = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), b"message");
    assert_eq!(mac["mac"], b64(expected));
    assert_eq!(mac["origin"], "imported-clear");
}

fn import(host: &Sealhost, key: &str, body: Value) -> Response {
    host.post(&format!("{key}/import"), body)
}

const KEY: &str = "/v1/keys/a";

#[test]
fn key_of_one_byte_is_imported() {
    check(&Setup::soft().start(), 1);
}

#[test]
fn key_of_a_block_and_one_byte_more_is_imported() {
    let host = Setup::soft().start();
    check(&host, 64);
    check(&host, 65);
}

#[test]
fn key_at_the_limit_is_imported_and_survives_a_restart() {
    let mut host = Setup::soft().start();
    check(&host, 1024);
    let mac = json!({"message": b64("message")});
    let before = host.post("/v1/keys/of-1024/mac", mac.clone()).text("mac");
    host.restart();
    assert_eq!(host.post("/v1/keys/of-1024/mac", mac).text("mac"), before);
}

#[test]
fn key_one_past_the_limit_is_too_large_and_without_bytes_invalid() {
    let host = Setup::soft().start();
    let body = |bytes| json!({"usage": "mac", "key": b64(vec![7; bytes])});
    import(&host, KEY, body(1025)).problem(413, "too_large");
    import(&host, KEY, body(0)).problem(400, "invalid");
    host.get(KEY).problem(404, "not_found");
}

#[test]
fn key_of_a_taken_name_is_conflict_unless_a_new_version_is_asked_for() {
    let host = Setup::soft().start();
    let _first = import(&host, KEY, json!({"usage": "mac", "key": b64([1; 32])})).ok();
    let second = json!({"usage": "mac", "key": b64([2; 32])});
    import(&host, KEY, second.clone()).problem(409, "conflict");
    let mut second = second;
    second["new_version"] = true.into();
    let reply = import(&host, KEY, second);
    assert_eq!(reply.status, 201);
    let states = [&reply.ok()["versions"][0]["state"], &reply.ok()["versions"][1]["state"]]
        .map(Value::to_string);
    assert_eq!(states, ["\"decrypt-only\"", "\"active\""]);
    let mac = host.post("/v1/keys/a/mac", json!({"message": ""})).ok();
    let expected = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &[2; 32]), b"");
    assert_eq!((mac["version"].as_u64(), &mac["mac"]), (Some(2), &json!(b64(expected))));
}

#[test]
fn new_version_of_a_generated_key_is_imported() {
    let host = Setup::soft().start();
    host.create("a", "mac", "soft");
    let body = json!({"usage": "mac", "key": b64([1; 32]), "new_version": true});
    let record = import(&host, KEY, body).ok();
    assert_eq!(record["versions"][0]["origin"], "generated");
    assert_eq!(record["versions"][1]["origin"], "imported-clear");
}

#[test]
fn new_version_of_no_key_is_not_found() {
    let host = Setup::soft().start();
    let body = json!({"usage": "mac", "key": b64([1; 32]), "new_version": true});
    import(&host, KEY, body).problem(404, "not_found");
}

#[test]
fn new_version_of_a_key_of_another_usage_is_wrong_usage() {
    let host = Setup::soft().start();
    for usage in ["seal", "sign"] {
        host.create(usage, usage, "soft");
        let body = json!({"usage": "mac", "key": b64([1; 32]), "new_version": true});
        import(&host, &format!("/v1/keys/{usage}"), body).problem(400, "wrong_usage");
    }
    host.create("mac", "mac", "soft");
    let body = json!({"usage": "sign", "key": b64([1; 32]), "new_version": true});
    import(&host, "/v1/keys/mac", body).problem(400, "wrong_usage");
}

#[test]
fn import_of_a_usage_without_import_is_invalid() {
    let host = Setup::soft().start();
    for usage in ["seal", "aead", "rsa"] {
        import(&host, KEY, json!({"usage": usage, "key": b64([1; 32])})).problem(400, "invalid");
    }
}

#[test]
fn floor_and_providers_of_a_key_that_is_there_are_invalid() {
    let host = Setup::soft().start();
    host.create("a", "mac", "soft");
    for (field, value) in [("floor", json!("software")), ("providers", json!(["soft"]))] {
        let mut body = json!({"usage": "mac", "key": b64([1; 32]), "new_version": true});
        body[field] = value;
        import(&host, KEY, body).problem(400, "invalid");
    }
}

/// A private number and its point, of the example of RFC 6979 section A.2.5.
const NUMBER: [u8; 32] = [
    0xc9, 0xaf, 0xa9, 0xd8, 0x45, 0xba, 0x75, 0x16, 0x6b, 0x5c, 0x21, 0x57, 0x67, 0xb1, 0xd6, 0x93,
    0x4e, 0x50, 0xc3, 0xdb, 0x36, 0xe8, 0x9b, 0x12, 0x7b, 0x8a, 0x62, 0x2b, 0x12, 0x0f, 0x67, 0x21,
];
const POINT: [u8; 65] = [
    0x04, 0x60, 0xfe, 0xd4, 0xba, 0x25, 0x5a, 0x9d, 0x31, 0xc9, 0x61, 0xeb, 0x74, 0xc6, 0x35, 0x6d,
    0x68, 0xc0, 0x49, 0xb8, 0x92, 0x3b, 0x61, 0xfa, 0x6c, 0xe6, 0x69, 0x62, 0x2e, 0x60, 0xf2, 0x9f,
    0xb6, 0x79, 0x03, 0xfe, 0x10, 0x08, 0xb8, 0xbc, 0x99, 0xa4, 0x1a, 0xe9, 0xe9, 0x56, 0x28, 0xbc,
    0x64, 0xf2, 0xf1, 0xb2, 0x0c, 0x2d, 0x7e, 0x9f, 0x51, 0x77, 0xa3, 0xc2, 0x94, 0xd4, 0x46, 0x22,
    0x99,
];

/// Asserts that `a` signs with the private number, as the public half elsewhere says.
#[track_caller]
fn check_signs(host: &Sealhost) {
    let digest = digest(&SHA256, b"sample");
    let reply = host.post("/v1/keys/a/sign", json!({"digest": b64(digest)})).ok();
    assert_eq!(reply["origin"], "imported-clear");
    let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, POINT);
    public.verify(b"sample", &http::bytes(&reply["signature"])).unwrap();
}

/// Imports the private number on a device, and signs before and after a restart.
#[track_caller]
fn check_sign(setup: Setup) {
    let mut host = setup.start();
    let imported = import(&host, KEY, json!({"usage": "sign", "key": b64(NUMBER)}));
    assert_eq!(imported.status, 201, "{}", imported.json());
    assert_eq!(imported.ok()["versions"][0]["origin"], "imported-clear");
    check_signs(&host);
    host.restart();
    check_signs(&host);
}

#[test]
fn signing_key_is_imported_in_software() {
    check_sign(Setup::soft());
}

#[test]
fn signing_key_is_imported_on_a_tpm() {
    let swtpm = Swtpm::start().unwrap();
    check_sign(Setup::default().with_tpm(&swtpm));
}

#[test]
fn signing_key_is_imported_on_a_token() {
    let hsm = SoftHsm::start("edge", "1234").unwrap();
    check_sign(Setup::default().with_hsm(&hsm));
}

#[test]
fn private_number_of_another_length_or_out_of_range_is_invalid() {
    let host = Setup::soft().start();
    // The order of the group is below the greatest number of 32 bytes.
    for number in [vec![7; 31], vec![7; 33], vec![], vec![0; 32], vec![0xff; 32]] {
        import(&host, KEY, json!({"usage": "sign", "key": b64(&number)})).problem(400, "invalid");
    }
    host.get(KEY).problem(404, "not_found");
}

#[test]
fn new_version_of_a_generated_signing_key_is_imported() {
    let host = Setup::soft().start();
    host.create("a", "sign", "soft");
    let body = json!({"usage": "sign", "key": b64(NUMBER), "new_version": true});
    assert_eq!(import(&host, KEY, body).ok()["versions"][1]["state"], "active");
    check_signs(&host);
}
