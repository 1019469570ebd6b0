//! Verification: S1 to S6, and S10's end.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sas_signer::mac::Mac;
use sas_signer::parse::Received;
use sas_signer::token::Unsigned;
use sas_signer::verify::{Expected, SKEW_DEFAULT, SKEW_MAX, VerifyError, verify};
use wire::code::Code;
use wire::sas::{Encoder, KeyForm, Order, PolicyName, Profile, SasKeyName, Slot};

use crate::local::Local;

const K1: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const K2: &str =
    "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0+Pw==";
const V1: &str = "SharedAccessSignature sr=https%3a%2f%2fkokawata.servicebus.windows.net%2ftelemetry%2fpublishers%2f0001&sig=kDaPRz%2b3wsa1g65ke7M4eNIf20gNp7CB2zyN1h8zEu4%3d&se=1629446016&skn=send1";
const EXPIRY: u64 = 1_629_446_016;
const HUB: &str = "https://kokawata.servicebus.windows.net/telemetry";

/// What is asked about a token; V1 as it should be, unless said otherwise.
struct Case {
    token: String,
    key: SasKeyName,
    policy: Option<&'static str>,
    resource: Option<String>,
    publisher: Option<&'static str>,
    skew: Duration,
    now: u64,
    mac: Local,
}

impl Default for Case {
    fn default() -> Self {
        Self {
            token: V1.into(),
            key: "k".parse().unwrap(),
            policy: Some("send1"),
            resource: None,
            publisher: None,
            skew: SKEW_DEFAULT,
            now: EXPIRY - 1,
            mac: Local::default().with(Slot::Primary, K1, KeyForm::Raw),
        }
    }
}

async fn check(case: Case, expected: Result<Slot, VerifyError>) {
    let policy = case.policy.map(|name| PolicyName::parse(name).unwrap());
    let received = Received::parse(&case.token).unwrap();
    let wanted = Expected {
        key: &case.key,
        policy: policy.as_ref(),
        resource: case.resource.as_deref(),
        publisher: case.publisher,
        skew: case.skew,
    };
    let found = verify(&case.mac, &received, &wanted, case.now).await;
    assert_eq!(found.map(|verified| verified.slot), expected, "{}", case.token);
}

async fn refused(case: Case) {
    check(case, Err(VerifyError::Rejected)).await;
}

#[tokio::test]
async fn s1_token_is_good_until_the_second_before_its_expiry() {
    check(Case::default(), Ok(Slot::Primary)).await;
    check(Case { now: EXPIRY, ..Case::default() }, Err(VerifyError::Expired)).await;
}

#[tokio::test]
async fn s1_skew_at_its_limit_is_allowed_and_one_past_it_is_not() {
    let with = |skew, after| Case { skew, now: EXPIRY + after, ..Case::default() };
    check(with(Duration::from_secs(5), 4), Ok(Slot::Primary)).await;
    check(with(Duration::from_secs(5), 5), Err(VerifyError::Expired)).await;
    check(with(SKEW_MAX, 299), Ok(Slot::Primary)).await;
    check(with(SKEW_MAX + Duration::from_secs(1), 300), Err(VerifyError::Expired)).await;
}

#[tokio::test]
async fn s2_token_of_every_encoder_and_order_is_good() {
    let mac = Case::default().mac;
    let profile: Profile = serde_json::from_str(
        r#"{"profile":"event-hubs-publisher","namespace":"c.net","entity":"t","publisher":"0001","policy":"send1"}"#,
    )
    .unwrap();
    for encoder in Encoder::ALL {
        for order in Order::ALL {
            let unsigned = Unsigned::new(&profile, encoder, order, EXPIRY).unwrap();
            let message = unsigned.string_to_sign();
            let host_key = "sas/k/primary".parse().unwrap();
            let maced = mac.mac(&host_key, message.as_bytes()).await.unwrap();
            let token = unsigned.sign(&maced.mac).text().to_owned();
            check(Case { token, ..Case::default() }, Ok(Slot::Primary)).await;
        }
    }
}

#[tokio::test]
async fn s3_token_with_any_bit_of_its_signature_flipped_is_rejected() {
    let signature = STANDARD.decode("kDaPRz+3wsa1g65ke7M4eNIf20gNp7CB2zyN1h8zEu4=").unwrap();
    for bit in 0..256 {
        let mut signature = signature.clone();
        signature[bit / 8] ^= 1 << (bit % 8);
        let sig =
            STANDARD.encode(signature).replace('+', "%2b").replace('/', "%2f").replace('=', "%3d");
        let token = V1.replace("kDaPRz%2b3wsa1g65ke7M4eNIf20gNp7CB2zyN1h8zEu4%3d", &sig);
        refused(Case { token, ..Case::default() }).await;
    }
}

#[tokio::test]
async fn s3_token_with_another_expiry_resource_or_policy_is_rejected() {
    for (from, to) in [
        ("se=1629446016", "se=1629446017"),
        ("0001", "0002"),
        ("https%3a", "http%3a"),
        ("%2f", "%2F"),
        ("&skn=send1", "&skn=send2"),
        ("&skn=send1", ""),
    ] {
        let token = V1.replace(from, to);
        assert_ne!(token, V1);
        refused(Case { token, ..Case::default() }).await;
    }
}

#[tokio::test]
async fn s3_policy_that_does_not_belong_to_the_key_is_rejected() {
    refused(Case { policy: Some("send2"), ..Case::default() }).await;
    refused(Case { policy: None, ..Case::default() }).await;
}

#[tokio::test]
async fn s3_key_that_is_unknown_or_another_is_rejected() {
    refused(Case { key: "other".parse().unwrap(), ..Case::default() }).await;
    let mac = Local::default().with(Slot::Primary, K1, KeyForm::Decoded);
    refused(Case { mac, ..Case::default() }).await;
}

#[tokio::test]
async fn s3_expiry_that_was_moved_is_not_told_from_one_that_was_not() {
    let token = V1.replace("se=1629446016", "se=1");
    check(Case { token, ..Case::default() }, Err(VerifyError::Expired)).await;
}

#[tokio::test]
async fn s5_token_is_good_for_its_resource_and_below() {
    for below in ["/publishers/0001", "/publishers/0001/messages", "/publishers/0001/"] {
        let resource = Some(format!("{HUB}{below}"));
        check(Case { resource, ..Case::default() }, Ok(Slot::Primary)).await;
    }
}

#[tokio::test]
async fn s5_token_is_rejected_for_any_other_resource() {
    for other in ["/publishers/00012", "/publishers/0002", "", "/publishers/0001/../0002", "//x"] {
        refused(Case { resource: Some(format!("{HUB}{other}")), ..Case::default() }).await;
    }
    let evil = "https://kokawata.servicebus.windows.net.evil.net/telemetry/publishers/0001";
    refused(Case { resource: Some(evil.into()), ..Case::default() }).await;
}

#[tokio::test]
async fn s6_publisher_of_the_token_is_that_of_the_body() {
    check(Case { publisher: Some("0001"), ..Case::default() }, Ok(Slot::Primary)).await;
    for other in ["0002", "000", "00011", "", "0001/messages"] {
        refused(Case { publisher: Some(other), ..Case::default() }).await;
    }
}

#[tokio::test]
async fn s6_token_for_a_whole_event_hub_vouches_for_no_publisher() {
    let token = "SharedAccessSignature sr=https%3a%2f%2fcontoso.servicebus.windows.net%2ftelemetry&sig=wYax564eURxnSS0pb5sdmgAGiSihihkLNekIisaxYy8%3d&se=1700000000&skn=send2";
    let case = || Case { token: token.into(), policy: Some("send2"), ..Case::default() };
    check(case(), Ok(Slot::Primary)).await;
    refused(Case { publisher: Some("0001"), ..case() }).await;
}

#[tokio::test]
async fn s10_token_of_either_slot_is_good_until_its_key_is_removed() {
    let mac = Local::default().with(Slot::Primary, K2, KeyForm::Raw).with(
        Slot::Secondary,
        K1,
        KeyForm::Raw,
    );
    check(Case { mac: mac.clone(), ..Case::default() }, Ok(Slot::Secondary)).await;
    mac.remove(Slot::Primary);
    check(Case { mac: mac.clone(), ..Case::default() }, Ok(Slot::Secondary)).await;
    mac.remove(Slot::Secondary);
    refused(Case { mac, ..Case::default() }).await;
}

#[tokio::test]
async fn s10_token_of_a_key_that_was_replaced_is_rejected() {
    let mac = Case::default().mac.with(Slot::Primary, K2, KeyForm::Raw);
    refused(Case { mac, ..Case::default() }).await;
}

#[tokio::test]
async fn host_that_cannot_say_is_an_error_unless_the_other_slot_fits() {
    let mac = Case::default().mac.with(Slot::Secondary, K2, KeyForm::Raw);
    mac.fail(Slot::Secondary, Code::Unavailable);
    check(Case { mac: mac.clone(), ..Case::default() }, Ok(Slot::Primary)).await;
    mac.fail(Slot::Primary, Code::Unavailable);
    let found = Received::parse(V1).unwrap();
    let (key, policy) = ("k".parse().unwrap(), "send1".parse().unwrap());
    let expected = Expected {
        key: &key,
        policy: Some(&policy),
        resource: None,
        publisher: None,
        skew: SKEW_DEFAULT,
    };
    let error = verify(&mac, &found, &expected, 0).await.unwrap_err();
    assert!(matches!(error, VerifyError::Mac(error) if error.0.code == Code::Unavailable));
}
