//! Holds `docs/api.md` against the types: every example is read by its type and written again as
//! it stands there, and every number and code of its tables is that of the code.
#![expect(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    reason = "an integration test is one module, and its helpers are tests too"
)]

use serde::Serialize;
use serde::de::DeserializeOwned;
use wire::api::{
    CounterList, CounterReply, CreateCounterRequest, CreateRequest, DestroyCounterReply,
    DestroyReply, ImportRequest, IncrementRequest, KeyList, KeyRecord, MacItem, MacReply,
    OneOrItems, OneOrResults, ProviderList, ProviderStatus, PublicReply, RandomReply,
    RandomRequest, Request, RewrapItem, RewrapReply, RotateRequest, SealItem, SealReply, SignReply,
    SignRequest, Status, UnsealItem, UnsealReply, VerifyAuditReply, VerifyAuditRequest,
    VerifyReply, VerifyRequest, decode,
};
use wire::code::{Code, Problem};
use wire::limits::{
    BATCH_MAX_ITEMS, BODY_MAX_BYTES, CONTEXT_MAX_BYTES, IMPORT_KEY_MAX_BYTES, KEY_NAME_MAX_BYTES,
    MESSAGE_MAX_BYTES, PLAINTEXT_MAX_BYTES, PRIVATE_NUMBER_BYTES, PROVIDER_NAME_MAX_BYTES,
    RANDOM_MAX_BYTES,
};

const DOCUMENT: &str = include_str!("../../docs/api.md");

/// The JSON examples of a section, which ends at the next heading.
fn examples(heading: &str) -> Vec<&'static str> {
    let (_, section) = DOCUMENT.split_once(&format!("\n{heading}\n")).unwrap();
    let section = section.split("\n## ").next().unwrap().split("\n### ").next().unwrap();
    let blocks = section.split("```json\n").skip(1);
    blocks.map(|block| block.split("\n```").next().unwrap()).collect()
}

fn reply<T: DeserializeOwned + Serialize>(json: &str) {
    let reply: T = serde_json::from_str(json).unwrap();
    let written = serde_json::to_value(&reply).unwrap();
    assert_eq!(written, serde_json::from_str::<serde_json::Value>(json).unwrap());
}

fn check<Q: Request + Serialize, R: DeserializeOwned + Serialize>(heading: &str) {
    let examples = examples(heading);
    assert_eq!(examples.len(), 2, "{heading}");
    let (request, answer) = (examples[0], examples[1]);
    let read: Q = decode(request.as_bytes()).unwrap();
    let written = serde_json::to_value(&read).unwrap();
    assert_eq!(written, serde_json::from_str::<serde_json::Value>(request).unwrap());
    reply::<R>(answer);
}

fn check_without_body<R: DeserializeOwned + Serialize>(heading: &str) {
    let examples = examples(heading);
    assert_eq!(examples.len(), 1, "{heading}");
    reply::<R>(examples[0]);
}

#[test]
fn examples_of_keys_are_of_their_types() {
    check::<CreateRequest, KeyRecord>("### `POST /v1/keys/{name}`");
    check::<ImportRequest, KeyRecord>("### `POST /v1/keys/{name}/import`");
    check::<RotateRequest, KeyRecord>("### `POST /v1/keys/{name}/rotate`");
    check_without_body::<KeyRecord>("### `GET /v1/keys/{name}`");
    check_without_body::<KeyList>("### `GET /v1/keys`");
    check_without_body::<DestroyReply>("### `DELETE /v1/keys/{name}`");
}

#[test]
fn examples_of_sealing_are_of_their_types() {
    check::<OneOrItems<SealItem>, OneOrResults<SealReply>>("### `POST /v1/keys/{name}/seal`");
    check::<OneOrItems<UnsealItem>, OneOrResults<UnsealReply>>("### `POST /v1/keys/{name}/unseal`");
    check::<OneOrItems<RewrapItem>, OneOrResults<RewrapReply>>("### `POST /v1/keys/{name}/rewrap`");
}

#[test]
fn examples_of_authentication_are_of_their_types() {
    check::<OneOrItems<MacItem>, OneOrResults<MacReply>>("### `POST /v1/keys/{name}/mac`");
    check::<VerifyRequest, VerifyReply>("### `POST /v1/keys/{name}/verify`");
    check::<SignRequest, SignReply>("### `POST /v1/keys/{name}/sign`");
    check_without_body::<PublicReply>("### `GET /v1/keys/{name}/public`");
}

#[test]
fn examples_of_counters_are_of_their_types() {
    check::<CreateCounterRequest, CounterReply>("### `POST /v1/counters/{name}`");
    check::<IncrementRequest, CounterReply>("### `POST /v1/counters/{name}/increment`");
    check_without_body::<CounterReply>("### `GET /v1/counters/{name}`");
    check_without_body::<CounterList>("### `GET /v1/counters`");
    check_without_body::<DestroyCounterReply>("### `DELETE /v1/counters/{name}`");
}

#[test]
fn examples_of_the_host_are_of_their_types() {
    check::<RandomRequest, RandomReply>("### `POST /v1/random`");
    check::<RotateRequest, ProviderStatus>("### `POST /v1/providers/{name}/retry`");
    check::<VerifyAuditRequest, VerifyAuditReply>("### `POST /v1/audit/verify`");
    check_without_body::<Status>("### `GET /v1/status`");
    check_without_body::<ProviderList>("### `GET /v1/providers`");
}

#[test]
fn examples_of_errors_and_batches_are_of_their_types() {
    check_without_body::<Problem>("## 2. Errors");
    check_without_body::<OneOrResults<MacReply>>("## 3. Batches");
}

#[test]
fn most_checkpoints_are_asked_about_at_once_and_one_more_is_too_large() {
    let ask = |lines: usize, bytes: usize| {
        let request = VerifyAuditRequest { checkpoints: Some(vec!["x".repeat(bytes); lines]) };
        let body = serde_json::to_vec(&request).unwrap();
        decode::<VerifyAuditRequest>(&body).map(|_| ()).map_err(|fault| fault.code)
    };
    assert_eq!(ask(BATCH_MAX_ITEMS, 4096), Ok(()));
    assert_eq!(ask(BATCH_MAX_ITEMS + 1, 1), Err(Code::TooLarge));
    assert_eq!(ask(1, 4097), Err(Code::Invalid));
}

#[test]
fn table_of_codes_is_that_of_the_code() {
    let rows: Vec<_> = DOCUMENT.lines().filter(|line| line.starts_with("| `")).collect();
    let of_codes: Vec<_> = Code::ALL
        .iter()
        .map(|code| {
            let retryable = if code.retryable() { "yes" } else { "no" };
            format!("| `{}` | {} | {retryable} | ", code.as_str(), code.http_status())
        })
        .collect();
    let first = rows.iter().position(|row| row.starts_with(&of_codes[0])).unwrap();
    assert!(rows[first..].iter().zip(&of_codes).all(|(row, code)| row.starts_with(code)));
}

#[test]
fn table_of_limits_is_that_of_the_code() {
    for row in [
        format!("| body | {BODY_MAX_BYTES} bytes |"),
        format!("| key name | 1 to {KEY_NAME_MAX_BYTES} bytes |"),
        format!("| provider name | 1 to {PROVIDER_NAME_MAX_BYTES} bytes |"),
        format!("| plaintext | {PLAINTEXT_MAX_BYTES} bytes |"),
        format!("section 4) | {CONTEXT_MAX_BYTES} bytes |"),
        format!("| message | {MESSAGE_MAX_BYTES} bytes |"),
        format!("| imported key | 1 to {IMPORT_KEY_MAX_BYTES} bytes |"),
        format!("| imported private number | {PRIVATE_NUMBER_BYTES} bytes |"),
        format!("| random bytes | 1 to {RANDOM_MAX_BYTES} |"),
        format!("| batch | 1 to {BATCH_MAX_ITEMS} items |"),
    ] {
        assert!(DOCUMENT.contains(&row), "{row}");
    }
}
