//! AES keys on a real token: their life, their blobs, and that each stays what it was made as.
#![expect(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    reason = "integration tests, and what they share"
)]

mod bench;

use bench::Form::{self, Inside, Wrapped};
use bench::{Key, on_softhsm, open, open_for};
use provider_core::{AeadInput, ErrorKind, KeyRef, Provider, Usage};
use swtpm_fixtures::SoftHsm;

const WRONG: AeadInput<'_> = AeadInput { iv: b"0123456", aad: b"7891011", text: &[7; 40] };

fn check_life(hsm: &SoftHsm, form: Form) {
    let provider = open_for(hsm, form);
    let own = hsm.objects().unwrap();
    let generated = Key::generate(&provider, Usage::Aead, 1);
    assert_eq!(hsm.objects().unwrap(), own + 1);
    for bytes in [&[1; 31][..], &[1; 33], &[]] {
        let error = Key::import(&provider, Usage::Aead, 2, bytes).map(drop).unwrap_err();
        assert_eq!(error.kind, ErrorKind::InvalidParameter, "{error}");
    }
    let exists = Key::import(&provider, Usage::Aead, 1, &[1; 32]).map(drop).unwrap_err();
    assert_eq!(exists.kind, ErrorKind::KeyExists, "{exists}");
    assert_eq!(hsm.objects().unwrap(), own + 1, "a failure left something");
    let sealed = generated.encrypt(&provider, WRONG).unwrap();
    drop(provider);

    let (provider, _) = open(hsm, None).unwrap();
    let whole = AeadInput { text: &sealed, ..WRONG };
    assert_eq!(generated.decrypt(&provider, whole).unwrap(), WRONG.text);
    provider.destroy(KeyRef { blob: &[], ..generated.key_ref() }).unwrap();
    assert_eq!(hsm.objects().unwrap(), own);
    let error = generated.decrypt(&provider, whole).unwrap_err();
    assert_eq!(error.kind, ErrorKind::KeyNotFound, "{error}");
}

#[test]
fn key_survives_reopening_and_leaves_nothing_inside_the_token() {
    on_softhsm(|hsm| check_life(hsm, Inside));
}

#[test]
fn key_survives_reopening_and_leaves_nothing_under_a_key_of_the_token() {
    on_softhsm(|hsm| check_life(hsm, Wrapped));
}

fn check_blob(hsm: &SoftHsm, form: Form) {
    let provider = open_for(hsm, form);
    let mut key = Key::generate(&provider, Usage::Aead, 1);
    for place in 0..key.blob.len() {
        key.blob[place] ^= 0x80;
        let kind = key.encrypt(&provider, WRONG).unwrap_err().kind;
        let expected = [ErrorKind::Integrity, ErrorKind::InvalidParameter, ErrorKind::WrongDevice];
        assert!(expected.contains(&kind), "byte {place}: {kind:?}");
        key.blob[place] ^= 0x80;
    }
    key.encrypt(&provider, WRONG).unwrap();
}

#[test]
fn blob_with_any_byte_altered_is_refused_inside_the_token() {
    on_softhsm(|hsm| check_blob(hsm, Inside));
}

#[test]
fn blob_with_any_byte_altered_is_refused_under_a_key_of_the_token() {
    on_softhsm(|hsm| check_blob(hsm, Wrapped));
}

#[test]
fn wrapping_key_answers_as_no_key_of_another_usage() {
    on_softhsm(|hsm| {
        let provider = open_for(hsm, Wrapped);
        let key = Key::generate(&provider, Usage::Aead, 1);
        // The check value stands behind the form, before the salt of 32 and the wrapped key of 40.
        let form = key.blob.len() - 40 - 32 - 32 - 1;
        let mut blob = key.blob[..form].to_vec();
        blob.extend_from_slice(&key.blob[form + 1..form + 33]);
        let seal_input = [provider_core::key::SEAL_LABEL.as_slice(), b"aead"].concat();
        for (usage, input) in
            [(Usage::Seal, seal_input.as_slice()), (Usage::Mac, b"message".as_slice())]
        {
            // The usage is the last byte of the number behind the five bytes of magic.
            blob[8] = u8::try_from(usage.number()).unwrap();
            let forged = KeyRef { usage, id: key.id, blob: &blob };
            let error = provider.mac(forged, input).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Integrity, "{error}");
        }
    });
}

#[test]
fn usages_exclude_each_other() {
    on_softhsm(|hsm| {
        let provider = open_for(hsm, Inside);
        let aead = Key::generate(&provider, Usage::Aead, 1);
        let mac = Key::generate(&provider, Usage::Mac, 2);
        let as_usage = |key: &Key, usage| Key { usage, id: key.id, blob: key.blob.clone() };
        for error in [
            aead.mac(&provider).unwrap_err(),
            as_usage(&aead, Usage::Mac).mac(&provider).unwrap_err(),
            mac.encrypt(&provider, WRONG).unwrap_err(),
            mac.decrypt(&provider, WRONG).unwrap_err(),
            as_usage(&mac, Usage::Aead).encrypt(&provider, WRONG).unwrap_err(),
            provider.sign(aead.key_ref(), &[1; 32]).unwrap_err(),
            provider.public_key(aead.key_ref()).map(drop).unwrap_err(),
            provider.rsa_public(aead.key_ref()).map(drop).unwrap_err(),
            provider.rsa_private(aead.key_ref(), &[0; 256]).map(drop).unwrap_err(),
        ] {
            assert_eq!(error.kind, ErrorKind::InvalidParameter, "{error}");
        }
    });
}

#[test]
fn key_inside_is_not_taken_out_when_the_mechanism_goes() {
    on_softhsm(|hsm| {
        let provider = open_for(hsm, Inside);
        let key = Key::generate(&provider, Usage::Aead, 1);
        drop(provider);
        let provider = open_for(hsm, Wrapped);
        let error = key.encrypt(&provider, WRONG).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unsupported, "{error}");
    });
}

#[test]
fn wrapped_key_goes_on_when_the_mechanism_comes() {
    on_softhsm(|hsm| {
        let conf = std::fs::read(hsm.conf_path()).unwrap();
        let provider = open_for(hsm, Wrapped);
        let key = Key::generate(&provider, Usage::Aead, 1);
        let sealed = key.encrypt(&provider, WRONG).unwrap();
        drop(provider);
        std::fs::write(hsm.conf_path(), conf).unwrap();
        let provider = open_for(hsm, Inside);
        let opened = key.decrypt(&provider, AeadInput { text: &sealed, ..WRONG });
        assert_eq!(opened.unwrap(), WRONG.text);
    });
}

#[test]
fn unwrapped_key_is_dropped_with_the_connection() {
    on_softhsm(|hsm| {
        let provider = open_for(hsm, Wrapped);
        let key = Key::generate(&provider, Usage::Aead, 1);
        let sealed = key.encrypt(&provider, WRONG).unwrap();
        let whole = AeadInput { text: &sealed, ..WRONG };
        let noticing = Key::generate(&provider, Usage::Mac, 2);
        hsm.remove_token().unwrap();
        assert_eq!(noticing.mac(&provider).unwrap_err().kind, ErrorKind::DeviceGone);
        assert_eq!(key.decrypt(&provider, whole).unwrap_err().kind, ErrorKind::DeviceGone);
        hsm.restore_token().unwrap();
        assert_eq!(key.decrypt(&provider, whole).unwrap(), WRONG.text);
    });
}
