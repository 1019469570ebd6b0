//! What bad input gets: a distinct error each, and the signer still serving.

use serde_json::{Value, json};
use tests::http;

use crate::harness::{K1, Signer};

fn signer() -> Signer {
    let signer = Signer::start_soft();
    signer.import("dev", K1, "primary");
    signer
}

#[track_caller]
fn check(signer: &Signer, target: &str, body: &str, status: u16, code: &str) {
    let reply = http::request(&signer.socket(), "POST", target, body.as_bytes());
    let problem = reply.problem(status, code);
    assert!(!problem.to_string().contains("marker"), "{problem}");
}

fn publisher(id: &str) -> String {
    let resource = json!({
        "profile": "event-hubs-publisher", "namespace": "c.net", "entity": "t", "publisher": id,
        "policy": "p",
    });
    json!({"resource": resource, "key": "dev"}).to_string()
}

#[test]
fn body_that_is_no_request_is_malformed() {
    let signer = signer();
    for body in ["", "{", "[]", "{\"unknown\":1}", r#"{"resource":"marker","key":"dev"}"#] {
        check(&signer, "/v1/tokens", body, 400, "malformed");
    }
    signer.token("dev", json!({})).done();
}

#[test]
fn s7_publisher_that_leaves_its_segment_is_invalid() {
    let signer = signer();
    for id in ["a/marker", "..", "", "a\r\nmarker", "%2fmarker", "a?marker", &"m".repeat(129)] {
        check(&signer, "/v1/tokens", &publisher(id), 400, "invalid");
    }
    let reply = http::request(&signer.socket(), "POST", "/v1/tokens", publisher("0001").as_bytes());
    reply.done();
}

#[test]
fn s8_ttl_of_zero_or_past_the_limit_is_invalid_and_a_negative_one_malformed() {
    let signer = signer();
    for ttl in [json!(0), json!(31_622_401)] {
        signer.token("dev", json!({"ttl": ttl})).problem(400, "invalid");
    }
    for ttl in [json!(-1), json!(1.5), json!("60")] {
        signer.token("dev", json!({"ttl": ttl})).problem(400, "malformed");
    }
    signer.token("dev", json!({"ttl": 31_622_400})).done();
}

#[test]
fn resource_that_cannot_be_written_or_signed_is_refused() {
    let signer = signer();
    let ask = |resource: Value, encoder: &str| {
        signer.post("/v1/tokens", json!({"resource": resource, "key": "dev", "encoder": encoder}))
    };
    let device = json!({"profile": "iot-hub-device", "hub": "h.net", "device": "100%"});
    ask(device.clone(), "identityd").problem(400, "unsupported");
    ask(device, "lower-hex").done();
    let long = json!({
        "profile": "event-hubs-publisher", "namespace": "c.net", "entity": "e".repeat(256),
        "publisher": "é".repeat(128), "policy": "p",
    });
    ask(long, "lower-hex").problem(413, "too_large");
}

#[test]
fn import_without_or_with_too_much_of_a_key_is_invalid() {
    let signer = signer();
    for body in [
        json!({}),
        json!({"key": K1}),
        json!({"key": K1, "form": "decoded", "connection_string": "marker"}),
        json!({"connection_string": "marker"}),
        json!({"connection_string": "HostName=h;DeviceId=d;SharedAccessSignature=marker"}),
    ] {
        check(&signer, "/v1/keys/new/import", &body.to_string(), 400, "invalid");
    }
    let long = json!({"key": "marker".repeat(1000), "form": "raw"});
    check(&signer, "/v1/keys/new/import", &long.to_string(), 413, "too_large");
}

#[test]
fn path_that_is_no_endpoint_is_not_found_and_a_bad_name_invalid() {
    let signer = signer();
    check(&signer, "/v1/keys/dev", "{}", 404, "not_found");
    check(&signer, "/v1/tokens/x", "{}", 404, "not_found");
    check(&signer, "/v1/keys/.internal/rotate", "{}", 400, "invalid");
    check(&signer, "/v1/keys/a%252Fb/rotate", "{}", 400, "invalid");
    check(&signer, &format!("/v1/keys/{}/rotate", "k".repeat(115)), "{}", 400, "invalid");
}

#[test]
fn bytes_that_are_no_http_are_recorded() {
    let signer = signer();
    let _bare_status = http::raw(&signer.socket(), b"\0\0\0\0\r\n\r\n");
    signer.wait_until("the record", |signer| {
        signer.verified_audit().iter().any(|line| line["outcome"] == "malformed")
    });
    signer.token("dev", json!({})).done();
}
