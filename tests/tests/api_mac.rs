//! MACs over the socket: the vectors of RFC 4231 on every provider, and checking.
#![expect(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    reason = "integration tests, and what they share"
)]

use serde_json::{Value, json};
use swtpm_fixtures::{SoftHsm, Swtpm};
use tests::{Sealhost, Setup, b64};

/// Key, message and HMAC-SHA256 of RFC 4231 sections 4.2 to 4.8, in hexadecimal; a star repeats
/// the byte before it. Section 4.6 truncates its result and is compared so far.
const VECTORS: [(&str, &str, &str); 7] = [
    (
        "0b*20",
        "4869205468657265",
        "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
    ),
    (
        "4a656665",
        "7768617420646f2079612077616e7420666f72206e6f7468696e673f",
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
    ),
    ("aa*20", "dd*50", "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"),
    (
        "0102030405060708090a0b0c0d0e0f10111213141516171819",
        "cd*50",
        "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b",
    ),
    ("0c*20", "546573742057697468205472756e636174696f6e", "a3b6167473100ee06e0c796c2955552b"),
    (
        "aa*131",
        "54657374205573696e67204c6172676572205468616e20426c6f636b2d53697a65204b6579202d2048617368204b6579204669727374",
        "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
    ),
    (
        "aa*131",
        "5468697320697320612074657374207573696e672061206c6172676572207468616e20626c6f636b2d73697a65206b657920616e642061206c6172676572207468616e20626c6f636b2d73697a6520646174612e20546865206b6579206e6565647320746f20626520686173686564206265666f7265206265696e6720757365642062792074686520484d414320616c676f726974686d2e",
        "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2",
    ),
];

/// Imports the key of every vector into a provider and compares all MACs.
#[track_caller]
fn check(host: &Sealhost, provider: &str) {
    for (index, (key, message, expected)) in VECTORS.iter().enumerate() {
        let (key, message, expected) = (unhex(key), unhex(message), unhex(expected));
        let name = format!("/v1/keys/{provider}-{index}");
        let body = json!({"usage": "mac", "key": b64(key), "providers": [provider]});
        let _imported = host.post(&format!("{name}/import"), body).ok();
        let reply = host.post(&format!("{name}/mac"), json!({"message": b64(&message)})).ok();
        let mac = tests::http::bytes(&reply["mac"]);
        assert_eq!(mac[..expected.len()], expected, "vector {index} on {provider}");
        assert_eq!((mac.len(), &reply["provider"]), (32, &json!(provider)));
        let body = json!({"message": b64(&message), "mac": b64(mac)});
        assert_eq!(host.post(&format!("{name}/verify"), body).ok()["valid"], true);
    }
}

fn unhex(text: &str) -> Vec<u8> {
    if let Some((byte, times)) = text.split_once('*') {
        return unhex(byte).repeat(times.parse().unwrap());
    }
    let pairs = text.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
    pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
}

fn host_with_two_versions() -> (Sealhost, [Value; 2]) {
    let host = Setup::soft().start();
    host.create("a", "mac", "soft");
    let mac = || host.post("/v1/keys/a/mac", json!({"message": b64("text")})).ok()["mac"].clone();
    let first = mac();
    let _rotated = host.post("/v1/keys/a/rotate", json!({})).ok();
    let second = mac();
    (host, [first, second])
}

fn verify(host: &Sealhost, mac: &Value, version: Option<u32>) -> tests::Response {
    let body = json!({"message": b64("text"), "mac": mac, "version": version});
    host.post("/v1/keys/a/verify", body)
}

#[test]
fn vectors_of_rfc_4231_hold_in_software() {
    check(&Setup::soft().start(), "soft");
}

#[test]
fn vectors_of_rfc_4231_hold_in_software_behind_a_worker() {
    check(&Setup::default().with_soft_worker("worker").start(), "worker");
}

#[test]
fn vectors_of_rfc_4231_hold_in_a_tpm() {
    let swtpm = Swtpm::start().unwrap();
    check(&Setup::default().with_tpm(&swtpm).start(), "tpm");
}

#[test]
fn vectors_of_rfc_4231_hold_in_a_token() {
    let hsm = SoftHsm::start("edge", "1234").unwrap();
    check(&Setup::default().with_hsm(&hsm).start(), "hsm");
}

#[test]
fn reply_says_what_was_used() {
    let host = Setup::soft().start();
    host.create("a", "mac", "soft");
    let mut reply = host.post("/v1/keys/a/mac", json!({"message": ""})).ok();
    assert_eq!(tests::http::bytes(&reply["mac"].take()).len(), 32);
    let expected = json!({
        "mac": null, "key": "a", "version": 1, "provider": "soft", "protection": "software",
        "origin": "generated",
    });
    assert_eq!(reply, expected);
}

#[test]
fn mac_of_a_named_version_is_that_versions() {
    let (host, [first, second]) = host_with_two_versions();
    let mac = |version: u32| {
        let body = json!({"message": b64("text"), "version": version});
        host.post("/v1/keys/a/mac", body)
    };
    assert_eq!(mac(1).ok()["mac"], first);
    assert_eq!(mac(2).ok()["mac"], second);
    mac(3).problem(404, "not_found");
    mac(0).problem(404, "not_found");
    assert_ne!(first, second);
}

#[test]
fn verify_without_a_version_names_the_one_that_matches() {
    let (host, macs) = host_with_two_versions();
    for (mac, version) in macs.iter().zip([1, 2]) {
        let expected = json!({
            "valid": true, "key": "a", "version": version, "provider": "soft",
            "protection": "software", "origin": "generated",
        });
        assert_eq!(verify(&host, mac, None).ok(), expected);
    }
}

#[test]
fn verify_without_a_match_names_no_version() {
    let (host, _macs) = host_with_two_versions();
    let reply = verify(&host, &json!(b64([0; 32])), None);
    assert_eq!((reply.status, reply.ok()), (200, json!({"valid": false, "key": "a"})));
}

#[test]
fn verify_with_a_version_tries_no_other() {
    let (host, [first, _second]) = host_with_two_versions();
    assert_eq!(verify(&host, &first, Some(1)).ok()["valid"], true);
    assert_eq!(verify(&host, &first, Some(2)).ok()["valid"], false);
    verify(&host, &first, Some(3)).problem(404, "not_found");
}

#[test]
fn verify_of_a_mac_with_one_bit_changed_is_not_valid() {
    let (host, [first, _second]) = host_with_two_versions();
    let mac = tests::http::bytes(&first);
    for bit in [0, 100, 255] {
        let mut mac = mac.clone();
        mac[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(verify(&host, &json!(b64(mac)), None).ok()["valid"], false);
    }
}

#[test]
fn mac_of_another_length_is_invalid() {
    let (host, _macs) = host_with_two_versions();
    for bytes in [0, 31, 33] {
        verify(&host, &json!(b64(vec![0; bytes])), None).problem(400, "invalid");
    }
}

#[test]
fn message_with_the_label_of_sealing_is_invalid() {
    let host = Setup::soft().start();
    host.create("a", "mac", "soft");
    let message = [&wire::envelope::DEVICE_LABEL[..], b"more"].concat();
    let body = json!({"message": b64(&message)});
    host.post("/v1/keys/a/mac", body.clone()).problem(400, "invalid");
    let body = json!({"message": body["message"], "mac": b64([0; 32])});
    host.post("/v1/keys/a/verify", body).problem(400, "invalid");
}
