//! Modules that say less than they know: a wrong tag and a broken device under one return value, and
//! mechanisms that are advertised and fail as if the device were gone.
#![expect(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    reason = "integration tests, and what they share"
)]

mod bench;

use bench::{Key, Shim, on_shim};
use provider_core::{AeadInput, Capabilities, ErrorKind, Provider, Usage};
use swtpm_fixtures::SoftHsm;

const GENERAL_ERROR: u64 = 0x05;
const FUNCTION_FAILED: u64 = 0x06;
const DEVICE_ERROR: u64 = 0x30;
const DEVICE_REMOVED: u64 = 0x32;
const ENCRYPTED_DATA_INVALID: u64 = 0x40;
const AEAD_DECRYPT_FAILED: u64 = 0x42;
const ALWAYS: u32 = u32::MAX;

const INPUT: AeadInput<'_> = AeadInput { iv: b"0123456", aad: b"7891011", text: b"Hello World" };

/// Decrypts while one C_Decrypt answers by an error, or none does: what comes of it after two
/// attempts, and that no session and no login is lost by it.
fn check(
    hsm: &SoftHsm,
    shim: &Shim,
    right: bool,
    rules: &[(&str, u32, u32, &str, u64)],
    expected: Result<(), ErrorKind>,
) {
    let provider = shim.open(hsm).unwrap();
    let key = Key::generate(&provider, Usage::Aead, 1);
    let mut sealed = key.encrypt(&provider, INPUT).unwrap();
    if !right {
        sealed[0] ^= 1;
    }
    shim.control(rules);
    let outcome = key.decrypt(&provider, AeadInput { text: &sealed, ..INPUT });
    let outcome = outcome.map(|text| assert_eq!(text, INPUT.text)).map_err(|error| error.kind);
    assert_eq!(outcome, expected);
    // Each asks for the length before.
    assert_eq!(shim.calls("C_Decrypt"), 4);
    assert_eq!((shim.calls("C_OpenSession"), shim.calls("C_Login")), (0, 0));
}

#[test]
fn named_refusal_of_a_tag_is_believed() {
    on_shim(|hsm, shim| {
        for status in [ENCRYPTED_DATA_INVALID, AEAD_DECRYPT_FAILED] {
            let provider = shim.open(hsm).unwrap();
            let key = Key::generate(&provider, Usage::Aead, 1);
            key.encrypt(&provider, INPUT).unwrap();
            shim.control(&[("C_Decrypt", 2, 2, "after", status)]);
            let error = key.decrypt(&provider, AeadInput { text: &[1; 20], ..INPUT }).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Integrity, "{error}");
            assert_eq!((shim.calls("C_Decrypt"), shim.calls("C_Encrypt")), (2, 0));
            shim.control(&[]);
            provider.destroy(key.key_ref()).unwrap();
        }
    });
}

#[test]
fn unclear_refusal_of_a_wrong_tag_is_asked_for_twice() {
    on_shim(|hsm, shim| check(hsm, shim, false, &[], Err(ErrorKind::Integrity)));
}

#[test]
fn unclear_refusal_of_a_right_tag_is_a_moment_of_the_device() {
    on_shim(|hsm, shim| {
        let rules = [("C_Decrypt", 2, 2, "after", DEVICE_ERROR)];
        check(hsm, shim, true, &rules, Ok(()));
    });
}

#[test]
fn unclear_refusal_by_a_device_that_does_not_encrypt_either_is_no_integrity() {
    on_shim(|hsm, shim| {
        let rules = [
            ("C_Decrypt", 2, ALWAYS, "after", GENERAL_ERROR),
            ("C_EncryptInit", 1, ALWAYS, "rv", DEVICE_REMOVED),
        ];
        let provider = shim.open(hsm).unwrap();
        let key = Key::generate(&provider, Usage::Aead, 1);
        let sealed = key.encrypt(&provider, INPUT).unwrap();
        shim.control(&rules);
        let error = key.decrypt(&provider, AeadInput { text: &sealed, ..INPUT }).unwrap_err();
        assert_eq!(error.kind, ErrorKind::DeviceGone, "{error}");
        shim.control(&[]);
        let opened = key.decrypt(&provider, AeadInput { text: &sealed, ..INPUT });
        assert_eq!(opened.unwrap(), INPUT.text);
    });
}

#[test]
fn two_different_unclear_refusals_are_no_integrity() {
    on_shim(|hsm, shim| {
        let provider = shim.open(hsm).unwrap();
        let key = Key::generate(&provider, Usage::Aead, 1);
        let sealed = key.encrypt(&provider, INPUT).unwrap();
        shim.control(&[
            ("C_Decrypt", 2, 2, "after", FUNCTION_FAILED),
            ("C_Decrypt", 4, 4, "after", DEVICE_ERROR),
        ]);
        // Taken for a loss: connected anew, and once more.
        let opened = key.decrypt(&provider, AeadInput { text: &sealed, ..INPUT });
        assert_eq!(opened.unwrap(), INPUT.text);
        assert_eq!(shim.calls("C_Login"), 1);
    });
}

/// A module whose AES fails by a status opens, does the rest, and wraps.
fn check_lacking(hsm: &SoftHsm, shim: &Shim, function: &str, status: u64) {
    shim.control(&[(function, 1, ALWAYS, "rv", status)]);
    let provider = shim.open(hsm).unwrap();
    let capabilities = provider.info().capabilities;
    assert!(!capabilities.contains(Capabilities::AEAD));
    assert!(capabilities.contains(Capabilities::AEAD_WRAPPED.and(Capabilities::SIGN)));
    let key = Key::generate(&provider, Usage::Aead, 1);
    let sealed = key.encrypt(&provider, INPUT).unwrap();
    assert_eq!(key.decrypt(&provider, AeadInput { text: &sealed, ..INPUT }).unwrap(), INPUT.text);
    provider.self_test().unwrap();
    assert_eq!(hsm.objects().unwrap(), 2, "the marker and the wrapping key");
}

#[test]
fn encryption_that_fails_as_if_the_device_were_gone_is_lacking() {
    on_shim(|hsm, shim| check_lacking(hsm, shim, "C_EncryptInit", GENERAL_ERROR));
}

#[test]
fn encryption_that_fails_by_its_function_is_lacking() {
    on_shim(|hsm, shim| check_lacking(hsm, shim, "C_Encrypt", FUNCTION_FAILED));
}

#[test]
fn decryption_that_always_fails_is_lacking() {
    on_shim(|hsm, shim| check_lacking(hsm, shim, "C_Decrypt", GENERAL_ERROR));
}

#[test]
fn device_that_is_lost_during_a_trial_is_tried_again() {
    on_shim(|hsm, shim| {
        shim.control(&[("C_EncryptInit", 1, 1, "rv", DEVICE_REMOVED)]);
        let provider = shim.open(hsm).unwrap();
        assert!(provider.info().capabilities.contains(Capabilities::AEAD));
    });
}
