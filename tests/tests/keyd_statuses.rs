//! What the dialect of the aziot Key Service refuses: status and message of every row of its
//! table, as the peer has them unless a name says what is better here.
#![expect(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    reason = "integration tests, and what they share"
)]

use std::io::Write;
use std::os::unix::net::UnixStream;

use serde_json::{Value, json};
use tests::keyd::{VERSION, decrypt, encrypt, refused, sign, sign_digest};
use tests::{Response, Sealhost, Setup, b64, http};

const A_PARAMETER: &str = "a parameter has an invalid value";
const INVALID_HANDLE: &str = "parameter \"handle\" has an invalid value\ncaused by: invalid handle";
const MECHANISM: &str = "parameter \"mechanism\" has an invalid value\ncaused by: mechanism cannot \
                         be used with this key type";

fn host() -> Sealhost {
    Setup::soft().with_keyd(&["soft"], "").start()
}

/// Sends a request as it stands and compares the refusal.
#[track_caller]
fn check(method: &str, target: &str, body: &str, status: u16, message: &str) {
    let host = host();
    let reply = http::request(&host.keyd_socket(), method, target, body.as_bytes());
    refused(&reply, status, message);
    let recorded = host.audit_of(reply.id());
    assert_eq!(recorded.len(), 1, "{recorded:?}");
}

fn target(path: &str) -> String {
    format!("{path}?{VERSION}")
}

#[test]
fn k1_request_without_or_with_an_unknown_version_is_refused_before_its_path() {
    check("GET", "/nothing", "", 400, "api-version not specified");
    check("GET", "/nothing?api-version=1999", "", 400, "invalid api-version \"1999\"");
}

#[test]
fn k1_unknown_path_is_not_found() {
    check("GET", &target("/nothing"), "", 404, "not found");
    check("GET", &target("/key/a/b"), "", 404, "not found");
    check("GET", &target("/key/"), "", 404, "not found");
}

#[test]
fn k1_method_that_a_path_has_not_is_not_allowed() {
    check("GET", &target("/sign"), "", 400, "method not allowed");
    check("DELETE", &target("/key/a"), "", 400, "method not allowed");
    check("PUT", &target("/key"), "{}", 400, "method not allowed");
}

/// Sends a body with a content type.
fn typed(host: &Sealhost, method: &str, content_type: &str, body: &str) -> Response {
    let request = format!(
        "{method} /key?{VERSION} HTTP/1.1\r\nHost: keyd.sock\r\nConnection: close\r\n\
         {content_type}Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    http::raw(&host.keyd_socket(), request.as_bytes()).unwrap()
}

#[test]
fn k1_put_of_another_type_is_unsupported() {
    let reply = typed(&host(), "PUT", "Content-Type: text/plain\r\n", "{}");
    refused(&reply, 415, "request body must be application/json");
}

#[test]
fn k1_body_that_is_empty_or_of_another_type_is_missing() {
    check("POST", &target("/key"), "", 400, "missing request body");
    let reply = typed(&host(), "POST", "Content-Type: text/plain\r\n", r#"{"keyId":"a"}"#);
    refused(&reply, 400, "missing request body");
}

#[test]
fn k4_types_of_json_and_none_and_unknown_fields_are_taken() {
    let host = host();
    for (id, content_type) in [
        ("a", ""),
        ("b", "Content-Type: application/json\r\n"),
        ("c", "Content-Type: application/json; charset=utf-8\r\n"),
    ] {
        let body = json!({"keyId": id, "usage": "sign", "unknown": {"field": 1}}).to_string();
        let _handle = typed(&host, "POST", content_type, &body).text("keyHandle");
    }
}

/// Compares the status of a body that is not what the endpoint takes, and that nothing of it is
/// repeated.
#[track_caller]
fn check_body(path: &str, body: &str) {
    let host = host();
    let reply = http::request(&host.keyd_socket(), "POST", &target(path), body.as_bytes());
    let text = String::from_utf8_lossy(&reply.body);
    assert_eq!(reply.status, 422, "{body}: {text}");
    assert!(reply.json()["message"].as_str().is_some_and(|message| !message.is_empty()));
    assert!(!text.contains("SECRET"), "{text}");
}

#[test]
fn k1_body_that_is_malformed_or_lacks_a_field_is_unprocessable() {
    check_body("/key", "{");
    check_body("/key", "[]");
    check_body("/key", r#"{"keyId":"a"}"#);
    check_body("/key", r#"{"keyId":"a","usage":"SECRET"}"#);
    check_body("/sign", r#"{"keyHandle":"a","algorithm":"SECRET","parameters":{}}"#);
    check_body("/encrypt", r#"{"keyHandle":"a","algorithm":"AEAD","plaintext":"AA=="}"#);
}

#[test]
fn k5_base64_without_padding_of_the_other_alphabet_or_none_is_unprocessable() {
    for bytes in ["U0VDUkVU0", "SECRET", "-_8=", "***", "AA"] {
        let body = json!({"keyId": "a", "usage": "sign", "keyBytes": bytes}).to_string();
        check_body("/key", &body);
    }
}

#[test]
fn k1_zero_byte_and_other_bad_ids_are_refused() {
    let host = host();
    let create = |id: &str| host.keyd("POST", "/key", &json!({"keyId": id, "usage": "sign"}));
    let message = |why: &str| format!("parameter \"id\" has an invalid value\ncaused by: {why}");
    refused(&create("a\0b"), 400, &message("it has a zero byte"));
    refused(&create(""), 400, &message("it is empty"));
    refused(&create(&"a".repeat(120)), 400, &message("it is too long"));
    refused(&host.keyd_load("/key/%00"), 400, &message("it has a zero byte"));
    assert_eq!(create(&"a".repeat(119)).status, 200);
}

#[test]
fn k1_absent_key_is_a_bad_parameter() {
    refused(&host().keyd_load("/key/absent"), 400, A_PARAMETER);
}

#[test]
fn k1_forged_handle_is_invalid() {
    let host = host();
    let good = host.keyd_create("a", "sign");
    let (sr, sig) = good.split_once("&sig=").unwrap();
    let other = host.keyd_create("b", "sign");
    let (_, other_sig) = other.split_once("&sig=").unwrap();
    for forged in [
        "",
        "sr=&sig=",
        sr,
        &format!("{sr}&sig={other_sig}"),
        &format!("{sr}&sig={}", b64([0; 32])),
    ] {
        let reply = host.keyd("POST", "/sign", &sign(forged, b"message"));
        refused(&reply, 400, INVALID_HANDLE);
    }
    assert_eq!(host.keyd("POST", "/sign", &sign(&format!("{sr}&sig={sig}"), b"m")).status, 200);
}

#[test]
fn k9_handle_signed_with_a_key_of_a_client_is_invalid() {
    let host = host();
    let good = host.keyd_create("victim", "sign");
    let mine = host.keyd_create("mine", "sign");
    let (sr, _) = good.split_once("&sig=").unwrap();
    let claims = http::bytes(&Value::from(sr.strip_prefix("sr=").unwrap()));
    let signed = host.keyd("POST", "/sign", &sign(&mine, &claims)).text("signature");
    let reply = host.keyd("POST", "/sign", &sign(&format!("{sr}&sig={signed}"), b"message"));
    refused(&reply, 400, INVALID_HANDLE);
}

#[test]
fn k10_key_of_another_usage_is_refused_for_its_mechanism() {
    let host = host();
    let encrypting = host.keyd_create("e", "encrypt");
    let signing = host.keyd_create("s", "sign");
    let pair = host.keyd_pair("p", "*");
    let derive = json!({"baseKeyHandle": encrypting, "derivationData": b64("data")});
    for reply in [
        host.keyd("POST", "/sign", &sign(&encrypting, b"message")),
        host.keyd("POST", "/sign", &sign(&pair, b"message")),
        host.keyd("POST", "/sign", &sign_digest(&signing, &[7; 32])),
        host.keyd("POST", "/encrypt", &encrypt(&signing, b"iv", b"", b"text")),
        host.keyd("POST", "/encrypt", &encrypt(&pair, b"iv", b"", b"text")),
        host.keyd("POST", "/derivedkey", &derive),
        host.keyd(
            "POST",
            "/decrypt",
            &json!({"keyHandle": pair, "algorithm": "RSA-PKCS1", "ciphertext": ""}),
        ),
    ] {
        refused(&reply, 400, MECHANISM);
    }
}

#[test]
fn k10_handle_of_another_kind_is_refused() {
    let host = host();
    let key = host.keyd_create("a", "derive");
    let pair = host.keyd_pair("a", "*");
    let derive = |handle: &str| {
        host.keyd(
            "POST",
            "/derivedkey",
            &json!({"baseKeyHandle": handle, "derivationData": "YQ=="}),
        )
    };
    let derived = derive(&key).text("keyHandle");
    let of = |handle: &str| json!({"keyHandle": handle});
    refused(&host.keyd("DELETE", "/key", &of(&pair)), 400, INVALID_HANDLE);
    refused(&host.keyd("DELETE", "/keypair", &of(&key)), 400, INVALID_HANDLE);
    refused(&host.keyd("DELETE", "/key", &of(&derived)), 400, INVALID_HANDLE);
    refused(&derive(&derived), 400, INVALID_HANDLE);
    refused(&host.keyd("POST", "/derivedkey/export", &of(&key)), 400, INVALID_HANDLE);
    refused(&host.keyd("POST", "/parameters/algorithm", &of(&key)), 400, MECHANISM);
    assert_eq!(host.keyd("POST", "/parameters/nothing", &of(&pair)).status, 400);
}

#[test]
fn k20_whatever_does_not_decrypt_has_one_status_and_one_message() {
    let host = host();
    let handle = host.keyd_create("a", "encrypt");
    let sealed = host.keyd("POST", "/encrypt", &encrypt(&handle, b"iv", b"aad", b"text"));
    let good = http::bytes(&sealed.ok()["ciphertext"]);
    let flipped = |place: usize| {
        let mut bytes = good.clone();
        bytes[place] ^= 1;
        bytes
    };
    let attempts = [
        (&b"iv"[..], &b"aad2"[..], good.clone()),
        (b"iv2", b"aad", good.clone()),
        (b"iv", b"aad", flipped(1)),
        (b"iv", b"aad", flipped(good.len() - 1)),
        (b"iv", b"aad", good[..good.len() - 1].to_vec()),
        (b"iv", b"aad", good[..16].to_vec()),
        (b"iv", b"aad", vec![]),
        (b"iv", b"aad", [&[3], &good[1..]].concat()),
        (b"iv", b"aad", [&[1], &good[1..]].concat()),
    ];
    for (iv, aad, ciphertext) in attempts {
        let reply = host.keyd("POST", "/decrypt", &decrypt(&handle, iv, aad, &b64(&ciphertext)));
        refused(&reply, 400, A_PARAMETER);
        assert_eq!(reply.json()["code"], "integrity");
    }
    let reply = host.keyd("POST", "/decrypt", &decrypt(&handle, b"iv", b"aad", &b64(&good)));
    assert_eq!(reply.text("plaintext"), b64("text"));
}

#[test]
fn empty_vector_is_a_bad_parameter() {
    let host = host();
    let handle = host.keyd_create("a", "encrypt");
    assert_eq!(host.keyd("POST", "/encrypt", &encrypt(&handle, b"", b"", b"t")).status, 400);
    let opened = decrypt(&handle, b"", b"", &b64([2; 17]));
    assert_eq!(host.keyd("POST", "/decrypt", &opened).status, 400);
}

#[test]
fn k12_import_of_a_length_that_keys_have_not_is_refused_at_once() {
    let host = host();
    let import = |usage: &str, bytes: usize| {
        let id = format!("{usage}{bytes}");
        let body = json!({"keyId": id, "usage": usage, "keyBytes": b64(vec![7; bytes])});
        host.keyd("POST", "/key", &body).status
    };
    for (usage, bytes, status) in [
        ("encrypt", 0, 400),
        ("encrypt", 16, 400),
        ("encrypt", 31, 400),
        ("encrypt", 32, 200),
        ("encrypt", 33, 400),
        ("sign", 0, 400),
        ("sign", 1, 200),
        ("derive", 16, 200),
        ("sign", 1024, 200),
        ("sign", 1025, 400),
    ] {
        assert_eq!(import(usage, bytes), status, "{usage} {bytes}");
    }
}

#[test]
fn usages_that_exclude_each_other_are_refused() {
    let host = host();
    for (usage, status) in [("derive,encrypt", 400), ("sign,encrypt", 400), ("derive,sign", 200)] {
        let reply = host.keyd("POST", "/key", &json!({"keyId": usage, "usage": usage}));
        assert_eq!(reply.status, status, "{usage}");
    }
}

#[test]
fn k15_body_that_stalls_is_answered_after_five_seconds() {
    let host = host();
    let mut stream = UnixStream::connect(host.keyd_socket()).unwrap();
    let head = format!("POST /key?{VERSION} HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\n{{");
    stream.write_all(head.as_bytes()).unwrap();
    let begun = std::time::Instant::now();
    let mut reply = Vec::new();
    std::io::Read::read_to_end(&mut stream, &mut reply).unwrap();
    let reply = String::from_utf8(reply).unwrap();
    assert!(reply.starts_with("HTTP/1.1 408 "), "{reply}");
    assert!(reply.contains("{\"message\":\"deadline has elapsed\""), "{reply}");
    assert!((4..20).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
}

#[test]
fn k15_body_past_the_limit_and_text_past_that_of_a_key_are_too_large() {
    let host = host();
    let handle = host.keyd_create("a", "encrypt");
    let text = |bytes: usize| encrypt(&handle, b"iv", b"", &vec![7; bytes]);
    assert_eq!(host.keyd("POST", "/encrypt", &text(32 * 1024)).status, 200);
    let reply = host.keyd("POST", "/encrypt", &text(32 * 1024 + 1));
    assert_eq!((reply.status, &reply.json()["code"]), (413, &json!("too_large")));
    assert_eq!(host.keyd("POST", "/encrypt", &text(4 * 1024 * 1024)).status, 413);
}
