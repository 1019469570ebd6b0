//! What is left of secrets that clients of the aziot Key Service send and get: nothing, in memory,
//! files and log, after use and after errors.
//!
//! Excepted, as SECURITY.md says: what holds keys while they are in use.
#![expect(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    reason = "integration tests, and what they share"
)]

use aws_lc_rs::hmac;
use serde_json::json;
use swtpm_fixtures::Swtpm;
use tests::keyd::{bytes_of, decrypt, encrypt, sign, versioned};
use tests::traces::{Searcher, Secret, Traces, at_once};
use tests::{Sealhost, Setup, b64, http};

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).unwrap();
    bytes
}

/// Encrypts, decrypts and signs a text, and fails in several ways, always with the text given.
fn use_text(host: &Sealhost, encrypting: &str, signing: &str, text: &[u8]) {
    let good = encrypt(encrypting, b"iv", b"aad", text);
    let sealed = host.keyd("POST", "/encrypt", &good).text("ciphertext");
    let opened = host.keyd("POST", "/decrypt", &decrypt(encrypting, b"iv", b"aad", &sealed));
    assert_eq!(bytes_of(&opened, "plaintext"), text);
    host.keyd("POST", "/sign", &sign(signing, text)).done();

    let refused = |path: &str, body: &serde_json::Value, status: u16| {
        assert_eq!(host.keyd("POST", path, body).status, status, "{path}");
    };
    refused("/encrypt", &encrypt("no handle", b"iv", b"aad", text), 400);
    refused("/sign", &sign("no handle", text), 400);
    let mut wrong = good.clone();
    wrong["parameters"] = json!(b64(text));
    refused("/encrypt", &wrong, 422);
    wrong["parameters"] = json!({b64(text): b64(text)});
    refused("/encrypt", &wrong, 422);
    wrong["algorithm"] = json!(b64(text));
    refused("/encrypt", &wrong, 422);
    let cut = good.to_string();
    let cut = &cut.as_bytes()[..cut.len() - 1];
    let reply = http::request(&host.keyd_socket(), "POST", &versioned("/encrypt"), cut);
    assert_eq!(reply.status, 422);
}

#[test]
fn text_and_imported_and_derived_keys_leave_no_trace() {
    let swtpm = Swtpm::start().unwrap();
    let host = Setup::default().with_tpm(&swtpm).with_keyd(&["tpm"], "").start();
    let (text, base) = (random::<96>(), random::<48>());
    let derived = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &base), b"data");
    let encrypting = host.keyd_create("e", "encrypt");
    let signing = host.keyd_import("s", "derive", &base);
    let again = json!({"keyId": "s", "usage": "derive", "keyBytes": b64(base)});
    at_once(|_| {
        assert_eq!(host.keyd("POST", "/key", &again).status, 400);
        let body = json!({"baseKeyHandle": signing, "derivationData": b64("data")});
        let handle = host.keyd("POST", "/derivedkey", &body).text("keyHandle");
        let exported = host.keyd("POST", "/derivedkey/export", &json!({"keyHandle": handle}));
        assert_eq!(bytes_of(&exported, "key"), derived.as_ref());
        use_text(&host, &handle, &handle, &text);
        use_text(&host, &encrypting, &signing, &text);
    });
    let secrets = [
        Secret::bytes("text", &text),
        Secret::bytes("imported key", &base),
        Secret::bytes("derived key", derived.as_ref()),
    ];
    Traces { host: &host, searcher: Searcher::new(&secrets) }.check(&["tpm"]);
}
