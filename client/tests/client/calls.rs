//! Every method against the examples of `docs/api.md`: it sends what stands there as a request,
//! and reads what stands there as a reply.

use std::collections::BTreeMap;

use sealhost_client::{Call, Client, Error, Reply};
use serde_json::Value;
use wire::api::{ItemResult, SealedText};
use wire::code::Code;
use wire::context::EncryptionContext;
use wire::name::{KeyName, ProviderName};

use crate::server::{Seen, Server, directory};

const API: &str = include_str!("../../../docs/api.md");

/// The JSON examples under the heading of an endpoint, or of a section.
fn examples(heading: &str) -> Vec<&'static str> {
    let (_, after) = API.split_once(&format!("{heading}\n")).unwrap();
    let section = after.split("\n#").next().unwrap();
    section.split("```json\n").skip(1).map(|block| block.split("\n```").next().unwrap()).collect()
}

fn name(text: &str) -> KeyName {
    KeyName::parse(text).unwrap()
}

fn same_json(found: &str, expected: &str) {
    let [found, expected] =
        [found, expected].map(|text| serde_json::from_str::<Value>(text).unwrap());
    assert_eq!(found, expected);
}

/// Sends a call to a server that gives the documented reply, and checks the request.
fn check<T>(endpoint: &str, line: &str, call: Result<Call<T>, Error>) -> Reply<T> {
    let examples = examples(&format!("### `{endpoint}`"));
    let (reply, request) = examples.split_last().unwrap();
    let status =
        if endpoint.starts_with("POST") && line.matches('/').count() == 3 { 201 } else { 200 };
    let (seen, sent) = sent(status, reply, &call.unwrap());
    assert_eq!(seen.line, line);
    match request {
        [body] => same_json(&seen.body, body),
        _ => assert_eq!(seen.body, ""),
    }
    assert_eq!(sent.document.as_slice(), reply.as_bytes());
    assert_eq!(sent.request_id.as_deref(), Some("r-7"));
    sent
}

fn sent<T>(status: u16, reply: &'static str, call: &Call<T>) -> (Seen, Reply<T>) {
    let directory = directory();
    let socket = directory.path().join("s");
    let server = Server::start(&socket, move |_| Some((status, reply.to_owned())));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let sent = runtime.block_on(Client::new(&socket).send(call)).unwrap();
    (server.log.seen().remove(0), sent)
}

fn context() -> EncryptionContext {
    EncryptionContext::new(BTreeMap::from([("app".to_owned(), "web".to_owned())])).unwrap()
}

fn from<T: serde::de::DeserializeOwned>(json: &str) -> T {
    serde_json::from_str(json).unwrap()
}

#[test]
fn create_sends_and_reads_what_is_documented() {
    let request = from(r#"{"usage":"seal","floor":"hardware"}"#);
    let call = Call::create(&name("secrets/db"), &request);
    let reply = check("POST /v1/keys/{name}", "POST /v1/keys/secrets%2Fdb", call);
    assert_eq!(reply.value.versions.len(), 1);
}

#[test]
fn import_sends_and_reads_what_is_documented() {
    let request = from(r#"{"usage":"mac","key":"c2VjcmV0"}"#);
    let call = Call::import(&name("api/token"), &request);
    check("POST /v1/keys/{name}/import", "POST /v1/keys/api%2Ftoken/import", call);
}

#[test]
fn keys_reads_what_is_documented() {
    let reply = check("GET /v1/keys", "GET /v1/keys", Ok(Call::keys()));
    assert_eq!(reply.value.keys[0].name, name("secrets/db"));
}

#[test]
fn key_reads_what_is_documented() {
    let call = Call::key(&name("secrets/db"));
    check("GET /v1/keys/{name}", "GET /v1/keys/secrets%2Fdb", Ok(call));
}

#[test]
fn rotate_sends_and_reads_what_is_documented() {
    let call = Call::rotate(&name("a/b/c"));
    check("POST /v1/keys/{name}/rotate", "POST /v1/keys/a%2Fb%2Fc/rotate", call);
}

#[test]
fn destroy_confirms_the_name_and_reads_what_is_documented() {
    let call = Call::destroy(&name("secrets/db"));
    let line = "DELETE /v1/keys/secrets%2Fdb?confirm=secrets%2Fdb";
    let reply = check("DELETE /v1/keys/{name}", line, Ok(call));
    assert_eq!(reply.value.destroyed, [1, 2]);
}

#[test]
fn create_counter_sends_and_reads_what_is_documented() {
    let request = from(r#"{"providers":["tpm"]}"#);
    let call = Call::create_counter(&name("stores/web"), &request);
    let reply = check("POST /v1/counters/{name}", "POST /v1/counters/stores%2Fweb", call);
    assert_eq!(reply.value.value, 1);
}

#[test]
fn increment_counter_sends_and_reads_what_is_documented() {
    let call = Call::increment_counter(&name("stores/web"), Some(1));
    let line = "POST /v1/counters/stores%2Fweb/increment";
    let reply = check("POST /v1/counters/{name}/increment", line, call);
    assert_eq!(reply.value.value, 2);
}

#[test]
fn counter_reads_what_is_documented() {
    let call = Call::counter(&name("stores/old"));
    let reply = check("GET /v1/counters/{name}", "GET /v1/counters/stores%2Fold", Ok(call));
    assert_eq!(reply.value.provider, None);
}

#[test]
fn counters_reads_what_is_documented() {
    let reply = check("GET /v1/counters", "GET /v1/counters", Ok(Call::counters()));
    assert_eq!(reply.value.counters.len(), 2);
}

#[test]
fn destroy_counter_confirms_the_name_and_reads_what_is_documented() {
    let call = Call::destroy_counter(&name("stores/web"));
    let line = "DELETE /v1/counters/stores%2Fweb?confirm=stores%2Fweb";
    let reply = check("DELETE /v1/counters/{name}", line, Ok(call));
    assert_eq!(reply.value.counter, name("stores/web"));
}

#[test]
fn seal_sends_and_reads_what_is_documented() {
    let call = Call::seal(&name("secrets/db"), b"correct horse", &context());
    let reply = check("POST /v1/keys/{name}/seal", "POST /v1/keys/secrets%2Fdb/seal", call);
    assert!(reply.value.sealed.as_str().starts_with("sealhost:1:"));
}

#[test]
fn unseal_sends_and_reads_what_is_documented() {
    let sealed =
        SealedText("sealhost:1:h2hzZWFsaG9zdAFqc2VjcmV0cy9kYoGHAVCgoaKjpKWmp6ipq…".to_owned());
    let call = Call::unseal(&name("secrets/db"), &sealed, &context());
    let reply = check("POST /v1/keys/{name}/unseal", "POST /v1/keys/secrets%2Fdb/unseal", call);
    assert_eq!(reply.value.plaintext.as_bytes(), b"correct horse");
}

#[test]
fn rewrap_sends_and_reads_what_is_documented() {
    let item = from(examples("### `POST /v1/keys/{name}/rewrap`")[0]);
    let call = Call::rewrap(&name("secrets/db"), &item);
    check("POST /v1/keys/{name}/rewrap", "POST /v1/keys/secrets%2Fdb/rewrap", call);
}

#[test]
fn mac_sends_and_reads_what_is_documented() {
    let call = Call::mac(&name("api/token"), b"hello", None);
    let reply = check("POST /v1/keys/{name}/mac", "POST /v1/keys/api%2Ftoken/mac", call);
    assert_eq!(reply.value.mac.as_bytes()[..2], [0xab, 0xcd]);
}

#[test]
fn verify_sends_and_reads_what_is_documented() {
    let mac: [u8; 32] =
        [0xab, 0xcd, 0xef, 0x12, 0x34, 0x56, 0x78, 0x90].repeat(4).try_into().unwrap();
    let call = Call::verify(&name("api/token"), b"hello", &mac, None);
    let reply = check("POST /v1/keys/{name}/verify", "POST /v1/keys/api%2Ftoken/verify", call);
    assert!(reply.value.valid);
}

#[test]
fn sign_sends_and_reads_what_is_documented() {
    let request: wire::api::SignRequest = from(examples("### `POST /v1/keys/{name}/sign`")[0]);
    let call = Call::sign(&name("release"), request.digest.as_bytes(), None);
    check("POST /v1/keys/{name}/sign", "POST /v1/keys/release/sign", call);
}

#[test]
fn public_names_the_version_and_reads_what_is_documented() {
    let endpoint = "GET /v1/keys/{name}/public";
    check(endpoint, "GET /v1/keys/release/public", Ok(Call::public(&name("release"), None)));
    let call = Call::public(&name("release"), Some(2));
    check(endpoint, "GET /v1/keys/release/public?version=2", Ok(call));
}

#[test]
fn random_sends_and_reads_what_is_documented() {
    let reply = check("POST /v1/random", "POST /v1/random", Call::random(16));
    assert_eq!(reply.value.random.as_bytes().len(), 16);
}

#[test]
fn status_reads_what_is_documented() {
    assert_eq!(check("GET /v1/status", "GET /v1/status", Ok(Call::status())).value.generation, 4);
}

#[test]
fn providers_reads_what_is_documented() {
    let reply = check("GET /v1/providers", "GET /v1/providers", Ok(Call::providers()));
    assert_eq!(reply.value.providers.len(), 2);
}

#[test]
fn retry_reads_what_is_documented() {
    let call = Call::retry_provider(&ProviderName::parse("tpm").unwrap());
    let (seen, sent) = sent(200, examples("### `POST /v1/providers/{name}/retry`")[1], &call);
    assert_eq!(seen, Seen { line: "POST /v1/providers/tpm/retry".to_owned(), body: String::new() });
    assert_eq!(sent.value.name.as_str(), "tpm");
}

#[test]
fn metrics_are_text() {
    let (seen, sent) = sent(200, "# TYPE up gauge\nup 1\n", &Call::metrics());
    assert_eq!(
        (seen.line.as_str(), sent.value.as_str()),
        ("GET /metrics", "# TYPE up gauge\nup 1\n")
    );
}

#[test]
fn batch_reads_what_is_documented() {
    let [done, other] = [r#"{"message":"aGVsbG8="}"#, r#"{"message":"","version":2}"#];
    let call = Call::mac_batch(&name("api/token"), &[from(done), from(other)]).unwrap();
    let (seen, sent) = sent(200, examples("## 3. Batches")[0], &call);
    assert_eq!(seen.line, "POST /v1/keys/api%2Ftoken/mac");
    same_json(&seen.body, &format!(r#"{{"items":[{done},{other}]}}"#));
    let [ItemResult::Done(mac), ItemResult::Failed(problem)] = &sent.value[..] else {
        panic!("{:?}", sent.value)
    };
    assert_eq!((mac.version, problem.code), (1, Code::Timeout));
}

#[test]
fn batch_over_the_body_limit_is_not_made() {
    let item = || from(&format!(r#"{{"sealed":"{}"}}"#, "x".repeat(1 << 20)));
    let fits = Call::unseal_batch(&name("a"), &[item(), item(), item()]);
    assert!(fits.is_ok());
    let error = Call::unseal_batch(&name("a"), &[item(), item(), item(), item()]).unwrap_err();
    assert_eq!(error.to_string(), "body exceeds limit of 4194304 bytes");
}

#[test]
fn debug_of_a_call_and_a_reply_shows_no_value() {
    let call = Call::seal(&name("a"), b"marker", &context()).unwrap();
    assert_eq!(format!("{call:?}"), "Call(POST /v1/keys/a/seal)");
    let random = Call::random(1).unwrap();
    let reply = r#"{"random":"bWFya2Vy","provider":"tpm","protection":"hardware"}"#;
    let (_, sent) = sent(200, reply, &random);
    assert_eq!(format!("{sent:?}"), "Reply(Some(\"r-7\"), 62 bytes)");
}
