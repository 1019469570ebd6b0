use proptest::prelude::*;
use wire::sas::{Encoder, Order, Profile};

use super::*;
use crate::token::Unsigned;

const SR: &str = "sr=h.net%2fdevices%2fd";
const SIG: &str = "sig=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA%3d";
const SE: &str = "se=1700000000";

#[track_caller]
fn check(parameters: &[&str], accepted: bool) {
    let text = format!("{PREFIX}{}", parameters.join("&"));
    assert_eq!(Received::parse(&text).is_ok(), accepted, "{text}");
}

#[test]
fn s4_token_with_its_parameters_in_any_order_is_read() {
    let parameters = [SR, SIG, SE, "skn=p"];
    for a in 0..4 {
        for b in (0..4).filter(|b| *b != a) {
            for c in (0..4).filter(|c| *c != a && *c != b) {
                let d = 6 - a - b - c;
                check(&[a, b, c, d].map(|at| parameters[at]), true);
            }
        }
    }
    check(&[SE, SR, SIG], true);
}

#[test]
fn s4_token_with_a_parameter_missing_twice_or_unknown_is_malformed() {
    check(&[SIG, SE], false);
    check(&[SR, SE], false);
    check(&[SR, SIG], false);
    for again in [SR, SIG, SE, "skn=p"] {
        check(&[SR, SIG, SE, "skn=p", again], false);
    }
    for other in ["x=1", "SR=a", "", "sv=2020", "=", " sr=a"] {
        check(&[SR, SIG, SE, other], false);
    }
}

#[test]
fn s4_token_without_its_scheme_is_malformed() {
    let parameters = [SR, SIG, SE].join("&");
    for start in [
        "",
        "SharedAccessSignature",
        "sharedaccesssignature ",
        "Bearer ",
        " SharedAccessSignature ",
    ] {
        assert!(Received::parse(&format!("{start}{parameters}")).is_err(), "{start}");
    }
    check(&[&format!(" {SR}"), SIG, SE], false);
}

#[test]
fn s4_signature_that_is_not_32_bytes_of_base64_is_malformed() {
    for sig in [
        "",
        "AAAA",
        // 31 and 33 bytes.
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA%3d%3d",
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        // No padding; bits behind the last byte; a space for a plus.
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB%3d",
        "+AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA%3d",
        "-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA%3d",
    ] {
        check(&[SR, &format!("sig={sig}"), SE], false);
    }
    check(&[SR, "sig=%2bAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA%3D", SE], true);
}

#[test]
fn s4_expiry_that_is_not_a_plain_number_is_malformed() {
    for se in ["", "-1", "1e9", "+5", "%2b5", "1.0", "0x5", "01", "00", " 5", "5%20", "５"] {
        check(&[SR, SIG, &format!("se={se}")], false);
    }
    check(&[SR, SIG, "se=12345678901234567890"], false);
    check(&[SR, SIG, "se=0"], true);
}

#[test]
fn s4_expiry_at_limit_of_digits_is_read_and_one_past_it_refused() {
    check(&[SR, SIG, "se=9999999999999999999"], true);
    check(&[SR, SIG, "se=10000000000000000000"], false);
}

#[test]
fn resource_that_is_ambiguous_is_malformed() {
    for sr in [
        "",
        "%2f",
        "h.net%2f%2fd",
        "h.net%2f..%2fd",
        "h.net%2f%252e%252e",
        "h%0anet",
        "%",
        "%zz",
        "%ff",
        "h.net%5cd",
        "h.net%2fa%2541",
    ] {
        check(&[&format!("sr={sr}"), SIG, SE], false);
    }
}

#[test]
fn line_feed_as_it_is_is_malformed() {
    check(&["sr=h.net\n1", SIG, SE], false);
    check(&[SR, SIG, "se=17\n"], false);
    check(&["sr=h\u{e9}", SIG, SE], false);
}

#[test]
fn policy_that_is_no_policy_name_is_malformed() {
    check(&[SR, SIG, SE, "skn=RootManageSharedAccessKey"], true);
    check(&[SR, SIG, SE, "skn=%70"], true);
    for skn in ["", "a%20b", "a+b", "a%26b"] {
        check(&[SR, SIG, SE, &format!("skn={skn}")], false);
    }
}

#[test]
fn token_at_limits_is_read_and_one_past_them_refused() {
    let sr = |bytes: usize| format!("sr={}", "a".repeat(bytes));
    check(&[&sr(STRING_TO_SIGN_MAX_BYTES - "\n1700000000".len()), SIG, SE], true);
    check(&[&sr(STRING_TO_SIGN_MAX_BYTES - "\n1700000000".len() + 1), SIG, SE], false);
    let fill = |bytes: usize| {
        // Escapes make a parameter as long as wanted, and mean nothing.
        let short = format!("{PREFIX}{SR}&{SIG}&{SE}&skn=").len();
        let (escapes, plain) = ((bytes - short) / 3, (bytes - short) % 3);
        format!("{PREFIX}{SR}&{SIG}&{SE}&skn={}{}", "%70".repeat(escapes), "p".repeat(plain))
    };
    // So long a name is no policy name, so only that the limit comes first can be shown.
    assert!(fill(TOKEN_MAX_BYTES + 1).len() > TOKEN_MAX_BYTES);
    assert!(Received::parse(&fill(TOKEN_MAX_BYTES + 1)).is_err());
}

#[test]
fn token_of_ours_is_read_back_in_every_order_and_encoding() {
    let profile: Profile = serde_json::from_str(
        r#"{"profile":"event-hubs-publisher","namespace":"c.net","entity":"t","publisher":"dev ice~é(1)!","policy":"p"}"#,
    )
    .unwrap();
    for encoder in Encoder::ALL {
        for order in Order::ALL {
            let token = Unsigned::new(&profile, encoder, order, 9).unwrap();
            let to_sign = token.string_to_sign();
            let token = token.sign(&[7; MAC_BYTES]);
            let received = Received::parse(token.text()).unwrap();
            assert_eq!(received.string_to_sign(), to_sign);
            assert_eq!(received.signature(), &[7; MAC_BYTES]);
            assert_eq!(received.resource().publisher(), Some("dev ice~é(1)!"));
            assert_eq!(received.policy().map(PolicyName::as_str), Some("p"));
        }
    }
}

#[test]
fn debug_of_a_received_token_shows_no_signature() {
    let text = format!(
        "{PREFIX}{SR}&sig=%2b%2fv7%2b%2fv7%2b%2fv7%2b%2fv7%2b%2fv7%2b%2fv7%2b%2fv7%2b%2fv7%2b%2fv7%2b%2fv7%2b%2fs%3d&{SE}"
    );
    let shown = format!("{:?}", Received::parse(&text).unwrap());
    assert!(
        shown.contains("devices") && !shown.contains("v7") && !shown.contains("251"),
        "{shown}"
    );
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "(SharedAccessSignature )?[a-z%0-9=&+/\\n]{0,60}") {
        if let Ok(received) = Received::parse(&text) {
            prop_assert!(received.string_to_sign().matches('\n').count() == 1);
        }
    }
}
