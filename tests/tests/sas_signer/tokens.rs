//! Tokens over the socket.

use serde_json::{Value, json};

use crate::harness::{K1, Signer};

#[test]
fn token_says_what_signed_it_and_how_that_is_protected() {
    let signer = Signer::start_soft();
    signer.import("dev", K1, "primary");
    let mut reply = signer.token("dev", json!({"ttl": 60})).ok();
    let token = reply["token"].take();
    let expires_at = reply["expires_at"].take();
    let start = "SharedAccessSignature sr=h.net%2fdevices%2fd&sig=";
    assert!(token.as_str().unwrap().starts_with(start), "{token}");
    assert!(token.as_str().unwrap().ends_with(&format!("&se={expires_at}")), "{token}");
    let expected = json!({
        "token": null, "expires_at": null, "key": "dev", "slot": "primary", "version": 1,
        "provider": "soft", "protection": "software", "origin": "imported-clear",
        "from_cache": false,
    });
    assert_eq!(reply, expected);
}

#[test]
fn token_comes_from_the_cache_until_a_fresh_one_is_asked_for() {
    let signer = Signer::start_soft();
    signer.import("dev", K1, "primary");
    let first = signer.token("dev", json!({})).ok();
    let again = signer.token("dev", json!({})).ok();
    assert_eq!((&again["from_cache"], &again["token"]), (&json!(true), &first["token"]));
    assert_eq!(signer.token("dev", json!({"fresh": true})).ok()["from_cache"], false);
    assert_eq!(signer.token("dev", json!({"ttl": 7})).ok()["from_cache"], false);
}

#[test]
fn token_of_every_encoder_and_order_is_that_of_its_style() {
    let signer = Signer::start_soft();
    signer.import("dev", K1, "primary");
    for (encoder, order, shape) in [
        ("lower-hex", "sr-sig-se-skn", "sr=h.net%2fdevices%2fd&sig=*&se=*"),
        ("upper-hex", "sr-se-sig-skn", "sr=h.net%2Fdevices%2Fd&se=*&sig=*"),
        ("rfc3986", "sr-sig-skn-se", "sr=h.net%2Fdevices%2Fd&sig=*&se=*"),
        ("quote-plus", "sr-sig-se-skn", "sr=h.net%2Fdevices%2Fd&sig=*&se=*"),
        ("javascript", "sr-sig-se-skn", "sr=h.net%2Fdevices%2Fd&sig=*&se=*"),
        ("azure-node", "sr-sig-skn-se", "sr=h.net%2Fdevices%2Fd&sig=*&se=*"),
        ("lower-case", "sr-sig-se-skn", "sr=h.net%2fdevices%2fd&sig=*&se=*"),
        ("identityd", "sr-sig-se-skn", "sr=h.net/devices/d&sig=*&se=*"),
    ] {
        let token = signer.token("dev", json!({"encoder": encoder, "order": order})).text("token");
        let parameters = token.strip_prefix("SharedAccessSignature ").unwrap();
        let found = parameters.split('&').map(|parameter| match parameter.split_once('=') {
            Some(("sr", value)) => format!("sr={value}"),
            Some((name, _)) => format!("{name}=*"),
            None => String::new(),
        });
        assert_eq!(found.collect::<Vec<_>>().join("&"), shape, "{encoder}");
    }
}

#[test]
fn token_of_a_key_that_is_not_there_is_not_found() {
    let signer = Signer::start_soft();
    let problem = signer.token("dev", json!({})).problem(404, "not_found");
    assert_eq!(problem["key"], "dev");
    signer.get("/v1/keys/dev").problem(404, "not_found");
}

#[test]
fn token_while_the_host_is_gone_is_unavailable_and_from_the_cache_given() {
    let mut signer = Signer::start_soft();
    signer.import("dev", K1, "primary");
    let cached = signer.token("dev", json!({})).ok();
    assert!(signer.host.stop().success());
    let problem = signer.token("dev", json!({"fresh": true})).problem(503, "unavailable");
    assert_eq!(problem["retryable"], true);
    assert_eq!(signer.token("dev", json!({})).ok()["token"], cached["token"]);
    signer.host.start();
    let fresh = signer.token("dev", json!({"fresh": true})).ok();
    assert_eq!(fresh["from_cache"], false);
}

#[test]
fn issued_tokens_are_listed_without_their_signatures() {
    let signer = Signer::start_soft();
    signer.import("dev", K1, "primary");
    let token = signer.token("dev", json!({})).ok();
    signer.token("dev", json!({})).done();
    let list = signer.get("/v1/tokens").ok();
    let mut issued = list["tokens"][0].clone();
    assert!(issued["issued_at"].take().is_u64());
    let expected = json!({
        "sr": "h.net%2fdevices%2fd", "se": token["expires_at"], "key": "dev", "slot": "primary",
        "version": 1, "issued_at": null, "uid": rustix::process::geteuid().as_raw(),
    });
    assert_eq!((list["tokens"].as_array().map(Vec::len), issued), (Some(1), expected));
    assert!(!list.to_string().contains("sig"));
}

#[test]
fn status_and_metrics_count_what_was_done() {
    let signer = Signer::start_soft();
    signer.import("dev", K1, "primary");
    signer.token("dev", json!({})).done();
    signer.token("dev", json!({})).done();
    let status = signer.get("/v1/status").ok();
    let counts = ["generation", "cached_tokens", "issued_tokens"].map(|field| &status[field]);
    assert_eq!(counts, [&json!(1), &json!(1), &json!(1)]);
    let metrics = String::from_utf8(signer.get("/metrics").body).unwrap();
    for line in [
        "sas_signer_requests_total{operation=\"token\",outcome=\"ok\"} 2",
        "sas_signer_tokens_total{source=\"cache\"} 1",
        "sas_signer_tokens_total{source=\"host\"} 1",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line} is not in {metrics}");
    }
    assert!(!metrics.contains("dev"), "{metrics}");
}

#[test]
fn s11_many_who_ask_at_once_get_one_token_signed_once() {
    let signer = Signer::start_soft();
    signer.import("dev", K1, "primary");
    let tokens: Vec<Value> = std::thread::scope(|scope| {
        let ask = || scope.spawn(|| signer.token("dev", json!({})).ok()["token"].clone());
        let asking: Vec<_> = (0..16).map(|_| ask()).collect();
        asking.into_iter().map(|asked| asked.join().unwrap()).collect()
    });
    assert!(tokens.iter().all(|token| *token == tokens[0]), "{tokens:?}");
    assert_eq!(signer.get("/v1/tokens").ok()["tokens"].as_array().map(Vec::len), Some(1));
    let macs = signer.host.audit().into_iter().filter(|line| line["operation"] == "mac").count();
    assert_eq!(macs, 1);
}
