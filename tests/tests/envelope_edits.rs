//! Envelopes that were edited: every byte, every length. None opens, and none is a fault of the
//! host.
#![expect(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    reason = "integration tests, and what they share"
)]

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tests::{Sealhost, Setup};

const PREFIX: &str = "sealhost:1:";

/// Sends every edit of an envelope to `unseal`, which refuses it for a good reason, and to
/// `rewrap`, which does the same or, where only the payload was edited, moves it as it is: the
/// result does not open either.
#[track_caller]
fn check(edit: impl Fn(&[u8]) -> Vec<Vec<u8>>) {
    let host = Setup::soft().start();
    host.create("a", "seal", "soft");
    let _rotated = host.post("/v1/keys/a/rotate", json!({})).ok();
    let sealed = host.seal("a", "text");
    let edits = edit(&decoded(&sealed));
    assert!(edits.iter().all(|edited| *edited != decoded(&sealed)) && edits.len() > 100);
    refused(&results(&host, "unseal", &edits));
    let (moved, not_moved): (Vec<_>, Vec<_>) =
        results(&host, "rewrap", &edits).into_iter().partition(|it| it["error"].is_null());
    refused(&not_moved);
    let moved: Vec<_> = moved.iter().map(|it| decoded(it["sealed"].as_str().unwrap())).collect();
    refused(&results(&host, "unseal", &moved));
    assert_eq!(host.unseal("a", &sealed).status, 200);
}

#[track_caller]
fn refused(results: &[Value]) {
    for (index, result) in results.iter().enumerate() {
        let code = result["error"]["code"].as_str().unwrap_or("ok");
        let good = ["integrity", "malformed", "invalid", "not_found"].contains(&code);
        assert!(good, "edit {index} of {}: {result}", results.len());
    }
}

fn decoded(sealed: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(sealed.strip_prefix(PREFIX).unwrap()).unwrap()
}

fn results(host: &Sealhost, verb: &str, edits: &[Vec<u8>]) -> Vec<Value> {
    let item =
        |edited: &Vec<u8>| json!({"sealed": format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(edited))});
    let items: Vec<_> = edits.iter().map(item).collect();
    let batch = |items: &[Value]| {
        let reply = host.post(&format!("/v1/keys/a/{verb}"), json!({"items": items})).ok();
        reply["items"].as_array().unwrap().clone()
    };
    items.chunks(256).flat_map(batch).collect()
}

fn flipped(whole: &[u8], mask: u8) -> Vec<Vec<u8>> {
    let flip = |index: usize| {
        let mut edited = whole.to_vec();
        edited[index] ^= mask;
        edited
    };
    (0..whole.len()).map(flip).collect()
}

#[test]
fn envelope_with_its_lowest_bit_of_any_byte_flipped_does_not_open() {
    check(|whole| flipped(whole, 0x01));
}

#[test]
fn envelope_with_its_highest_bit_of_any_byte_flipped_does_not_open() {
    check(|whole| flipped(whole, 0x80));
}

#[test]
fn envelope_with_every_bit_of_any_byte_flipped_does_not_open() {
    check(|whole| flipped(whole, 0xff));
}

#[test]
fn envelope_cut_to_any_length_does_not_open() {
    check(|whole| (0..whole.len()).map(|length| whole[..length].to_vec()).collect());
}

#[test]
fn envelope_with_any_byte_left_out_or_doubled_does_not_open() {
    check(|whole| {
        let without = |index: usize| [&whole[..index], &whole[index + 1..]].concat();
        let doubled = |index: usize| [&whole[..=index], &whole[index..]].concat();
        (0..whole.len()).flat_map(|index| [without(index), doubled(index)]).collect()
    });
}
