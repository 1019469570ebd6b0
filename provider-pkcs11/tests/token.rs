//! Tokens that go away, come back, are exchanged, or refuse a PIN: on a real SoftHSM.
#![expect(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    reason = "integration tests, and what they share"
)]

mod bench;

use std::sync::Barrier;

use bench::{Key, Outsider, PIN, on_softhsm, open, pin, settings};
use cryptoki::session::UserType;
use cryptoki::types::AuthPin;
use provider_core::{ErrorKind, Identity, Provider, ProviderError, Secrets, Settings, Usage};
use provider_pkcs11::Pkcs11Provider;
use swtpm_fixtures::SoftHsm;

/// Makes a key, lets `harm` happen, and expects the same MAC as before.
fn check_recovery(hsm: &SoftHsm, harm: impl FnOnce(Outsider)) {
    let (provider, _) = open(hsm, None).unwrap();
    let (mac, sign) =
        (Key::generate(&provider, Usage::Mac, 1), Key::generate(&provider, Usage::Sign, 2));
    let before = mac.mac(&provider).unwrap();
    harm(Outsider::enter(hsm));
    assert_eq!(mac.mac(&provider), Ok(before));
    provider.sign(sign.key_ref(), &[1; 32]).unwrap();
}

fn check_open(
    hsm: &SoftHsm,
    token: &str,
    secrets: Secrets,
    known: Option<&Identity>,
    expected: (ErrorKind, &str),
) -> ProviderError {
    let settings = Settings::new([("module", hsm.module_path()), ("token", token)]);
    let error = Pkcs11Provider::open(settings, secrets, known).map(drop).unwrap_err();
    assert_eq!(error.kind, expected.0, "{error}");
    assert!(error.detail.contains(expected.1), "{error}");
    error
}

#[test]
fn sessions_closed_by_others_are_opened_again() {
    on_softhsm(|hsm| check_recovery(hsm, Outsider::close_all_sessions));
}

#[test]
fn module_finalized_by_others_is_initialized_again() {
    on_softhsm(|hsm| check_recovery(hsm, Outsider::finalize));
}

#[test]
fn login_ended_by_others_is_made_again() {
    on_softhsm(|hsm| check_recovery(hsm, |outsider| outsider.session.logout().unwrap()));
}

#[test]
fn removed_token_is_gone_and_works_again_when_it_is_back() {
    on_softhsm(|hsm| {
        let (provider, _) = open(hsm, None).unwrap();
        let key = Key::generate(&provider, Usage::Seal, 1);
        let input = [provider_core::key::SEAL_LABEL.as_slice(), b"x"].concat();
        let mac = || provider.mac(key.key_ref(), &input).map(|mac| mac.expose().to_vec());
        let before = mac().unwrap();
        for _ in 0..3 {
            hsm.remove_token().unwrap();
            assert_eq!(mac().unwrap_err().kind, ErrorKind::DeviceGone);
            assert_eq!(mac().unwrap_err().kind, ErrorKind::DeviceGone);
            assert_eq!(provider.random(&mut [0; 8]).unwrap_err().kind, ErrorKind::DeviceGone);
            hsm.restore_token().unwrap();
            assert_eq!(mac(), Ok(before.clone()));
        }
    });
}

#[test]
fn removed_token_is_gone_also_for_a_key_that_was_not_used_yet() {
    on_softhsm(|hsm| {
        let (provider, _) = open(hsm, None).unwrap();
        let [mac, sign] = [(Usage::Mac, 1), (Usage::Sign, 2)]
            .map(|(usage, number)| Key::generate(&provider, usage, number));
        hsm.remove_token().unwrap();
        assert_eq!(mac.mac(&provider).unwrap_err().kind, ErrorKind::DeviceGone);
        let signed = provider.sign(sign.key_ref(), &[1; 32]);
        assert_eq!(signed.unwrap_err().kind, ErrorKind::DeviceGone);
        hsm.restore_token().unwrap();
        mac.mac(&provider).unwrap();
        provider.sign(sign.key_ref(), &[1; 32]).unwrap();
    });
}

#[test]
fn key_made_while_the_sessions_are_lost_is_made_once() {
    on_softhsm(|hsm| {
        let (provider, _) = open(hsm, None).unwrap();
        Outsider::enter(hsm).close_all_sessions();
        let key = Key::generate(&provider, Usage::Mac, 1);
        key.mac(&provider).unwrap();
        assert_eq!(hsm.objects().unwrap(), 2, "the marker and the key");
    });
}

#[test]
fn token_removed_under_many_threads_blocks_none_of_them() {
    on_softhsm(|hsm| {
        let (provider, _) = open(hsm, None).unwrap();
        let key = Key::generate(&provider, Usage::Mac, 1);
        let before = key.mac(&provider).unwrap();
        let meeting = Barrier::new(5);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let lost = loop {
                        match key.mac(&provider) {
                            Ok(mac) => assert_eq!(mac, before),
                            Err(error) => break error,
                        }
                    };
                    assert_eq!(lost.kind, ErrorKind::DeviceGone, "{lost}");
                    meeting.wait();
                    meeting.wait();
                    assert_eq!(key.mac(&provider).as_ref(), Ok(&before));
                });
            }
            hsm.remove_token().unwrap();
            meeting.wait();
            hsm.restore_token().unwrap();
            meeting.wait();
        });
    });
}

#[test]
fn instances_on_one_module_survive_each_other() {
    on_softhsm(|hsm| {
        hsm.add_token("other", PIN).unwrap();
        let other = || {
            let token = ("token", "pkcs11:token=other");
            let settings = Settings::new([("module", hsm.module_path()), token]);
            Pkcs11Provider::open(settings, pin(PIN), None).unwrap().0
        };
        let (one, two) = (open(hsm, None).unwrap().0, other());
        let of_one = Key::generate(&one, Usage::Mac, 1);
        let of_two = Key::generate(&two, Usage::Mac, 1);
        let [before_one, before_two] = [of_one.mac(&one).unwrap(), of_two.mac(&two).unwrap()];
        // The first initializes the module anew: session numbers begin again, and those of the
        // second may now be the first one's.
        hsm.remove_token().unwrap();
        assert_eq!(of_one.mac(&one).unwrap_err().kind, ErrorKind::DeviceGone);
        hsm.restore_token().unwrap();
        assert_eq!(of_one.mac(&one), Ok(before_one.clone()));
        assert_eq!(of_two.mac(&two), Ok(before_two));
        // Closing one leaves the module to the other.
        drop(two);
        assert_eq!(of_one.mac(&one), Ok(before_one));
    });
}

#[test]
fn more_threads_than_sessions_wait_for_each_other() {
    on_softhsm(|hsm| {
        let entries = settings(hsm);
        let entries = Settings::new(entries.iter().chain([("sessions", "2")]));
        let (provider, _) = Pkcs11Provider::open(entries, pin(PIN), None).unwrap();
        assert_eq!(provider.info().concurrency, 2);
        let key = Key::generate(&provider, Usage::Mac, 1);
        let before = key.mac(&provider).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    (0..50).for_each(|_| assert_eq!(key.mac(&provider).as_ref(), Ok(&before)))
                });
            }
        });
    });
}

#[test]
fn absent_token_is_gone_at_open() {
    on_softhsm(|hsm| {
        check_open(
            hsm,
            "pkcs11:token=none",
            pin(PIN),
            None,
            (ErrorKind::DeviceGone, "there: \"edge\""),
        );
        hsm.remove_token().unwrap();
        assert_eq!(open(hsm, None).map(drop).unwrap_err().kind, ErrorKind::DeviceGone);
        hsm.restore_token().unwrap();
        open(hsm, None).unwrap();
    });
}

#[test]
fn exchanged_token_of_the_same_name_is_another_device() {
    on_softhsm(|hsm| {
        let (provider, identity) = open(hsm, None).unwrap();
        let key = Key::generate(&provider, Usage::Mac, 1);
        hsm.remove_token().unwrap();
        hsm.add_token("edge", PIN).unwrap();
        assert_eq!(key.mac(&provider).unwrap_err().kind, ErrorKind::WrongDevice);
        drop(provider);
        let expected = (ErrorKind::WrongDevice, "its serial is");
        check_open(hsm, "pkcs11:token=edge", pin(PIN), Some(&identity), expected);
    });
}

#[test]
fn token_without_our_marker_is_another_device() {
    on_softhsm(|hsm| {
        let (provider, identity) = open(hsm, None).unwrap();
        drop(provider);
        hsm.destroy_objects().unwrap();
        let expected = (ErrorKind::WrongDevice, "no marker");
        check_open(hsm, "pkcs11:token=edge", pin(PIN), Some(&identity), expected);
    });
}

#[test]
fn marker_is_made_once() {
    on_softhsm(|hsm| {
        let (_, first) = open(hsm, None).unwrap();
        let (_, second) = open(hsm, None).unwrap();
        assert_eq!(first, second);
        assert_eq!(hsm.objects().unwrap(), 1);
    });
}

#[test]
fn edited_identity_is_another_device() {
    on_softhsm(|hsm| {
        let (_, Identity(identity)) = open(hsm, None).unwrap();
        for place in 0..identity.len() {
            let mut edited = identity.clone();
            edited[place] ^= 1;
            let error = open(hsm, Some(&Identity(edited))).map(drop).unwrap_err();
            assert_eq!(error.kind, ErrorKind::WrongDevice, "byte {place}: {error}");
        }
    });
}

#[test]
fn wrong_pin_is_device_auth_and_named_without_the_pin() {
    on_softhsm(|hsm| {
        let expected = (ErrorKind::DeviceAuth, "C_Login: CKR_PIN_INCORRECT");
        let error = check_open(hsm, "pkcs11:token=edge", pin("87654321"), None, expected);
        assert!(error.detail.contains("serial"), "{error}");
        assert!(!error.detail.contains("87654321"), "{error}");
    });
}

#[test]
fn missing_pin_is_told() {
    on_softhsm(|hsm| {
        let expected = (ErrorKind::InvalidParameter, "pin_source");
        check_open(hsm, "pkcs11:token=edge", Secrets::default(), None, expected);
    });
}

#[test]
fn refused_pin_is_not_tried_again_until_reopened() {
    on_softhsm(|hsm| {
        let (provider, identity) = open(hsm, None).unwrap();
        let key = Key::generate(&provider, Usage::Mac, 1);
        let [ours, theirs] = [PIN, "87654321"].map(|pin| AuthPin::new(pin.into()));

        let outsider = Outsider::enter(hsm);
        outsider.session.set_pin(&ours, &theirs).unwrap();
        outsider.session.logout().unwrap();
        assert_eq!(key.mac(&provider).unwrap_err().kind, ErrorKind::DeviceAuth);

        // With the old PIN in force again, one more try would succeed.
        let outsider = Outsider::enter(hsm);
        outsider.session.login(UserType::User, Some(&theirs)).unwrap();
        outsider.session.set_pin(&theirs, &ours).unwrap();
        outsider.session.logout().unwrap();
        assert_eq!(key.mac(&provider).unwrap_err().kind, ErrorKind::DeviceAuth);
        assert_eq!(provider.random(&mut [0; 8]).unwrap_err().kind, ErrorKind::DeviceAuth);

        let (provider, _) = open(hsm, Some(&identity)).unwrap();
        key.mac(&provider).unwrap();
    });
}

#[test]
fn label_of_two_tokens_is_refused() {
    on_softhsm(|hsm| {
        hsm.add_token("edge", PIN).unwrap();
        let expected = (ErrorKind::InvalidParameter, "add serial=");
        check_open(hsm, "pkcs11:token=edge", pin(PIN), None, expected);
    });
}

#[test]
fn empty_slot_does_not_make_a_maker_ambiguous() {
    on_softhsm(|hsm| {
        let token = ("token", "pkcs11:manufacturer=SoftHSM%20project");
        let settings = Settings::new([("module", hsm.module_path()), token]);
        Pkcs11Provider::open(settings, pin(PIN), None).unwrap();
    });
}

#[test]
fn slot_number_of_a_readable_token_is_refused() {
    on_softhsm(|hsm| {
        let (provider, _) = open(hsm, None).unwrap();
        let slot = Outsider::enter(hsm).slot().id();
        drop(provider);
        let expected = (ErrorKind::InvalidParameter, "use token=edge;serial=");
        check_open(hsm, &format!("pkcs11:slot-id={slot}"), pin(PIN), None, expected);
    });
}

#[test]
fn library_that_is_no_module_is_unsupported() {
    on_softhsm(|hsm| {
        let libc = "/lib/x86_64-linux-gnu/libm.so.6".replace("x86_64", std::env::consts::ARCH);
        let entries = settings(hsm);
        let entries = entries.iter().filter(|(key, _)| *key != "module");
        let entries = Settings::new(entries.chain([("module", libc.as_str())]));
        let error = Pkcs11Provider::open(entries, pin(PIN), None).map(drop).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unsupported, "{error}");
        assert!(error.detail.contains("C_GetFunctionList"), "{error}");
    });
}
