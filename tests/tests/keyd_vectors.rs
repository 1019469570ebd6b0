//! The published bytes of the aziot Key Service dialect, on every kind of provider: what an
//! unmodified client sends, and what it must be answered.
#![expect(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    reason = "integration tests, and what they share"
)]

use std::path::Path;

use aws_lc_rs::{hmac, signature};
use serde_json::{Value, json};
use swtpm_fixtures::{SoftHsm, Swtpm};
use tests::keyd::{bytes_of, decrypt, encrypt, sign, sign_digest};
use tests::{Response, Sealhost, Setup, b64, http};

/// Runs a case on a host whose keys of the dialect are in software, in a TPM, and on a token.
#[track_caller]
fn check(case: impl Fn(&Sealhost)) {
    case(&Setup::soft().with_keyd(&["soft"], "").start());
    let swtpm = Swtpm::start().unwrap();
    case(&Setup::default().with_tpm(&swtpm).with_keyd(&["tpm"], "").start());
    let hsm = SoftHsm::start("keyd", "1234").unwrap();
    case(&Setup::default().with_hsm(&hsm).with_keyd(&["hsm"], "").start());
}

/// The key of the vectors: the bytes 00 to 1f.
fn vector_key() -> Vec<u8> {
    (0..32).collect()
}

struct Aead {
    iv: &'static [u8],
    aad: &'static [u8],
    plaintext: &'static [u8],
    v2: &'static str,
    v1: &'static str,
}

const A1: Aead = Aead {
    iv: b"0123456",
    aad: b"7891011",
    plaintext: b"Hello World",
    v2: "AjqSWga0PphZMjXFwDB0euJ2o25q773EqBJdsw==",
    v1: "AcAwdHridqNuau+9xKgSXbM6kloGtD6YWTI1xQ==",
};
const A3: Aead = Aead {
    iv: &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11],
    aad: b"ctx",
    plaintext: b"Hello World",
    v2: "Ag9nuneqxZV0/y3z9iMoT7wkooiVb1Pgp9jsHQ==",
    v1: "AfYjKE+8JKKIlW9T4KfY7B0PZ7p3qsWVdP8t8w==",
};
const A4: Aead = Aead {
    iv: b"0123456",
    aad: b"7891011",
    plaintext: b"",
    v2: "AgXWMjlRxCrYxaI7H4rNkIk=",
    v1: "AQXWMjlRxCrYxaI7H4rNkIk=",
};

fn check_aead(vector: &Aead) {
    let Aead { iv, aad, plaintext, v2, v1 } = vector;
    check(|host| {
        let handle = host.keyd_import("vector", "encrypt", &vector_key());
        let sealed = host.keyd("POST", "/encrypt", &encrypt(&handle, iv, aad, plaintext));
        assert_eq!(sealed.text("ciphertext"), *v2);
        for ciphertext in [v2, v1] {
            let opened = host.keyd("POST", "/decrypt", &decrypt(&handle, iv, aad, ciphertext));
            assert_eq!(bytes_of(&opened, "plaintext"), *plaintext);
        }
    });
}

#[test]
fn a1_short_vector_encrypts_to_the_published_bytes_and_both_versions_decrypt() {
    check_aead(&A1);
}

#[test]
fn a3_vector_of_twelve_bytes_encrypts_to_the_published_bytes_and_both_versions_decrypt() {
    check_aead(&A3);
}

#[test]
fn a4_empty_text_encrypts_to_the_published_bytes_and_both_versions_decrypt() {
    check_aead(&A4);
}

#[test]
fn d1_derived_key_is_exported_as_published_and_does_what_its_bytes_do() {
    check(|host| {
        let base = host.keyd_import("base", "derive", &vector_key());
        let body = json!({"baseKeyHandle": base, "derivationData": b64("ctx")});
        let derived = host.keyd("POST", "/derivedkey", &body).text("keyHandle");
        let exported = host.keyd("POST", "/derivedkey/export", &json!({"keyHandle": derived}));
        assert_eq!(exported.text("key"), "pll/RMPhFiOuq5zVnVUaHKpr4EbcDgM4Qi8s/HGQH2g=");

        let bytes = bytes_of(&exported, "key");
        let signed = host.keyd("POST", "/sign", &sign(&derived, b"message"));
        let key = hmac::Key::new(hmac::HMAC_SHA256, &bytes);
        hmac::verify(&key, b"message", &bytes_of(&signed, "signature")).unwrap();

        let sealed = host.keyd("POST", "/encrypt", &encrypt(&derived, b"iv", b"aad", b"text"));
        let imported = host.keyd_import("same", "encrypt", &bytes);
        let opened = decrypt(&imported, b"iv", b"aad", &sealed.text("ciphertext"));
        assert_eq!(bytes_of(&host.keyd("POST", "/decrypt", &opened), "plaintext"), b"text");
        let sealed = sealed.text("ciphertext");
        let opened = host.keyd("POST", "/decrypt", &decrypt(&derived, b"iv", b"aad", &sealed));
        assert_eq!(bytes_of(&opened, "plaintext"), b"text");
    });
}

#[test]
fn p1_pair_of_p256_tells_its_parameters_and_signs() {
    check(|host| {
        let handle = host.keyd_pair("pair", "ec-p256");
        let parameter = |name: &str| {
            host.keyd("POST", &format!("/parameters/{name}"), &json!({"keyHandle": handle}))
        };
        assert_eq!(parameter("algorithm").text("value"), "ECDSA");
        assert_eq!(parameter("ec-curve-oid").text("value"), "BggqhkjOPQMBBw==");
        let point = bytes_of(&parameter("ec-point"), "value");
        assert_eq!((point.len(), point[0] & 0xfe), (33, 2));
        assert_eq!(parameter("rsa-modulus").status, 400);

        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, b"message");
        let signed = host.keyd("POST", "/sign", &sign_digest(&handle, digest.as_ref()));
        let key = signature::UnparsedPublicKey::new(
            &signature::ECDSA_P256_SHA256_ASN1,
            uncompressed(host),
        );
        key.verify(b"message", &bytes_of(&signed, "signature")).unwrap();
    });
}

/// The public point of the pair, by the native door.
fn uncompressed(host: &Sealhost) -> Vec<u8> {
    let public = host.get("/v1/keys/keyd%2Fpair%2Fpair/public").ok();
    let coordinate = |name: &str| {
        use base64::Engine as _;
        let text = public["jwk"][name].as_str().unwrap();
        base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(text).unwrap()
    };
    [vec![4], coordinate("x"), coordinate("y")].concat()
}

/// Sends bytes as the first client's HTTP library writes them, on a connection that it keeps.
fn replay(socket: &Path, request: &str) -> Response {
    // The reply is read to the end of the connection, which this client would keep.
    let request = request.replacen("\r\n\r\n", "\r\nConnection: close\r\n\r\n", 1);
    http::raw(socket, request.as_bytes()).unwrap()
}

fn post(path: &str, body: &str) -> String {
    format!(
        "POST {path}?api-version=2020-09-01 HTTP/1.1\r\nHost: keyd.sock\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[test]
fn k19_requests_of_the_first_client_replayed_byte_for_byte_decrypt_to_their_input() {
    check(|host| {
        let socket = host.keyd_socket();
        let made = post("/key", r#"{"keyId": "mysymmtestkey", "usage": "encrypt"}"#);
        replay(&socket, &made).done();
        let load = "GET /key/mysymmtestkey?api-version=2020-09-01 HTTP/1.1\r\n\
                    Host: keyd.sock\r\n\r\n";
        let handle = replay(&socket, load).text("keyHandle");
        let text = b64("a connection string");
        let parameters = r#""parameters":{"iv":"MDEyMzQ1Ng==","aad":"Nzg5MTAxMQ=="}"#;
        let body = format!(
            r#"{{"keyHandle":"{handle}","algorithm":"AEAD","plaintext":"{text}",{parameters}}}"#
        );
        let reply = replay(&socket, &post("/encrypt", &body));
        assert!(reply.head.starts_with("HTTP/1.1 200 OK"), "{}", reply.head);
        assert_eq!(reply.header("content-length"), Some(&*reply.body.len().to_string()));
        assert_eq!(reply.header("transfer-encoding"), None);
        let ciphertext = reply.text("ciphertext");
        let handle = replay(&socket, load).text("keyHandle");
        let body = format!(
            r#"{{"keyHandle":"{handle}","algorithm":"AEAD","ciphertext":"{ciphertext}",{parameters}}}"#
        );
        assert_eq!(replay(&socket, &post("/decrypt", &body)).text("plaintext"), text);
    });
}

#[test]
fn k19_signing_request_of_the_sample_is_answered_with_the_hmac() {
    check(|host| {
        let _made = host.keyd_import("device", "sign", b"0123456789abcdef0123456789abcdef");
        let handle = host.keyd_load("/key/device").text("keyHandle");
        let message = b64("hub.azure-devices.net%2Fdevices%2Fd1\n1700000000");
        let body = format!(
            r#"{{"keyHandle":"{handle}","algorithm":"HMAC-SHA256","parameters":{{"message":"{message}"}}}}"#
        );
        let reply = replay(&host.keyd_socket(), &post("/sign", &body));
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"0123456789abcdef0123456789abcdef");
        let message = http::bytes(&Value::from(message));
        hmac::verify(&key, &message, &bytes_of(&reply, "signature")).unwrap();
    });
}
