//! Every limit of `docs/api.md` section 1 over the socket: at it, and one past it.
#![expect(clippy::tests_outside_test_module, reason = "an integration test")]

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tests::{Sealhost, Setup, b64};

const MIB: usize = 1024 * 1024;

/// Sends a body at a limit, which is accepted, and one past it, which is refused.
#[track_caller]
fn check(target: &str, at_limit: &str, one_past: &str, (status, code): (u16, &str)) {
    let host = host_with_keys();
    let send = |body: &str| tests::http::request(&host.socket(), "POST", target, body.as_bytes());
    let reply = send(at_limit);
    assert!(reply.status < 300, "{}", String::from_utf8_lossy(&reply.body));
    send(one_past).problem(status, code);
    assert_eq!(send(at_limit).status, reply.status, "it does not serve any more");
}

const TOO_LARGE: (u16, &str) = (413, "too_large");

fn host_with_keys() -> Sealhost {
    let host = Setup::soft().start();
    host.create("a", "seal", "soft");
    host.create("m", "mac", "soft");
    host
}

fn plaintext(bytes: usize) -> String {
    json!({"plaintext": b64(vec![7; bytes])}).to_string()
}

fn message(bytes: usize) -> String {
    json!({"message": b64(vec![7; bytes])}).to_string()
}

/// A context whose canonical encoding has so many bytes: a map of one pair, `docs/envelope.md`
/// section 4.
fn context(bytes: usize) -> Value {
    json!({"k": "v".repeat(bytes - 6)})
}

#[test]
fn plaintext_past_one_mebibyte_is_too_large() {
    check("/v1/keys/a/seal", &plaintext(MIB), &plaintext(MIB + 1), TOO_LARGE);
}

#[test]
fn plaintext_at_the_limit_comes_back() {
    let host = host_with_keys();
    let text: Vec<_> = (0..=255).cycle().take(MIB).collect();
    let sealed = host.post("/v1/keys/a/seal", json!({"plaintext": b64(&text)})).text("sealed");
    let opened = host.unseal("a", &sealed).ok();
    assert!(tests::http::bytes(&opened["plaintext"]) == text);
    let _rotated = host.post("/v1/keys/a/rotate", json!({})).ok();
    let moved = host.post("/v1/keys/a/rewrap", json!({"sealed": sealed})).text("sealed");
    assert!(tests::http::bytes(&host.unseal("a", &moved).ok()["plaintext"]) == text);
}

#[test]
fn context_past_eight_kibibytes_is_too_large() {
    let body = |bytes| json!({"plaintext": "", "context": context(bytes)}).to_string();
    check("/v1/keys/a/seal", &body(8192), &body(8193), TOO_LARGE);
}

#[test]
fn message_past_1024_bytes_is_too_large() {
    check("/v1/keys/m/mac", &message(1024), &message(1025), TOO_LARGE);
    let body = |bytes| json!({"message": b64(vec![7; bytes]), "mac": b64([0; 32])}).to_string();
    check("/v1/keys/m/verify", &body(1024), &body(1025), TOO_LARGE);
}

#[test]
fn body_past_four_mebibytes_is_too_large() {
    let json = r#"{"plaintext":""}"#;
    let body = |bytes: usize| format!("{json}{}", " ".repeat(bytes - json.len()));
    check("/v1/keys/a/seal", &body(4 * MIB), &body(4 * MIB + 1), TOO_LARGE);
}

#[test]
fn body_past_the_limit_in_chunks_is_too_large() {
    let host = host_with_keys();
    let head = "POST /v1/keys/a/seal HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
                Transfer-Encoding: chunked\r\n\r\n";
    let chunk = format!("10000\r\n{}\r\n", " ".repeat(0x1_0000));
    let last = "10\r\n{\"plaintext\":\"\"}\r\n0\r\n\r\n";
    let request = |chunks: usize| format!("{head}{}{last}", chunk.repeat(chunks));
    let send = |chunks| tests::http::raw(&host.socket(), request(chunks).as_bytes()).unwrap();
    assert_eq!(send(63).status, 200);
    send(64).problem(413, "too_large");
}

#[test]
fn envelope_past_its_limit_is_too_large() {
    let host = host_with_keys();
    let sealed = |bytes: usize| format!("sealhost:1:{}", URL_SAFE_NO_PAD.encode(vec![0; bytes]));
    host.unseal("a", &sealed(MIB + 4096)).problem(400, "malformed");
    host.unseal("a", &sealed(MIB + 4096 + 1)).problem(413, "too_large");
}

#[test]
fn key_name_past_128_bytes_is_invalid() {
    let host = host_with_keys();
    let create = |name: &str| host.post(&format!("/v1/keys/{name}"), json!({"usage": "mac"}));
    let longest = "n".repeat(128);
    assert_eq!(create(&longest).status, 201);
    create(&"n".repeat(129)).problem(400, "invalid");
    let longest = format!("{}%2F{}", "n".repeat(63), "m".repeat(64));
    assert_eq!(create(&longest).status, 201);
    create(&format!("{longest}m")).problem(400, "invalid");
}

#[test]
fn provider_name_past_32_bytes_is_invalid() {
    let host = host_with_keys();
    let create =
        |name: String| host.post("/v1/keys/b", json!({"usage": "mac", "providers": [name]}));
    create("p".repeat(32)).problem(400, "unsupported");
    create("p".repeat(33)).problem(400, "invalid");
}

#[test]
fn batch_of_envelopes_up_to_the_body_is_answered() {
    let host = host_with_keys();
    let item = json!({"plaintext": b64(vec![7; MIB - 1024])});
    let items = json!({"items": [item, item]});
    let sealed = host.post("/v1/keys/a/seal", items).ok();
    let reply = host.post(
        "/v1/keys/a/unseal",
        json!({"items": [
            {"sealed": sealed["items"][0]["sealed"]}, {"sealed": sealed["items"][1]["sealed"]},
        ]}),
    );
    assert_eq!(reply.ok()["items"].as_array().unwrap().len(), 2);
}
