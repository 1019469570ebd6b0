//! One user's flood does not stand between another user and a device.
#![expect(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    reason = "integration tests, and what they share"
)]

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use serde_json::json;
use swtpm_fixtures::{SoftHsm, Swtpm};
use tests::http::Kept;
use tests::{Sealhost, Setup, User, b64};

const GREEDY: u32 = 4302;
const FLOOD: u32 = 32;
const ASKED: u32 = 100;

fn rules() -> String {
    let rule = |uid| {
        format!("[[rule]]\nprincipal = {{ uid = {uid} }}\nkeys = [\"**\"]\noperations = [\"*\"]\n")
    };
    [0, GREEDY].map(rule).concat()
}

/// Asks a hundred times beside a user who asks on many connections at once, and counts how many
/// answers that one gets meanwhile: counted, because the machine may be slow, and never timed.
///
/// Without turns there would be as many for each request as the flood has connections.
#[track_caller]
fn check(host: &Sealhost, provider: &str, most_for_each: u32) {
    host.create("m", "mac", provider);
    let body = json!({"message": b64([7; 64])}).to_string();
    let ask = |connection: &mut Kept| {
        let reply = connection.request("POST", "/v1/keys/m/mac", body.as_bytes()).unwrap();
        assert_eq!(reply.status, 200, "{}", String::from_utf8_lossy(&reply.body));
    };
    let (answered, stop) = (AtomicU32::new(0), AtomicBool::new(false));
    let meanwhile = std::thread::scope(|scope| {
        for _ in 0..FLOOD {
            scope.spawn(|| {
                User::new(GREEDY).does(|| {
                    let mut connection = Kept::connect(&host.socket()).unwrap();
                    while !stop.load(Ordering::Relaxed) {
                        ask(&mut connection);
                        answered.fetch_add(1, Ordering::Relaxed);
                    }
                });
            });
        }
        let mut modest = Kept::connect(&host.socket()).unwrap();
        host.wait_until("the flood", |_| answered.load(Ordering::Relaxed) > 4 * FLOOD);
        // The first tells the host that somebody else asks too.
        ask(&mut modest);
        let before = answered.load(Ordering::Relaxed);
        for _ in 0..ASKED {
            ask(&mut modest);
        }
        let after = answered.load(Ordering::Relaxed);
        stop.store(true, Ordering::Relaxed);
        after - before
    });
    assert!(meanwhile <= most_for_each * ASKED, "{meanwhile} for {ASKED}");
}

#[test]
fn users_take_turns_at_a_tpm() {
    let swtpm = Swtpm::start().unwrap();
    let setup = Setup::default().with_tpm(&swtpm).for_everybody().with_rules(&rules());
    check(&setup.start(), "tpm", 8);
}

#[test]
fn users_take_turns_at_a_token_that_takes_several_calls() {
    let hsm = SoftHsm::start("fair", "1234").unwrap();
    let setup = Setup::default().with_hsm(&hsm).for_everybody().with_rules(&rules());
    check(&setup.start(), "hsm", 12);
}
