//! Who may do what: default deny, templates, reload.

use serde_json::{Value, json};
use tests::{Response, User};

use crate::harness::{EVERYTHING, K1, Signer};

const UID: u32 = 4242;

/// Root may do everything; the user has tokens for some devices, for an hour.
fn rules(over: &str) -> String {
    format!(
        "{EVERYTHING}\n[[rule]]\nprincipal = {{ uid = {UID} }}\nkeys = [\"line1/*\"]\n\
         operations = [\"token\", \"list\"]\n\
         [[rule.token]]\nprofile = \"iot-hub-device\"\nhub = \"h.net\"\ndevice = \"line1-*\"\n\
         longest_ttl = \"1h\"\n{over}"
    )
}

fn signer() -> Signer {
    let signer = Signer::start_with(&rules(""));
    signer.import("line1%2Fa", K1, "primary");
    signer.import("line2%2Fa", K1, "primary");
    signer
}

fn token(signer: &Signer, key: &str, device: &str, more: Value) -> Response {
    let resource = json!({"profile": "iot-hub-device", "hub": "h.net", "device": device});
    let mut body = json!({"resource": resource, "key": key});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    User::new(UID).post(&signer.socket(), "/v1/tokens", body)
}

fn granted(signer: &Signer, device: &str, more: Value) {
    token(signer, "line1/a", device, more).done();
}

fn denied(signer: &Signer, key: &str, device: &str, more: Value) {
    token(signer, key, device, more).problem(403, "denied");
}

#[test]
fn token_is_given_for_what_a_template_names_and_denied_for_the_rest() {
    let signer = signer();
    granted(&signer, "line1-7", json!({}));
    denied(&signer, "line1/a", "line2-7", json!({}));
    denied(&signer, "line2/a", "line1-7", json!({}));
}

#[test]
fn key_that_is_forbidden_and_one_that_is_not_there_are_denied_alike() {
    let signer = signer();
    for key in ["line2/a", "line2/absent"] {
        let problem = token(&signer, key, "line1-7", json!({})).problem(403, "denied");
        assert_eq!(problem["detail"], "permission denied");
    }
}

#[test]
fn encoder_that_lowers_widens_nothing() {
    let signer = signer();
    denied(&signer, "line1/a", "LINE1-7", json!({}));
    granted(&signer, "LINE1-7", json!({"encoder": "lower-case"}));
    let body = token(&signer, "line1/a", "LINE1-7", json!({"encoder": "identityd"})).ok();
    assert!(body["token"].as_str().unwrap().contains("sr=h.net/devices/line1-7&"), "{body}");
}

#[test]
fn s8_ttl_past_the_longest_is_refused_or_clamped_by_the_rule() {
    let mut signer = signer();
    granted(&signer, "line1-7", json!({"ttl": 3600}));
    let problem = token(&signer, "line1/a", "line1-7", json!({"ttl": 3601}));
    let problem = problem.problem(400, "invalid");
    assert_eq!(problem["detail"], "ttl of 3601 s exceeds the 3600 s that rules allow for this");
    signer.reconfigure(&rules("over_ttl = \"clamp\"\n"), "");
    signer.signal("HUP");
    let at_most = |signer: &Signer| token(signer, "line1/a", "line1-7", json!({"ttl": 3601}));
    signer.wait_until("the reload", |signer| at_most(signer).status == 200);
    let now = jiff::Timestamp::now().as_second();
    let expires_at = at_most(&signer).ok()["expires_at"].as_i64().unwrap();
    assert!(expires_at <= now + 3600, "{expires_at}");
}

#[test]
fn other_operations_are_denied() {
    let signer = signer();
    let user = User::new(UID);
    let import = json!({"key": K1, "form": "decoded"});
    for (target, body) in [
        ("/v1/keys/line1%2Fa/import", import),
        ("/v1/keys/line1%2Fa/rotate", json!({})),
        ("/v1/verify", json!({"token": "x", "key": "line1/a"})),
    ] {
        user.post(&signer.socket(), target, body).problem(403, "denied");
    }
    for target in ["/v1/keys/line1%2Fa", "/v1/status", "/metrics"] {
        user.get(&signer.socket(), target).problem(403, "denied");
    }
}

#[test]
fn issued_tokens_are_listed_by_the_keys_that_the_caller_may_see() {
    let mut signer = signer();
    granted(&signer, "line1-7", json!({}));
    let list = |signer: &Signer| {
        let list = User::new(UID).get(&signer.socket(), "/v1/tokens").ok();
        list["tokens"].as_array().map(Vec::len)
    };
    assert_eq!(list(&signer), Some(0));
    signer.reconfigure(&rules("").replace("\"list\"", "\"list\", \"show\""), "");
    signer.signal("HUP");
    signer.wait_until("the reload", |signer| list(signer) == Some(1));
}

#[test]
fn body_of_a_caller_without_permission_is_not_read() {
    let signer = signer();
    // It would be malformed, were it read.
    let reply = User::new(UID + 1).request(&signer.socket(), "POST", "/v1/tokens", b"{");
    reply.problem(403, "denied");
}

#[test]
fn broken_rules_leave_the_last_good_ones_in_force() {
    let mut signer = signer();
    signer.reconfigure("[[rule]]\nprincipal = {}\n", "");
    signer.signal("HUP");
    signer.wait_until("the reload", |signer| signer.log().contains("kept as they were"));
    granted(&signer, "line1-7", json!({}));
    signer.reconfigure("", "");
    signer.signal("HUP");
    signer.wait_until("the next reload", |signer| {
        token(signer, "line1/a", "line1-7", json!({})).status == 403
    });
}
