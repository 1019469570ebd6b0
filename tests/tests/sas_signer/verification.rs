//! Verification over the socket: S1 to S6.

use serde_json::{Value, json};

use crate::harness::{K1, Signer};

const V1: &str = "SharedAccessSignature sr=https%3a%2f%2fkokawata.servicebus.windows.net%2ftelemetry%2fpublishers%2f0001&sig=kDaPRz%2b3wsa1g65ke7M4eNIf20gNp7CB2zyN1h8zEu4%3d&se=1629446016&skn=send1";

/// A signer with the key `hub`, and a token by it for publisher 0001 that has an hour to live.
fn signer_and_token() -> (Signer, String) {
    let signer = Signer::start_soft();
    signer.post("/v1/keys/hub/import", json!({"key": K1, "form": "raw"})).done();
    let resource = json!({
        "profile": "event-hubs-publisher", "namespace": "kokawata.servicebus.windows.net",
        "entity": "telemetry", "publisher": "0001", "policy": "send1",
    });
    let token = signer.post("/v1/tokens", json!({"resource": resource, "key": "hub"}));
    let token = token.text("token");
    (signer, token)
}

/// Asks about a token of the key `hub` and policy `send1`.
fn verify(signer: &Signer, token: &str, more: Value) -> Value {
    let mut body = json!({"token": token, "key": "hub", "policy": "send1"});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    signer.post("/v1/verify", body).ok()
}

#[track_caller]
fn rejected(reply: &Value) {
    assert_eq!(*reply, json!({"valid": false, "reason": "rejected", "key": "hub"}));
}

#[test]
fn token_that_is_good_says_what_it_is_for() {
    let (signer, token) = signer_and_token();
    let mut reply = verify(&signer, &token, json!({}));
    assert!(reply["expires_at"].take().is_u64());
    let expected = json!({
        "valid": true, "key": "hub", "slot": "primary", "publisher": "0001", "expires_at": null,
        "resource": "kokawata.servicebus.windows.net/telemetry/publishers/0001",
    });
    assert_eq!(reply, expected);
}

#[test]
fn s1_token_whose_time_is_over_is_expired() {
    let (signer, _token) = signer_and_token();
    let reply = verify(&signer, V1, json!({}));
    assert_eq!(reply, json!({"valid": false, "reason": "expired", "key": "hub"}));
}

#[test]
fn s3_token_with_one_bit_of_its_signature_flipped_or_another_policy_is_rejected() {
    let (signer, token) = signer_and_token();
    let at = token.find("&sig=").unwrap() + "&sig=".len();
    let other = if token[at..].starts_with('A') { "B" } else { "A" };
    let mut flipped = token.clone();
    let first = if token[at..].starts_with('%') { 3 } else { 1 };
    flipped.replace_range(at..at + first, other);
    rejected(&verify(&signer, &flipped, json!({})));
    rejected(&verify(&signer, &token, json!({"policy": "send2"})));
    rejected(&verify(&signer, &token.replace("skn=send1", "skn=send2"), json!({})));
    rejected(&verify(&signer, &token.replace("0001", "0002"), json!({})));
}

#[test]
fn s4_text_that_is_no_token_is_malformed() {
    let (signer, token) = signer_and_token();
    for text in ["", "SharedAccessSignature ", &token.replace("&se=", "&se=-"), &token[1..]] {
        let body = json!({"token": text, "key": "hub", "policy": "send1"});
        signer.post("/v1/verify", body).problem(400, "malformed");
    }
}

#[test]
fn s5_token_is_good_below_its_resource_and_nowhere_else() {
    let (signer, token) = signer_and_token();
    let ask = |below: &str| {
        let resource = format!("https://kokawata.servicebus.windows.net/telemetry{below}");
        verify(&signer, &token, json!({"resource": resource}))
    };
    for below in ["/publishers/0001", "/publishers/0001/messages"] {
        assert_eq!(ask(below)["valid"], true, "{below}");
    }
    for below in ["", "/publishers/00012", "/publishers/0002"] {
        rejected(&ask(below));
    }
}

#[test]
fn s6_publisher_of_another_body_is_rejected_audited_and_the_next_served() {
    let (signer, token) = signer_and_token();
    rejected(&verify(&signer, &token, json!({"publisher": "0002"})));
    assert_eq!(verify(&signer, &token, json!({"publisher": "0001"}))["valid"], true);
    let audit = signer.verified_audit();
    let outcomes: Vec<_> = audit
        .iter()
        .filter(|line| line["operation"] == "verify")
        .map(|line| line["outcome"].as_str().unwrap())
        .collect();
    assert_eq!(outcomes, ["integrity", "ok"]);
}

#[test]
fn token_while_the_host_is_gone_cannot_be_verified() {
    let (mut signer, token) = signer_and_token();
    assert!(signer.host.stop().success());
    let body = json!({"token": token, "key": "hub", "policy": "send1"});
    signer.post("/v1/verify", body).problem(503, "unavailable");
}
