//! The signer's disk failing at each call of a rotation: which slot signs is what was answered, or
//! where nothing was, one of the two; and a restart agrees.

use serde_json::json;
use tests::faults::{Calls, Faults, How, Lasting};
use tests::{Setup, rounds};

use crate::harness::{EVERYTHING, K1, K2, Signer};

/// Lets each of these calls fail in turn while the key is rotated to and fro.
#[track_caller]
fn check(calls: Calls, ways: &[How], lasting: Lasting) {
    let faults = Faults::new();
    let mut signer = Signer::over(Setup::soft().start(), EVERYTHING);
    signer.suffer(&faults);
    signer.start();
    assert!(faults.is_loaded(), "the storage is not under control");
    signer.import("dev", K1, "primary");
    signer.import("dev", K2, "secondary");
    let step = u32::try_from(rounds(1)).unwrap();
    let (mut active, mut refused) = ("primary", 0);
    for how in ways {
        for first in (1..).step_by(usize::try_from(step).unwrap()) {
            let other = if active == "primary" { "secondary" } else { "primary" };
            faults.arm(signer.directory(), calls, *how, first, lasting);
            let rotated = signer.post("/v1/keys/dev/rotate", json!({"to": other}));
            let fired = faults.fired() > 0;
            faults.disarm();
            if rotated.status >= 300 {
                let _said = rotated.problem(500, "internal");
                refused += 1;
            }
            signer.kill();
            signer.start();
            let found = signer.get("/v1/keys/dev").ok()["active"].as_str().unwrap().to_owned();
            assert!(found == other || (found == active && rotated.status == 500), "{found}");
            assert_eq!(signer.token("dev", json!({})).ok()["slot"], found);
            active = if found == other { other } else { active };
            if !fired {
                break;
            }
        }
    }
    assert!(refused > 0, "nothing failed");
    let _whole = signer.verified_audit();
    assert!(!signer.log().contains("panicked"), "{}", signer.log());
}

#[test]
fn write_that_fails_leaves_one_slot_that_signs() {
    check(Calls::Writes, &[How::Broken, How::Full, How::Short, How::Lost], Lasting::Once);
    check(Calls::Writes, &[How::ReadOnly], Lasting::UntilDisarmed);
}

#[test]
fn sync_that_fails_leaves_one_slot_that_signs() {
    check(Calls::Syncs, &[How::Broken], Lasting::Once);
    check(Calls::Syncs, &[How::Broken], Lasting::UntilDisarmed);
}

#[test]
fn file_that_cannot_be_made_or_renamed_leaves_one_slot_that_signs() {
    check(Calls::Creates, &[How::Full], Lasting::Once);
    check(Calls::Renames, &[How::Broken, How::ReadOnly], Lasting::Once);
}
