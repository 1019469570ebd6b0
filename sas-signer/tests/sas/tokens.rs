//! The signer: from a grant to a token, with its cache, its list and its slots.

use std::time::Duration;

use daemon::clock::{Clock, ClockHand};
use jiff::Timestamp;
use sas_signer::cache::RENEW_AT_PERCENT;
use sas_signer::rules::{Grant, RawTemplate, Template, grant};
use sas_signer::signer::Signer;
use sas_signer::slots::Slots;
use sas_signer::verify::SKEW_DEFAULT;
use wire::code::Code;
use wire::sas::{Invalid, KeyForm, Slot, TokenReply, VerifyReply, VerifyRequest};

use crate::local::Local;

const K1: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const K2: &str = "EBESExQVFhcYGRobHB0eHw==";
const V8: &str = "SharedAccessSignature sr=myhub.azure-devices.net%2fdevices%2fdevice1&sig=iIyvul1z7xsjQDMXvGvUxZi%2blqnXkFn5lOgyNrICYDM%3d&se=1700000000";

/// A signer over a local key `k`, an hour before V8 expires.
struct Bench {
    signer: Signer<Local>,
    mac: Local,
    hand: ClockHand,
}

impl Bench {
    fn at(second: i64) -> Self {
        let mac = Local::default().with(Slot::Primary, K1, KeyForm::Decoded);
        let (clock, hand) = Clock::manual(Timestamp::from_second(second).unwrap());
        let slots = Slots::default();
        let signer = Signer::new(mac.clone(), clock, RENEW_AT_PERCENT, SKEW_DEFAULT, slots);
        Self { signer, mac, hand }
    }

    fn new() -> Self {
        Self::at(1_700_000_000 - 3600)
    }

    async fn token(&self) -> TokenReply {
        self.signer.token(&granted(""), 7).await.unwrap()
    }

    async fn verify(&self, token: &TokenReply) -> VerifyReply {
        let token = serde_json::to_value(&token.token).unwrap();
        let request = serde_json::json!({"token": token, "key": "k"});
        let request: VerifyRequest = serde_json::from_value(request).unwrap();
        self.signer.verify(&request).await.unwrap().0
    }
}

fn granted(more: &str) -> Grant {
    let raw: RawTemplate = toml::from_str(
        "profile = \"iot-hub-device\"\nhub = \"*\"\ndevice = \"*\"\nlongest_ttl = \"366d\"\n",
    )
    .unwrap();
    let resource =
        r#"{"profile":"iot-hub-device","hub":"myhub.azure-devices.net","device":"device1"}"#;
    let request = format!(r#"{{"resource":{resource},"key":"k"{more}}}"#);
    grant(&[Template::check(&raw).unwrap()], &serde_json::from_str(&request).unwrap()).unwrap()
}

#[tokio::test]
async fn token_is_that_of_the_vector_and_says_what_signed_it() {
    let reply = Bench::new().token().await;
    assert_eq!(reply.token.as_str(), V8);
    let reply = serde_json::to_value(reply).unwrap();
    let expected = serde_json::json!({
        "token": V8, "expires_at": 1_700_000_000_u64, "key": "k", "slot": "primary", "version": 1,
        "provider": "local", "protection": "software", "origin": "imported-clear",
        "from_cache": false,
    });
    assert_eq!(reply, expected);
}

#[tokio::test]
async fn token_asked_for_again_comes_from_the_cache_unless_it_must_be_fresh() {
    let bench = Bench::new();
    assert!(!bench.token().await.from_cache);
    bench.hand.advance(Duration::from_secs(1));
    let again = bench.token().await;
    assert_eq!((again.from_cache, again.token.as_str()), (true, V8));
    let fresh = bench.signer.token(&granted(r#","fresh":true"#), 7).await.unwrap();
    assert_eq!((fresh.from_cache, fresh.expires_at), (false, 1_700_000_001));
}

#[tokio::test]
async fn s8_expiry_past_32_bits_is_signed_and_verified_whole() {
    for second in [(1_i64 << 31) - 1, 1 << 31, (1 << 32) + 7] {
        let bench = Bench::at(second);
        let reply = bench.token().await;
        assert_eq!(reply.expires_at, u64::try_from(second).unwrap() + 3600);
        assert!(reply.token.as_str().ends_with(&format!("&se={}", reply.expires_at)));
        assert!(bench.verify(&reply).await.valid);
    }
}

#[tokio::test]
async fn s10_key_that_is_rotated_signs_with_its_other_slot_and_old_tokens_stay_good() {
    let bench = Bench::new();
    let old = bench.token().await;
    let _both = bench.mac.clone().with(Slot::Secondary, K2, KeyForm::Decoded);
    bench.signer.set_slots(Slots::default().with(&"k".parse().unwrap(), Slot::Secondary));
    let new = bench.token().await;
    assert_eq!((new.slot, new.from_cache), (Slot::Secondary, false));
    assert_ne!(new.token.as_str(), old.token.as_str());
    for token in [&old, &new] {
        assert_eq!(bench.verify(token).await.slot, Some(token.slot));
    }
    bench.mac.remove(Slot::Primary);
    let reply = bench.verify(&old).await;
    assert_eq!((reply.valid, reply.reason), (false, Some(Invalid::Rejected)));
    assert!(bench.verify(&new).await.valid);
}

#[tokio::test]
async fn s10_token_of_a_key_that_was_replaced_is_not_given_from_the_cache() {
    let bench = Bench::new();
    let old = bench.token().await;
    let _replaced = bench.mac.clone().with(Slot::Primary, K2, KeyForm::Decoded);
    bench.signer.forget(&"k".parse().unwrap());
    let new = bench.token().await;
    assert_eq!((new.version, new.from_cache), (2, false));
    assert!(!bench.verify(&old).await.valid);
    assert!(bench.verify(&new).await.valid);
}

#[tokio::test]
async fn verified_token_says_what_it_is_for_and_an_expired_one_nothing() {
    let bench = Bench::new();
    let token = bench.token().await;
    let reply = serde_json::to_value(bench.verify(&token).await).unwrap();
    let expected = serde_json::json!({
        "valid": true, "key": "k", "slot": "primary",
        "resource": "myhub.azure-devices.net/devices/device1", "expires_at": 1_700_000_000_u64,
    });
    assert_eq!(reply, expected);
    bench.hand.advance(Duration::from_secs(3600));
    let reply = serde_json::to_value(bench.verify(&token).await).unwrap();
    assert_eq!(reply, serde_json::json!({"valid": false, "reason": "expired", "key": "k"}));
}

#[tokio::test]
async fn text_that_is_no_token_is_malformed() {
    let request = serde_json::from_str(r#"{"token":"marker","key":"k"}"#).unwrap();
    let fault = Bench::new().signer.verify(&request).await.unwrap_err();
    assert_eq!(fault.code, Code::Malformed);
    assert!(!fault.detail.contains("marker"));
}

#[tokio::test]
async fn key_that_is_not_in_the_host_is_not_found_and_a_host_that_is_gone_unavailable() {
    let bench = Bench::new();
    bench.mac.fail(Slot::Primary, Code::Unavailable);
    let fault = bench.signer.token(&granted(""), 7).await.unwrap_err();
    assert_eq!(fault.code, Code::Unavailable);
    bench.signer.set_slots(Slots::default().with(&"k".parse().unwrap(), Slot::Secondary));
    let fault = bench.signer.token(&granted(""), 7).await.unwrap_err();
    assert_eq!(fault.code, Code::NotFound);
}

#[tokio::test]
async fn issued_tokens_are_listed_without_their_signatures() {
    let bench = Bench::new();
    let _first = bench.token().await;
    let _from_cache = bench.token().await;
    let list = serde_json::to_value(bench.signer.issued(|_| true)).unwrap();
    let expected = serde_json::json!({
        "tokens": [{
            "sr": "myhub.azure-devices.net%2fdevices%2fdevice1", "se": 1_700_000_000_u64,
            "key": "k", "slot": "primary", "version": 1, "issued_at": 1_699_996_400_u64, "uid": 7,
        }],
        "forgotten": 0,
    });
    assert_eq!(list, expected);
    assert!(bench.signer.issued(|_| false).tokens.is_empty());
    bench.hand.advance(Duration::from_secs(3600));
    assert!(bench.signer.issued(|_| true).tokens.is_empty());
}
