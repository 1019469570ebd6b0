//! A TPM that goes, comes back, is replaced, or is not ready.

use std::sync::atomic::{AtomicBool, Ordering};

use provider_core::{ErrorKind, Provider, Usage};
use swtpm_fixtures::{CommandCounter, Swtpm};

use crate::support::{Bench, Key, check, open};

const HMAC: u32 = 0x155;
const RC_RETRY: u32 = 0x922;
const RC_REFERENCE_H0: u32 = 0x910;
const RC_AUTH_FAIL: u32 = 0x98E;

#[test]
fn stopped_tpm_is_gone_and_serves_again_when_back() {
    let mut bench = Bench::new();
    let (mac, sign) = (bench.key(Usage::Mac), bench.key(Usage::Sign));
    let before = mac.mac(&bench.provider).unwrap();
    bench.swtpm.stop().unwrap();
    for _ in 0..2 {
        check(mac.mac(&bench.provider), ErrorKind::DeviceGone, "no connection to the TPM");
    }
    check(bench.provider.random(&mut [0; 8]), ErrorKind::DeviceGone, "");
    bench.swtpm.start_again().unwrap();
    assert_eq!(mac.mac(&bench.provider).unwrap().expose(), before.expose());
    bench.provider.sign(sign.key_ref(), &[1; 32]).unwrap();
}

#[test]
fn reset_between_two_calls_is_not_noticed() {
    let mut bench = Bench::new();
    let keys: Vec<_> = (0..5).map(|_| bench.key(Usage::Mac)).collect();
    let bound = Key::generate(&bench.provider, Usage::Mac, Some("sha256:16")).unwrap();
    let before: Vec<_> = keys.iter().map(|key| key.mac(&bench.provider).unwrap()).collect();
    bound.mac(&bench.provider).unwrap();
    for _ in 0..3 {
        bench.swtpm.start_again().unwrap();
        for (key, before) in keys.iter().zip(&before) {
            assert_eq!(key.mac(&bench.provider).unwrap().expose(), before.expose());
        }
        bound.mac(&bench.provider).unwrap();
        bench.swtpm.start_again().unwrap();
        bench.provider.random(&mut [0; 8]).unwrap();
        bench.swtpm.start_again().unwrap();
        bench.key(Usage::Seal);
    }
}

#[test]
fn restarts_under_load_give_right_macs_or_a_gone_device() {
    let mut bench = Bench::new();
    let keys: Vec<_> = (0..4).map(|_| bench.key(Usage::Mac)).collect();
    let before: Vec<_> = keys.iter().map(|key| key.mac(&bench.provider).unwrap()).collect();
    let (provider, swtpm) = (&bench.provider, &mut bench.swtpm);
    let done = AtomicBool::new(false);
    let served = std::thread::scope(|scope| {
        let load = scope.spawn(|| {
            let mut served = 0;
            while !done.load(Ordering::SeqCst) {
                for (key, before) in keys.iter().zip(&before) {
                    match key.mac(provider) {
                        Ok(mac) => {
                            assert_eq!(mac.expose(), before.expose());
                            served += 1;
                        }
                        Err(error) => assert_eq!(error.kind, ErrorKind::DeviceGone, "{error}"),
                    }
                }
            }
            served
        });
        (0..15).for_each(|_| swtpm.start_again().unwrap());
        done.store(true, Ordering::SeqCst);
        load.join().unwrap()
    });
    assert!(served > 0);
    keys.iter().for_each(|key| drop(key.mac(provider).unwrap()));
}

#[test]
fn replaced_tpm_is_the_wrong_device_and_the_right_one_serves_again() {
    let mut bench = Bench::new();
    let key = bench.key(Usage::Mac);
    let state = bench.swtpm.state_directory().join("tpm2-00.permall");
    let kept = std::fs::read(&state).unwrap();
    bench.swtpm.fresh().unwrap();
    check(key.mac(&bench.provider), ErrorKind::WrongDevice, "not the recorded one");
    let reopened = open(&bench.swtpm.tcti(), &[], Some(&bench.identity));
    check(reopened, ErrorKind::WrongDevice, "not the recorded one");
    bench.swtpm.stop().unwrap();
    std::fs::write(&state, kept).unwrap();
    bench.swtpm.start_again().unwrap();
    key.mac(&bench.provider).unwrap();
}

#[test]
fn absent_tpm_is_gone() {
    let mut swtpm = Swtpm::start().unwrap();
    swtpm.stop().unwrap();
    check(open(&swtpm.tcti(), &[], None), ErrorKind::DeviceGone, "no connection");
    let device = open("device:/dev/no-such-tpm", &[], None);
    check(device, ErrorKind::DeviceGone, "/dev/no-such-tpm: No such file");
}

#[test]
fn tpm_that_nobody_started_is_started() {
    let (get_capability, startup, rc_initialize) = (0x17A, 0x144, 0x100);
    let swtpm = Swtpm::start().unwrap();
    let proxy = CommandCounter::in_front_of(&swtpm).unwrap();
    proxy.answer_next(get_capability, rc_initialize, 1);
    open(&proxy.tcti(), &[], None).unwrap();
    assert_eq!(proxy.counts().get(&startup), Some(&1));
}

#[test]
fn identity_of_another_kind_is_wrong_device() {
    let swtpm = Swtpm::start().unwrap();
    let foreign = provider_core::Identity(vec![9; 40]);
    let opened = open(&swtpm.tcti(), &[], Some(&foreign));
    check(opened, ErrorKind::WrongDevice, "not one of a TPM");
}

#[test]
fn altered_answer_is_not_believed() {
    let (hmac, pcr_read) = (HMAC, 0x17E);
    let swtpm = Swtpm::start().unwrap();
    let proxy = CommandCounter::in_front_of(&swtpm).unwrap();
    let (provider, _) = open(&proxy.tcti(), &[], None).unwrap();
    let key = Key::generate(&provider, Usage::Mac, None).unwrap();
    let before = key.mac(&provider).unwrap();
    proxy.alter_next(hmac, 1);
    assert_eq!(key.mac(&provider).unwrap().expose(), before.expose());
    proxy.alter_next(hmac, 2);
    check(key.mac(&provider), ErrorKind::Integrity, "altered on its way (0x7001b)");
    proxy.alter_next(pcr_read, 2);
    // With two values in the answer, its middle lies in the second.
    let bound = Key::generate(&provider, Usage::Mac, Some("sha256:7,8"));
    check(bound, ErrorKind::Integrity, "altered on its way (0x7001b)");
}

/// Lets the proxy answer the next HMAC commands with a code.
fn interfered(code: u32, times: u32) -> provider_core::Result<provider_core::Mac> {
    let swtpm = Swtpm::start().unwrap();
    let proxy = CommandCounter::in_front_of(&swtpm).unwrap();
    let (provider, _) = open(&proxy.tcti(), &[], None).unwrap();
    let key = Key::generate(&provider, Usage::Mac, None).unwrap();
    let before = key.mac(&provider).unwrap();
    proxy.answer_next(HMAC, code, times);
    let mac = key.mac(&provider)?;
    assert_eq!(mac.expose(), before.expose());
    Ok(mac)
}

#[test]
fn busy_tpm_is_asked_again() {
    interfered(RC_RETRY, 8).unwrap();
}

#[test]
fn tpm_that_stays_busy_is_busy() {
    check(interfered(RC_RETRY, u32::MAX), ErrorKind::Busy, "TPM_RC_RETRY (0x922)");
}

#[test]
fn lost_handle_is_rebuilt_once() {
    interfered(RC_REFERENCE_H0, 1).unwrap();
    check(interfered(RC_REFERENCE_H0, 2), ErrorKind::DeviceGone, "TPM_RC_REFERENCE_H0");
}

#[test]
fn stale_handle_met_while_making_room_does_not_blame_the_blob() {
    let (flush, rc_handle_of_parameter) = (0x165, 0x1CB);
    let swtpm = Swtpm::start().unwrap();
    let proxy = CommandCounter::in_front_of(&swtpm).unwrap();
    let (provider, _) = open(&proxy.tcti(), &[], None).unwrap();
    let keys: Vec<_> =
        (0..3).map(|_| Key::generate(&provider, Usage::Mac, None).unwrap()).collect();
    keys.iter().take(2).for_each(|key| drop(key.mac(&provider).unwrap()));
    proxy.answer_next(flush, rc_handle_of_parameter, 1);
    keys.iter().for_each(|key| drop(key.mac(&provider).unwrap()));
}

#[test]
fn refused_authorization_is_rebuilt_once() {
    interfered(RC_AUTH_FAIL, 1).unwrap();
    check(interfered(RC_AUTH_FAIL, 2), ErrorKind::DeviceAuth, "TPM_RC_AUTH_FAIL");
}

#[test]
fn unencrypted_answer_to_an_encrypted_command_is_not_believed() {
    // A bare success without the session's HMAC, as an interposer would send it.
    let outcome = interfered(0, 1);
    assert!(outcome.is_ok(), "asked again over a new session: {outcome:?}");
    check(
        interfered(0, u32::MAX),
        ErrorKind::Integrity,
        "the TPM's answer was altered on its way (0x80007)",
    );
}
