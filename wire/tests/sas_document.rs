//! Holds `docs/sas.md` against the types: every example is read by its type and written again as
//! it stands there, and every number and word of its tables is that of the code.
#![expect(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    reason = "an integration test is one module, and its helpers are tests too"
)]

use serde::Serialize;
use serde::de::DeserializeOwned;
use wire::api::{Request, decode};
use wire::sas::limits::{
    CONNECTION_STRING_MAX_BYTES, ENTITY_NAME_MAX_BYTES, HOST_LABEL_MAX_BYTES, HOST_NAME_MAX_BYTES,
    ID_MAX_CHARS, ID_SCOPE_MAX_BYTES, KEY_TEXT_MAX_BYTES, POLICY_NAME_MAX_BYTES,
    RESOURCE_MAX_BYTES, SAS_KEY_NAME_MAX_BYTES, STRING_TO_SIGN_MAX_BYTES, TOKEN_MAX_BYTES,
    TTL_MAX_SECONDS,
};
use wire::sas::{
    Encoder, ImportReply, ImportRequest, IssuedList, Order, ProfileKind, RotateReply,
    RotateRequest, SasKeyRecord, Scheme, SignerStatus, TokenReply, TokenRequest, VerifyReply,
    VerifyRequest,
};

const DOCUMENT: &str = include_str!("../../docs/sas.md");

/// The JSON examples of an endpoint.
fn examples(endpoint: &str) -> Vec<&'static str> {
    let (_, section) = DOCUMENT.split_once(&format!("\n### {endpoint}\n")).unwrap();
    let section = section.split("\n## ").next().unwrap().split("\n### ").next().unwrap();
    let blocks = section.split("```json\n").skip(1);
    blocks.map(|block| block.split("\n```").next().unwrap()).collect()
}

fn reply<T: DeserializeOwned + Serialize>(example: &str) {
    let value: T = serde_json::from_str(example).unwrap();
    assert_eq!(serde_json::to_string(&value).unwrap(), example);
}

fn request<T: Request + Serialize>(example: &str) {
    let value: T = decode(example.as_bytes()).unwrap();
    assert_eq!(serde_json::to_string(&value).unwrap(), example);
}

/// Asserts that these words stand in one row of a table.
#[track_caller]
fn row(words: &[&str]) {
    let found = DOCUMENT
        .lines()
        .any(|line| line.starts_with('|') && words.iter().all(|word| line.contains(word)));
    assert!(found, "no row has {words:?}");
}

#[test]
fn example_of_each_endpoint_is_read_and_written_alike() {
    let [asked, told] = examples("POST /v1/tokens")[..] else { panic!() };
    request::<TokenRequest>(asked);
    reply::<TokenReply>(told);
    let [listed] = examples("GET /v1/tokens")[..] else { panic!() };
    reply::<IssuedList>(listed);
    let [asked, good, bad] = examples("POST /v1/verify")[..] else { panic!() };
    request::<VerifyRequest>(asked);
    reply::<VerifyReply>(good);
    reply::<VerifyReply>(bad);
    let [string, key, told] = examples("POST /v1/keys/{name}/import")[..] else { panic!() };
    request::<ImportRequest>(string);
    request::<ImportRequest>(key);
    reply::<ImportReply>(told);
    let [asked, told] = examples("POST /v1/keys/{name}/rotate")[..] else { panic!() };
    request::<RotateRequest>(asked);
    reply::<RotateReply>(told);
    let [shown] = examples("GET /v1/keys/{name}")[..] else { panic!() };
    reply::<SasKeyRecord>(shown);
    let [status] = examples("GET /v1/status")[..] else { panic!() };
    reply::<SignerStatus>(status);
}

#[test]
fn limits_of_the_page_are_those_of_the_code() {
    row(&["life of a token", &format!("1 to {TTL_MAX_SECONDS} s")]);
    for (what, limit) in [
        ("string to sign", STRING_TO_SIGN_MAX_BYTES),
        ("token to verify", TOKEN_MAX_BYTES),
        ("resource, publisher to verify", RESOURCE_MAX_BYTES),
        ("connection string", CONNECTION_STRING_MAX_BYTES),
        ("text of a key", KEY_TEXT_MAX_BYTES),
        ("`entity`", ENTITY_NAME_MAX_BYTES),
        ("`id_scope`", ID_SCOPE_MAX_BYTES),
        ("`policy`", POLICY_NAME_MAX_BYTES),
    ] {
        row(&[what, &format!("| {limit} bytes")]);
    }
    row(&[
        "`namespace`, `hub`",
        &format!("{HOST_NAME_MAX_BYTES} bytes, {HOST_LABEL_MAX_BYTES} a label"),
    ]);
    for field in ["`publisher`", "`device`, `module`", "`registration`"] {
        row(&[field, &format!("| {ID_MAX_CHARS} characters")]);
    }
    assert!(DOCUMENT.contains(&format!("at most {SAS_KEY_NAME_MAX_BYTES} bytes")));
}

#[test]
fn words_of_the_page_are_those_of_the_code() {
    for kind in ProfileKind::ALL {
        row(&[&format!("| `{}` |", kind.as_str()), &format!("| `{}` |", kind.key_form().as_str())]);
    }
    for encoder in Encoder::ALL {
        row(&[&format!("| `{}`", encoder.as_str())]);
    }
    for word in Order::ALL.map(Order::as_str).into_iter().chain(Scheme::ALL.map(Scheme::as_str)) {
        assert!(DOCUMENT.contains(&format!("`{word}`")), "{word}");
    }
}
