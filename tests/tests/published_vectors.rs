//! Published vectors and other people's programs, through the public API, on every provider:
//! HMAC-SHA256 by Project Wycheproof, and ECDSA signatures verified by the `openssl` program.
#![expect(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    clippy::panic,
    reason = "integration tests, and what they share"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use aws_lc_rs::digest::{SHA256, digest};
use serde_json::json;
use swtpm_fixtures::{SoftHsm, Swtpm};
use tempfile::TempDir;
use tests::http::bytes;
use tests::{Sealhost, Setup, b64};

const HMAC: &str = include_str!("../vectors/published/wycheproof_hmac_sha256.txt");

/// How many vectors there are: valid, with a tag cut to 128 bits, not valid.
const HMAC_VECTORS: (usize, usize, usize) = (33, 33, 108);

/// Imports each key, computes each MAC, and has each tag checked.
#[track_caller]
fn check_hmac(host: &Sealhost, provider: &str) {
    let (mut valid, mut cut, mut invalid) = (0, 0, 0);
    let mut keys = BTreeMap::new();
    for line in HMAC.lines().filter(|line| !line.starts_with('#')) {
        let [id, result, key, message, tag] = line.split(' ').collect::<Vec<_>>()[..] else {
            panic!("{line}");
        };
        let number = keys.len();
        let name = keys.entry(key).or_insert_with(|| {
            let name = format!("/v1/keys/{provider}-{number}");
            let body = json!({"usage": "mac", "key": b64(unhex(key)), "providers": [provider]});
            let _imported = host.post(&format!("{name}/import"), body).ok();
            name
        });
        let (message, tag) = (b64(unhex(message)), unhex(tag));
        let reply = host.post(&format!("{name}/mac"), json!({"message": message})).ok();
        assert_eq!(reply["provider"], provider);
        let begins = bytes(&reply["mac"]).starts_with(&tag);
        assert_eq!(begins, result == "valid", "vector {id} on {provider}");
        let verified =
            host.post(&format!("{name}/verify"), json!({"message": message, "mac": b64(&tag)}));
        if tag.len() == 32 {
            assert_eq!(verified.ok()["valid"], begins, "vector {id} on {provider}");
        } else {
            // A shorter tag is easier to guess: the API has none.
            let _refused = verified.problem(400, "invalid");
        }
        match (begins, tag.len()) {
            (true, 32) => valid += 1,
            (true, _) => cut += 1,
            (false, _) => invalid += 1,
        }
    }
    assert_eq!((valid, cut, invalid), HMAC_VECTORS);
}

fn unhex(hex: &str) -> Vec<u8> {
    let digits = if hex == "-" { "" } else { hex };
    let pairs = digits.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
    pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
}

#[test]
fn hmac_vectors_of_wycheproof_hold_in_software() {
    check_hmac(&Setup::soft().start(), "soft");
}

#[test]
fn hmac_vectors_of_wycheproof_hold_in_a_tpm() {
    let swtpm = Swtpm::start().unwrap();
    check_hmac(&Setup::default().with_tpm(&swtpm).start(), "tpm");
}

#[test]
fn hmac_vectors_of_wycheproof_hold_in_a_token() {
    let hsm = SoftHsm::start("edge", "1234").unwrap();
    check_hmac(&Setup::default().with_hsm(&hsm).start(), "hsm");
}

/// Signs digests, of texts and at the ends of their range; OpenSSL verifies each under its own
/// digest and under no other.
#[track_caller]
fn check_signatures(host: &Sealhost, provider: &str) {
    host.create("a", "sign", provider);
    let files = tempfile::tempdir().unwrap();
    let pem = host.get("/v1/keys/a/public").text("pem");
    fs::write(files.path().join("public"), pem).unwrap();
    let mut last_bit = [0; 32];
    last_bit[31] = 1;
    let mut digests = vec![[0; 32], [0xff; 32], [0x80; 32], last_bit];
    for text in ["", "a", "text"] {
        digests.push(digest(&SHA256, text.as_bytes()).as_ref().try_into().unwrap());
    }
    for digest in digests {
        let reply = host.post("/v1/keys/a/sign", json!({"digest": b64(digest)})).ok();
        let signature = bytes(&reply["signature"]);
        assert!(verifies(&files, &digest, &signature), "{digest:?} on {provider}");
        let mut other = digest;
        other[31] ^= 1;
        assert!(!verifies(&files, &other, &signature), "{other:?} on {provider}");
    }
}

fn verifies(files: &TempDir, digest: &[u8; 32], signature: &[u8]) -> bool {
    let file = |name: &str, content: &[u8]| fs::write(files.path().join(name), content).unwrap();
    file("digest", digest);
    file("signature", signature);
    let said = openssl(files.path(), "-verify -pubin -inkey public -in digest -sigfile signature");
    assert!(said.contains("Signature Verif"), "{said}");
    said.contains("Signature Verified Successfully")
}

fn openssl(directory: &Path, arguments: &str) -> String {
    let mut command = Command::new("openssl");
    command.arg("pkeyutl").args(arguments.split(' ')).current_dir(directory);
    let output = command.output().unwrap();
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

#[test]
fn signature_in_software_is_verified_by_openssl() {
    check_signatures(&Setup::soft().start(), "soft");
}

#[test]
fn signature_of_a_tpm_is_verified_by_openssl() {
    let swtpm = Swtpm::start().unwrap();
    check_signatures(&Setup::default().with_tpm(&swtpm).start(), "tpm");
}

#[test]
fn signature_of_a_token_is_verified_by_openssl() {
    let hsm = SoftHsm::start("edge", "1234").unwrap();
    check_signatures(&Setup::default().with_hsm(&hsm).start(), "hsm");
}
