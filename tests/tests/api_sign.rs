//! Signatures and public keys over the socket, checked by another implementation.
#![expect(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    reason = "integration tests, and what they share"
)]

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use swtpm_fixtures::{SoftHsm, Swtpm};
use tests::http::bytes;
use tests::{Sealhost, Setup, b64};

/// Makes a key on a provider, signs, and verifies with the public key that the host tells.
#[track_caller]
fn check(host: &Sealhost, provider: &str, protection: &str) {
    host.create("a", "sign", provider);
    let public = host.get("/v1/keys/a/public").ok();
    let point = point_of(&public);
    for text in ["", "text", "more text"] {
        let reply = sign(host, json!({"digest": digest_of(text)})).ok();
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &point);
        key.verify(text.as_bytes(), &bytes(&reply["signature"])).unwrap();
        assert!(key.verify(b"other", &bytes(&reply["signature"])).is_err());
        for json in [&reply, &public] {
            let used = ["key", "version", "provider", "protection", "origin"];
            let used = used.map(|field| json[field].clone());
            assert_eq!(json!(used), json!(["a", 1, provider, protection, "generated"]));
        }
    }
}

fn sign(host: &Sealhost, body: Value) -> tests::Response {
    host.post("/v1/keys/a/sign", body)
}

fn digest_of(text: &str) -> String {
    b64(digest(&SHA256, text.as_bytes()))
}

/// The uncompressed point at the end of the SubjectPublicKeyInfo.
fn point_of(public: &Value) -> Vec<u8> {
    let pem = public["pem"].as_str().unwrap();
    let lines: Vec<_> = pem.lines().collect();
    assert_eq!(lines.first(), Some(&"-----BEGIN PUBLIC KEY-----"));
    assert_eq!(lines.last(), Some(&"-----END PUBLIC KEY-----"));
    let der = STANDARD.decode(lines[1..lines.len() - 1].concat()).unwrap();
    assert_eq!(der.len(), 91);
    der[26..].to_vec()
}

#[test]
fn signature_in_software_verifies() {
    check(&Setup::soft().start(), "soft", "software");
}

#[test]
fn signature_of_a_tpm_verifies() {
    let swtpm = Swtpm::start().unwrap();
    check(&Setup::default().with_tpm(&swtpm).start(), "tpm", "emulated");
}

#[test]
fn signature_of_a_token_verifies() {
    let hsm = SoftHsm::start("edge", "1234").unwrap();
    check(&Setup::default().with_hsm(&hsm).start(), "hsm", "emulated");
}

#[test]
fn jwk_is_the_same_point_with_its_thumbprint() {
    let host = Setup::soft().start();
    host.create("a", "sign", "soft");
    let public = host.get("/v1/keys/a/public").ok();
    let point = point_of(&public);
    let (x, y) = (URL_SAFE_NO_PAD.encode(&point[1..33]), URL_SAFE_NO_PAD.encode(&point[33..]));
    let members = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
    let kid = URL_SAFE_NO_PAD.encode(digest(&SHA256, members.as_bytes()));
    let expected = json!({
        "kty": "EC", "crv": "P-256", "x": x, "y": y, "use": "sig", "alg": "ES256", "kid": kid,
    });
    assert_eq!(public["jwk"], expected);
}

#[test]
fn versions_have_their_own_public_keys_and_signatures() {
    let host = Setup::soft().start();
    host.create("a", "sign", "soft");
    let first = host.get("/v1/keys/a/public").ok();
    let _rotated = host.post("/v1/keys/a/rotate", json!({})).ok();
    let second = host.get("/v1/keys/a/public").ok();
    assert_eq!((&first["version"], &second["version"]), (&json!(1), &json!(2)));
    assert_ne!(first["pem"], second["pem"]);
    assert_eq!(host.get("/v1/keys/a/public?version=1").ok(), first);
    assert_eq!(host.get("/v1/keys/a/public?version=2").ok(), second);
    host.get("/v1/keys/a/public?version=3").problem(404, "not_found");

    for (version, public) in [(1, &first), (2, &second)] {
        let body = json!({"digest": digest_of("text"), "version": version});
        let reply = sign(&host, body).ok();
        assert_eq!(reply["version"], version);
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point_of(public));
        key.verify(b"text", &bytes(&reply["signature"])).unwrap();
    }
    sign(&host, json!({"digest": digest_of("text"), "version": 3})).problem(404, "not_found");
}

#[test]
fn key_survives_a_restart() {
    let mut host = Setup::soft().start();
    host.create("a", "sign", "soft");
    let before = host.get("/v1/keys/a/public").ok();
    host.restart();
    assert_eq!(host.get("/v1/keys/a/public").ok(), before);
}

#[test]
fn digest_of_another_length_is_invalid() {
    let host = Setup::soft().start();
    host.create("a", "sign", "soft");
    for bytes in [0, 31, 33] {
        sign(&host, json!({"digest": b64(vec![0; bytes])})).problem(400, "invalid");
    }
}

#[test]
fn public_with_another_query_is_invalid() {
    let host = Setup::soft().start();
    host.create("a", "sign", "soft");
    for query in ["version=", "version=x", "version=-1", "version=1&version=1", "v=1", "version"] {
        host.get(&format!("/v1/keys/a/public?{query}")).problem(400, "invalid");
    }
}
