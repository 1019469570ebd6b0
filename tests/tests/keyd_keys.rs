//! The life of keys that clients of the aziot Key Service make: what a handle is good for, what
//! becomes of a key that is made, imported, moved or deleted, on every kind of provider.
#![expect(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    reason = "integration tests, and what they share"
)]

use aws_lc_rs::{digest, signature};
use serde_json::{Value, json};
use swtpm_fixtures::{SoftHsm, Swtpm};
use tests::keyd::{bytes_of, decrypt, encrypt, refused, sign, sign_digest};
use tests::{Response, Sealhost, Setup, b64};

const A_PARAMETER: &str = "a parameter has an invalid value";
const INVALID_HANDLE: &str = "parameter \"handle\" has an invalid value\ncaused by: invalid handle";

/// Runs a case on a host whose keys of the dialect are in software, in a TPM, and on a token;
/// `more` is added to `[keyd]`.
#[track_caller]
fn check(more: &str, case: impl Fn(&mut Sealhost)) {
    case(&mut Setup::soft().with_keyd(&["soft"], more).start());
    let swtpm = Swtpm::start().unwrap();
    case(&mut Setup::default().with_tpm(&swtpm).with_keyd(&["tpm"], more).start());
    let hsm = SoftHsm::start("keyd", "1234").unwrap();
    case(&mut Setup::default().with_hsm(&hsm).with_keyd(&["hsm"], more).start());
}

fn signed(host: &Sealhost, handle: &str) -> Response {
    host.keyd("POST", "/sign", &sign(handle, b"message"))
}

fn delete(host: &Sealhost, path: &str, handle: &str) -> Response {
    host.keyd("DELETE", path, &json!({"keyHandle": handle}))
}

#[test]
fn k2_key_that_is_made_twice_keeps_its_first_usage() {
    check("", |host| {
        let first = host.keyd_create("a", "sign");
        let second = host.keyd_create("a", "encrypt");
        let mac = signed(host, &first).text("signature");
        assert_eq!(signed(host, &second).text("signature"), mac);
        assert_eq!(host.keyd("POST", "/encrypt", &encrypt(&second, b"i", b"", b"t")).status, 400);
    });
}

#[test]
fn k3_two_handles_of_a_key_differ_and_both_work() {
    check("", |host| {
        let _made = host.keyd_create("a", "sign");
        let load = || host.keyd_load("/key/a").text("keyHandle");
        let (first, second) = (load(), load());
        assert_ne!(first, second);
        let mac = signed(host, &first).text("signature");
        assert_eq!(signed(host, &second).text("signature"), mac);
    });
}

#[test]
fn handle_survives_a_restart() {
    check("", |host| {
        let handle = host.keyd_create("a", "sign");
        let mac = signed(host, &handle).text("signature");
        host.restart();
        assert_eq!(signed(host, &handle).text("signature"), mac);
    });
}

#[test]
fn k11_import_over_a_key_is_refused() {
    check("", |host| {
        let handle = host.keyd_import("a", "sign", b"first");
        let mac = signed(host, &handle).text("signature");
        let body = json!({"keyId": "a", "usage": "sign", "keyBytes": b64("second")});
        let message = format!("{A_PARAMETER}\ncaused by: a key of this name exists");
        refused(&host.keyd("POST", "/key", &body), 400, &message);
        assert_eq!(signed(host, &handle).text("signature"), mac);
    });
}

#[test]
fn k11_import_over_a_key_where_it_is_allowed_loses_nothing() {
    check("import_over = true", |host| {
        let handle = host.keyd_import("a", "encrypt", &[1; 32]);
        let seal = |handle: &str, text: &[u8]| {
            host.keyd("POST", "/encrypt", &encrypt(handle, b"iv", b"", text)).text("ciphertext")
        };
        let old = seal(&handle, b"old");
        let again = host.keyd_import("a", "encrypt", &[2; 32]);
        let new = seal(&again, b"old");
        assert_ne!(new, old);
        for ciphertext in [old, new] {
            let opened = host.keyd("POST", "/decrypt", &decrypt(&handle, b"iv", b"", &ciphertext));
            assert_eq!(bytes_of(&opened, "plaintext"), b"old");
        }
        let body = json!({"keyId": "a", "usage": "sign", "keyBytes": b64([3; 32])});
        assert_eq!(host.keyd("POST", "/key", &body).status, 400);
    });
}

#[test]
fn k13_handle_of_a_deleted_key_is_not_one_of_the_key_made_after_it() {
    check("", |host| {
        let old = host.keyd_create("a", "sign");
        assert_eq!(delete(host, "/key", &old).status, 204);
        refused(&host.keyd_load("/key/a"), 400, A_PARAMETER);
        refused(&signed(host, &old), 400, A_PARAMETER);
        let new = host.keyd_create("a", "sign");
        refused(&signed(host, &old), 400, INVALID_HANDLE);
        refused(&delete(host, "/key", &old), 400, INVALID_HANDLE);
        assert_eq!(signed(host, &new).status, 200);
    });
}

#[test]
fn key_that_is_deleted_twice_is_gone() {
    check("", |host| {
        let handle = host.keyd_create("a", "encrypt");
        for _ in 0..2 {
            let reply = delete(host, "/key", &handle);
            assert_eq!((reply.status, reply.body.len()), (204, 0));
        }
    });
}

#[test]
fn pair_that_is_moved_keeps_its_key_and_its_old_handles_are_void() {
    check("", |host| {
        let from = host.keyd_pair("from", "*");
        let replaced = host.keyd_pair("to", "*");
        let point = |handle: &str| {
            host.keyd("POST", "/parameters/ec-point", &json!({"keyHandle": handle})).text("value")
        };
        let (moved_point, replaced_point) = (point(&from), point(&replaced));
        assert_ne!(moved_point, replaced_point);
        let reply = host.keyd("POST", "/keypair/to", &json!({"from": "from"}));
        assert_eq!((reply.status, reply.body.len()), (204, 0));
        let to = host.keyd_load("/keypair/to").text("keyHandle");
        assert_eq!(point(&to), moved_point);
        let sign = |handle: &str| host.keyd("POST", "/sign", &sign_digest(handle, &[7; 32]));
        assert_eq!(sign(&to).status, 200);
        refused(&sign(&from), 400, A_PARAMETER);
        refused(&sign(&replaced), 400, INVALID_HANDLE);
        refused(&host.keyd_load("/keypair/from"), 400, A_PARAMETER);
        host.restart();
        assert_eq!(host.keyd("POST", "/sign", &sign_digest(&to, &[7; 32])).status, 200);
        let _whole = host.verified_audit();
    });
}

#[test]
fn move_that_cannot_be_is_refused() {
    let host = Setup::soft().with_keyd(&["soft"], "").start();
    let _pair = host.keyd_pair("a", "*");
    let to = |path: &str, from: &str| host.keyd("POST", path, &json!({"from": from})).status;
    assert_eq!(to("/keypair/a", "a"), 400);
    assert_eq!(to("/keypair/b", "absent"), 500);
    assert_eq!(to("/key/b", "a"), 400);
    assert_eq!(host.keyd_load("/keypair/a").status, 200);
}

#[test]
fn key_and_pair_of_one_id_are_two() {
    let host = Setup::soft().with_keyd(&["soft"], "").start();
    let key = host.keyd_create("a", "sign");
    let pair = host.keyd_pair("a", "*");
    assert_eq!(delete(&host, "/keypair", &pair).status, 204);
    assert_eq!(signed(&host, &key).status, 200);
}

#[test]
fn digest_of_another_length_is_signed_as_its_leftmost_bits() {
    check("", |host| {
        let handle = host.keyd_pair("a", "ec-p256");
        let point = host.get("/v1/keys/keyd%2Fpair%2Fa/public").ok();
        let pem = point["pem"].as_str().unwrap().to_owned();
        let sha512 = digest::digest(&digest::SHA512, b"message");
        let reply = host.keyd("POST", "/sign", &sign_digest(&handle, sha512.as_ref()));
        let der = spki(&pem);
        let key = signature::UnparsedPublicKey::new(&signature::ECDSA_P256_SHA512_ASN1, &der[26..]);
        key.verify(b"message", &bytes_of(&reply, "signature")).unwrap();
    });
}

fn spki(pem: &str) -> Vec<u8> {
    let text: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    tests::http::bytes(&Value::from(text))
}

#[test]
fn rsa_is_off_unless_switched_on() {
    let host = Setup::soft().with_keyd(&["soft"], "").start();
    for preferred in ["rsa-2048", "rsa-4096:rsa-2048", "unknown", ""] {
        let body = json!({"keyId": "a", "preferredAlgorithms": preferred});
        assert_eq!(host.keyd("POST", "/keypair", &body).status, 400, "{preferred}");
    }
    let body = json!({"keyId": "a", "preferredAlgorithms": "rsa-2048:unknown:ec-p256"});
    assert_eq!(host.keyd("POST", "/keypair", &body).status, 200);
}

/// The block that a signer of PKCS #1 v1.5 makes of a message before the private operation.
fn digest_info(message: &[u8]) -> Vec<u8> {
    const SHA256: [u8; 19] = [
        0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01,
        0x05, 0x00, 0x04, 0x20,
    ];
    [&SHA256, digest::digest(&digest::SHA256, message).as_ref()].concat()
}

/// Checks both private operations of a pair by what any verifier makes of them.
fn check_rsa(host: &Sealhost, preferred: &str, modulus_bytes: usize) {
    let handle = host.keyd_pair(preferred, preferred);
    let parameter = |name: &str| {
        host.keyd("POST", &format!("/parameters/{name}"), &json!({"keyHandle": handle}))
    };
    assert_eq!(parameter("algorithm").text("value"), "RSA");
    assert_eq!(parameter("rsa-exponent").text("value"), "AQAB");
    assert_eq!(parameter("ec-point").status, 400);
    let n = bytes_of(&parameter("rsa-modulus"), "value");
    assert_eq!(n.len(), modulus_bytes);
    let private = |algorithm: &str, message: &[u8]| {
        let body = json!({"keyHandle": handle, "algorithm": algorithm, "plaintext": b64(message)});
        host.keyd("POST", "/encrypt", &body)
    };
    let info = digest_info(b"message");
    let key = signature::RsaPublicKeyComponents { n: &n[..], e: &[1, 0, 1][..] };
    let padded = bytes_of(&private("RSA-PKCS1", &info), "ciphertext");
    key.verify(&signature::RSA_PKCS1_2048_8192_SHA256, b"message", &padded).unwrap();

    let mut block = vec![0xff; modulus_bytes];
    block[0] = 0;
    block[1] = 1;
    let begin = modulus_bytes - info.len();
    block[begin - 1] = 0;
    block[begin..].copy_from_slice(&info);
    assert_eq!(bytes_of(&private("RSA-NO-PADDING", &block), "ciphertext"), padded);
    assert_eq!(private("RSA-NO-PADDING", &block[1..]).status, 400);
    assert_eq!(private("RSA-NO-PADDING", &vec![0xff; modulus_bytes]).status, 400);
    assert_eq!(private("RSA-PKCS1", &vec![7; modulus_bytes - 11]).status, 200);
    assert_eq!(private("RSA-PKCS1", &vec![7; modulus_bytes - 10]).status, 400);
}

#[test]
fn rsa_pair_of_a_token_does_the_private_operation_padded_and_bare() {
    let hsm = SoftHsm::start("keyd", "1234").unwrap();
    let host = Setup::default().with_hsm(&hsm).with_keyd(&["hsm"], "rsa = true").start();
    check_rsa(&host, "rsa-2048", 256);
    check_rsa(&host, "rsa-4096", 512);
}

#[test]
fn rsa_pair_of_a_tpm_does_the_private_operation_padded_and_bare() {
    let swtpm = Swtpm::start().unwrap();
    let host = Setup::default().with_tpm(&swtpm).with_keyd(&["tpm"], "rsa = true").start();
    check_rsa(&host, "rsa-2048", 256);
}

#[test]
fn rsa_that_no_provider_can_hold_is_refused() {
    let host = Setup::soft().with_keyd(&["soft"], "rsa = true").start();
    let body = json!({"keyId": "a", "preferredAlgorithms": "rsa-2048"});
    assert_eq!(host.keyd("POST", "/keypair", &body).status, 400);
    let body = json!({"keyId": "a", "preferredAlgorithms": "rsa-2048:*"});
    assert_eq!(host.keyd("POST", "/keypair", &body).status, 200);
}
