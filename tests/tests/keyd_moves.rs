//! Key pairs that clients of the aziot Key Service move: nothing is lost by a device that is away,
//! by others that ask meanwhile, or by the host's end at any moment.
//!
//! The long run: `TESTS_ROUNDS=200 cargo test -p tests --test keyd_moves -- killed --nocapture`.
#![expect(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    reason = "integration tests, and what they share"
)]

use std::time::Instant;

use aws_lc_rs::{digest, signature};
use serde_json::{Value, json};
use swtpm_fixtures::Swtpm;
use tests::keyd::{bytes_of, sign_digest, versioned};
use tests::{Dice, Response, Sealhost, Setup, b64, http, rounds};

/// The longest time from a request to a kill, in milliseconds.
const LONGEST_MS: usize = 12;

fn move_to(host: &Sealhost, to: &str, from: &str) -> Response {
    host.keyd("POST", &format!("/keypair/{to}"), &json!({"from": from}))
}

/// A handle of a pair, if there is one.
fn find(host: &Sealhost, id: &str) -> Option<String> {
    let reply = host.keyd_load(&format!("/keypair/{id}"));
    assert!([200, 400].contains(&reply.status), "{}", reply.json());
    (reply.status == 200).then(|| reply.text("keyHandle"))
}

fn signs(host: &Sealhost, handle: &str) -> Response {
    host.keyd("POST", "/sign", &sign_digest(handle, &[7; 32]))
}

/// The public half of a pair, by the native API, which tells all of it.
fn point(host: &Sealhost, id: &str) -> Vec<u8> {
    let public = host.get(&format!("/v1/keys/keyd%2Fpair%2F{id}/public")).ok();
    let coordinate = |name: &str| {
        use base64::Engine as _;
        let text = public["jwk"][name].as_str().unwrap();
        base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(text).unwrap()
    };
    [vec![4], coordinate("x"), coordinate("y")].concat()
}

/// Makes a pair by the native API, in a provider that the dialect does not use.
fn pair_in(host: &Sealhost, id: &str, provider: &str) {
    host.create(&format!("keyd%2Fpair%2F{id}"), "sign", provider);
}

/// Moves `from` to `to` while the provider of one of both is away; both are there afterwards.
#[track_caller]
fn check_nothing_is_lost(from: &str, to: &str) {
    let mut swtpm = Swtpm::start().unwrap();
    let mut host = Setup::default().with_tpm(&swtpm).with_soft().with_keyd(&["tpm"], "").start();
    pair_in(&host, "from", from);
    pair_in(&host, "to", to);
    let points = [point(&host, "from"), point(&host, "to")];
    assert!(host.stop().success());
    swtpm.stop().unwrap();
    host.start();
    let reply = move_to(&host, "to", "from");
    assert_eq!((reply.status, &reply.json()["code"]), (503, &json!("unavailable")));
    swtpm.start_again().unwrap();
    host.wait_until("the TPM is used again", |host| host.provider("tpm")["state"] == "open");
    assert_eq!([point(&host, "from"), point(&host, "to")], points);
    assert_eq!(move_to(&host, "to", "from").status, 204);
    assert_eq!(point(&host, "to"), points[0]);
}

#[test]
fn move_of_a_pair_whose_device_is_away_destroys_nothing() {
    check_nothing_is_lost("tpm", "soft");
}

#[test]
fn move_over_a_pair_whose_device_is_away_destroys_nothing() {
    check_nothing_is_lost("soft", "tpm");
}

#[test]
fn deletion_that_comes_while_a_pair_is_moved_does_not_delete_the_one_that_was_moved() {
    let setup = Setup::default().with_soft_behind_faults("slow", "");
    let host = setup.with_keyd(&["slow"], "").start();
    let _from = host.keyd_pair("from", "*");
    let replaced = host.keyd_pair("to", "*");
    let moved = point(&host, "from");
    host.plan("slow", "destroy slow 700ms");
    std::thread::scope(|scope| {
        let moving = scope.spawn(|| move_to(&host, "to", "from").status);
        host.wait_until("the move has begun", |host| {
            host.audit().iter().any(|line| line["kind"] == "intent" && line["operation"] == "move")
        });
        let of_replaced = json!({"keyHandle": replaced});
        assert_eq!(host.keyd("DELETE", "/keypair", &of_replaced).status, 204);
        assert_eq!(moving.join().unwrap(), 204);
    });
    assert_eq!(point(&host, "to"), moved);
}

#[test]
fn two_deletions_at_once_are_both_answered_as_done() {
    let setup = Setup::default().with_soft_behind_faults("slow", "");
    let host = setup.with_keyd(&["slow"], "").start();
    let handle = host.keyd_create("a", "sign");
    host.plan("slow", "destroy slow 300ms");
    let delete = || host.keyd("DELETE", "/key", &json!({"keyHandle": handle})).status;
    std::thread::scope(|scope| {
        let other = scope.spawn(delete);
        assert_eq!((delete(), other.join().unwrap()), (204, 204));
    });
}

#[test]
fn two_moves_that_cross_do_not_wait_for_each_other() {
    let host = Setup::soft().with_keyd(&["soft"], "").start();
    for _ in 0..10 {
        let _handles = (host.keyd_pair("a", "*"), host.keyd_pair("b", "*"));
        std::thread::scope(|scope| {
            let one = scope.spawn(|| move_to(&host, "a", "b").status);
            let other = move_to(&host, "b", "a").status;
            // Whichever is second finds nothing to move, or moves back what the first moved.
            let statuses = [one.join().unwrap(), other];
            assert!(statuses.contains(&204), "{statuses:?}");
        });
        let left = ["a", "b"].iter().filter(|id| find(&host, id).is_some()).count();
        assert_eq!(left, 1);
    }
}

#[test]
fn handle_of_a_pair_that_was_moved_away_and_back_stays_void() {
    let host = Setup::soft().with_keyd(&["soft"], "").start();
    let first = host.keyd_pair("a", "*");
    assert_eq!(move_to(&host, "b", "a").status, 204);
    let moved = find(&host, "b").unwrap();
    assert_eq!(move_to(&host, "a", "b").status, 204);
    for handle in [first, moved] {
        assert_eq!(signs(&host, &handle).status, 400);
        let reply = host.keyd("DELETE", "/keypair", &json!({"keyHandle": handle}));
        assert!([204, 400].contains(&reply.status));
    }
    assert_eq!(signs(&host, &find(&host, "a").unwrap()).status, 200);
}

#[test]
fn audit_names_both_ids_of_a_move() {
    let host = Setup::soft().with_keyd(&["soft"], "").start();
    let _pair = host.keyd_pair("here", "*");
    let reply = move_to(&host, "there", "here");
    let lines = host.audit_of(reply.id());
    let kinds: Vec<_> = lines.iter().map(|line| line["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["intent", "outcome"]);
    for line in &lines {
        assert_eq!(
            (&line["key"], &line["from"]),
            (&json!("keyd/pair/there"), &json!("keyd/pair/here"))
        );
    }
    let _whole = host.verified_audit();
}

#[test]
fn key_of_the_native_api_that_seals_is_not_moved_away_from_its_envelopes() {
    let host = Setup::soft().with_keyd(&["soft"], "").start();
    let name = "keyd%2Fpair%2Fa";
    host.create(name, "seal", "soft");
    let sealed = host.seal(name, "text");
    assert_eq!(move_to(&host, "b", "a").status, 400);
    assert_eq!(host.unseal(name, &sealed).text("plaintext"), b64("text"));
}

/// Moves a pair over another whose destruction fails so; then again, without a fault.
#[track_caller]
fn check_failed_destruction(fault: &str) {
    let setup = Setup::default().with_soft_behind_faults("faulty", "");
    let host = setup.with_keyd(&["faulty"], "").start();
    let _handles = (host.keyd_pair("from", "*"), host.keyd_pair("to", "*"));
    let made = point(&host, "from");
    host.plan("faulty", &format!("destroy:1 {fault}"));
    let failed = move_to(&host, "to", "from");
    assert!(failed.status >= 500, "{fault}: {}", failed.json());
    host.plan("faulty", "");
    host.wait_until("the pair is there", |host| {
        host.get("/v1/keys/keyd%2Fpair%2Ffrom/public").status == 200
    });
    assert_eq!(point(&host, "from"), made);
    host.wait_until("it can be moved", |host| move_to(host, "to", "from").status == 204);
    assert_eq!(point(&host, "to"), made);
    assert!(find(&host, "from").is_none());
    let _whole = host.verified_audit();
}

#[test]
fn move_over_a_pair_that_cannot_be_destroyed_moves_nothing_and_can_be_repeated() {
    for fault in ["crash", "after crash", "gone", "internal"] {
        check_failed_destruction(fault);
    }
}

/// A host that is killed while it moves a pair to and fro, over others and over nothing.
#[test]
fn killed_host_has_a_moved_pair_under_exactly_one_name() {
    let begun = Instant::now();
    let mut dice = Dice::new();
    let mut host = Setup::soft().with_keyd(&["soft"], "").start();
    let (mut moved, mut stayed) = (0, 0);
    for round in 0..rounds(25) {
        let [from, to] = ["from", "to"].map(|name| format!("{name}{round}"));
        let _made = host.keyd_pair(&from, "*");
        if dice.below(2) == 0 {
            let _replaced = host.keyd_pair(&to, "*");
        }
        let made = point(&host, &from);
        let socket = host.keyd_socket();
        let target = versioned(&format!("/keypair/{to}"));
        let body = json!({"from": from}).to_string();
        let after = dice.millis(LONGEST_MS);
        let answer = std::thread::scope(|scope| {
            let asked =
                scope.spawn(|| http::try_request(&socket, "POST", &target, body.as_bytes()));
            std::thread::sleep(after);
            host.kill();
            asked.join().unwrap().ok().filter(|reply| reply.status != 0)
        });
        if dice.below(5) == 0 {
            host.start_and_kill(dice.millis(150));
        }
        host.start();
        let (old, new) = (find(&host, &from), find(&host, &to));
        let new = new.filter(|_| point(&host, &to) == made);
        let (id, handle) = match (old, new) {
            (Some(old), None) => {
                assert!(answer.is_none_or(|reply| reply.status != 204), "a move was undone");
                stayed += 1;
                (from, old)
            }
            (None, Some(new)) => {
                moved += 1;
                (to, new)
            }
            (old, new) => panic!("round {round}: {old:?} and {new:?}\n{}", host.log()),
        };
        assert_eq!(point(&host, &id), made);
        check_signature(&host, &handle, &made);
    }
    println!("{moved} moved, {stayed} stayed, in {:?}", begun.elapsed());
    let _whole = host.verified_audit();
    let unfinished = host.get("/v1/keys").ok().to_string();
    assert!(!unfinished.contains("creating") && !unfinished.contains("destroying"));
}

fn check_signature(host: &Sealhost, handle: &str, point: &[u8]) {
    let digest = digest::digest(&digest::SHA256, b"message");
    let reply = host.keyd("POST", "/sign", &sign_digest(handle, digest.as_ref()));
    let key = signature::UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_ASN1, point);
    key.verify(b"message", &bytes_of(&reply, "signature")).unwrap();
    let _: Value = reply.json();
}
