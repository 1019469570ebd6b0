//! AES-256-GCM on a real token, inside it and under an HMAC key of it.
#![expect(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    reason = "integration tests, and what they share"
)]

mod bench;

use bench::Form::{self, Inside, Wrapped};
use bench::{Key, Outsider, on_softhsm, open_for};
use cryptoki::object::{Attribute, KeyType, ObjectClass};
use provider_core::key::{
    AEAD_AAD_MAX_BYTES, AEAD_IV_MAX_BYTES, AEAD_TAG_BYTES, AEAD_TEXT_MAX_BYTES,
};
use provider_core::{AeadInput, ErrorKind, KeyId, Provider, Usage};
use swtpm_fixtures::SoftHsm;

const WRONG: AeadInput<'_> = AeadInput { iv: b"0123456", aad: b"7891011", text: &[7; 40] };

/// The key of the vectors of the Key Service.
fn ascending() -> [u8; 32] {
    std::array::from_fn(|place| u8::try_from(place).unwrap())
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> =
        text.chars().map(|digit| u8::try_from(digit.to_digit(16).unwrap()).unwrap()).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

fn check_vectors(hsm: &SoftHsm, form: Form) {
    let provider = open_for(hsm, form);
    let key = Key::import(&provider, Usage::Aead, 1, &ascending()).unwrap();
    for (iv, aad, text, sealed) in [
        (
            b"0123456".to_vec(),
            b"7891011".as_slice(),
            b"Hello World".as_slice(),
            "3a925a06b43e98593235c5c030747ae276a36e6aefbdc4a8125db3",
        ),
        (
            (0..12).collect(),
            b"ctx",
            b"Hello World",
            "0f67ba77aac59574ff2df3f623284fbc24a288956f53e0a7d8ec1d",
        ),
        (b"0123456".to_vec(), b"7891011", b"", "05d6323951c42ad8c5a23b1f8acd9089"),
    ] {
        let sealed = unhex(sealed);
        let input = AeadInput { iv: &iv, aad, text };
        assert_eq!(key.encrypt(&provider, input).unwrap(), sealed);
        assert_eq!(key.decrypt(&provider, AeadInput { text: &sealed, ..input }).unwrap(), text);
    }
}

#[test]
fn vectors_hold_inside_the_token() {
    on_softhsm(|hsm| check_vectors(hsm, Inside));
}

#[test]
fn vectors_hold_under_a_key_of_the_token() {
    on_softhsm(|hsm| check_vectors(hsm, Wrapped));
}

fn check_lengths(hsm: &SoftHsm, form: Form) {
    let provider = open_for(hsm, form);
    let reference = soft_aead::Key::new(&ascending());
    let key = Key::import(&provider, Usage::Aead, 1, &ascending()).unwrap();
    let bytes: Vec<u8> = (0..=u8::MAX).cycle().take(AEAD_TEXT_MAX_BYTES).collect();
    let shortly = (1..=AEAD_IV_MAX_BYTES).map(|iv| (iv, iv / 2, iv * 3));
    let texts = [0, 1, 15, 16, 17, 4096, AEAD_TEXT_MAX_BYTES].map(|text| (12, 1, text));
    let aads = [0, 1, 16, AEAD_AAD_MAX_BYTES].map(|aad| (AEAD_IV_MAX_BYTES, aad, 4096));
    for (iv, aad, text) in shortly.chain(texts).chain(aads) {
        let input = AeadInput { iv: &bytes[..iv], aad: &bytes[..aad], text: &bytes[..text] };
        let sealed = key.encrypt(&provider, input).unwrap();
        assert_eq!(sealed, reference.encrypt(input.iv, input.aad, input.text).unwrap());
        let opened = key.decrypt(&provider, AeadInput { text: &sealed, ..input });
        assert_eq!(opened.unwrap(), input.text, "{iv} {aad} {text}");
    }
}

#[test]
fn every_length_computes_alike_inside_the_token() {
    on_softhsm(|hsm| check_lengths(hsm, Inside));
}

#[test]
fn every_length_computes_alike_under_a_key_of_the_token() {
    on_softhsm(|hsm| check_lengths(hsm, Wrapped));
}

fn check_limits(hsm: &SoftHsm, form: Form) {
    let provider = open_for(hsm, form);
    let key = Key::generate(&provider, Usage::Aead, 1);
    let bytes = vec![1; AEAD_TEXT_MAX_BYTES + AEAD_TAG_BYTES + 1];
    for (iv, aad, text, sealed, kind) in [
        (0, 0, 0, 16, ErrorKind::InvalidParameter),
        (AEAD_IV_MAX_BYTES + 1, 0, 0, 16, ErrorKind::TooLarge),
        (1, AEAD_AAD_MAX_BYTES + 1, 0, 16, ErrorKind::TooLarge),
        (1, 0, AEAD_TEXT_MAX_BYTES + 1, AEAD_TEXT_MAX_BYTES + 17, ErrorKind::TooLarge),
    ] {
        let input = AeadInput { iv: &bytes[..iv], aad: &bytes[..aad], text: &bytes[..text] };
        assert_eq!(key.encrypt(&provider, input).unwrap_err().kind, kind);
        let input = AeadInput { text: &bytes[..sealed], ..input };
        assert_eq!(key.decrypt(&provider, input).unwrap_err().kind, kind);
    }
}

#[test]
fn one_past_each_limit_is_refused_inside_the_token() {
    on_softhsm(|hsm| check_limits(hsm, Inside));
}

#[test]
fn one_past_each_limit_is_refused_under_a_key_of_the_token() {
    on_softhsm(|hsm| check_limits(hsm, Wrapped));
}

fn check_tampering(hsm: &SoftHsm, form: Form) {
    let provider = open_for(hsm, form);
    let key = Key::generate(&provider, Usage::Aead, 1);
    let other = Key::generate(&provider, Usage::Aead, 2);
    let input = AeadInput { iv: b"0123456", aad: b"7891011", text: b"Hello World" };
    let mut sealed = key.encrypt(&provider, input).unwrap();
    let refused = |key: &Key, input: AeadInput<'_>| {
        let error = key.decrypt(&provider, input).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Integrity, "{error}");
    };
    for place in 0..sealed.len() {
        sealed[place] ^= 1;
        refused(&key, AeadInput { text: &sealed, ..input });
        sealed[place] ^= 1;
    }
    for length in 0..sealed.len() {
        refused(&key, AeadInput { text: &sealed[..length], ..input });
    }
    let whole = AeadInput { text: &sealed, ..input };
    refused(&key, AeadInput { iv: b"0123457", ..whole });
    refused(&key, AeadInput { iv: b"0123456\0", ..whole });
    refused(&key, AeadInput { aad: b"7891012", ..whole });
    refused(&key, AeadInput { aad: b"", ..whole });
    refused(&other, whole);
    assert_eq!(key.decrypt(&provider, whole).unwrap(), input.text);
}

#[test]
fn whatever_is_altered_is_integrity_inside_the_token() {
    on_softhsm(|hsm| check_tampering(hsm, Inside));
}

#[test]
fn whatever_is_altered_is_integrity_under_a_key_of_the_token() {
    on_softhsm(|hsm| check_tampering(hsm, Wrapped));
}

#[test]
fn wrong_tag_loses_neither_session_nor_handle() {
    on_softhsm(|hsm| {
        let provider = open_for(hsm, Inside);
        let key = Key::generate(&provider, Usage::Aead, 1);
        let sealed = key.encrypt(&provider, AeadInput { text: b"x", ..WRONG }).unwrap();
        plant(hsm, key.id);
        for _ in 0..10 {
            let error = key.decrypt(&provider, WRONG).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Integrity, "{error}");
        }
        // After connecting anew it would be looked for, and two be found.
        assert_eq!(key.decrypt(&provider, AeadInput { text: &sealed, ..WRONG }).unwrap(), b"x");
    });
}

/// Plants an AES key of others with an id.
fn plant(hsm: &SoftHsm, id: KeyId) {
    let template = [
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::AES),
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Encrypt(true),
        Attribute::Decrypt(true),
        Attribute::Id(id.0.to_vec()),
        Attribute::Label("sealhost aead".into()),
        Attribute::Value(vec![9; 32]),
    ];
    Outsider::enter(hsm).session.create_object(&template).unwrap();
}

#[test]
fn wrong_tag_on_a_token_that_is_away_is_no_integrity() {
    on_softhsm(|hsm| {
        let provider = open_for(hsm, Inside);
        let key = Key::generate(&provider, Usage::Aead, 1);
        let sealed = key.encrypt(&provider, AeadInput { text: b"x", ..WRONG }).unwrap();
        let whole = AeadInput { text: &sealed, ..WRONG };
        for _ in 0..2 {
            hsm.remove_token().unwrap();
            for input in [whole, WRONG] {
                assert_eq!(key.decrypt(&provider, input).unwrap_err().kind, ErrorKind::DeviceGone);
            }
            let gone = key.encrypt(&provider, whole).unwrap_err();
            assert_eq!(gone.kind, ErrorKind::DeviceGone, "{gone}");
            hsm.restore_token().unwrap();
            assert_eq!(key.decrypt(&provider, whole).unwrap(), b"x");
        }
    });
}

#[test]
fn object_destroyed_by_others_is_not_found() {
    on_softhsm(|hsm| {
        let provider = open_for(hsm, Inside);
        let key = Key::generate(&provider, Usage::Aead, 1);
        let sealed = key.encrypt(&provider, WRONG).unwrap();
        let outsider = Outsider::enter(hsm);
        let object = outsider.find(&[Attribute::Id(key.id.0.to_vec())]);
        outsider.session.destroy_object(object[0]).unwrap();
        for text in [sealed.as_slice(), WRONG.text] {
            let error = key.decrypt(&provider, AeadInput { text, ..WRONG }).unwrap_err();
            assert_eq!(error.kind, ErrorKind::KeyNotFound, "{error}");
        }
    });
}

#[test]
fn exchanged_object_is_refused() {
    on_softhsm(|hsm| {
        let provider = open_for(hsm, Inside);
        let key = Key::generate(&provider, Usage::Aead, 1);
        provider.destroy(key.key_ref()).unwrap();
        plant(hsm, key.id);
        let error = key.encrypt(&provider, WRONG).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Integrity, "{error}");
        assert_eq!(key.decrypt(&provider, WRONG).unwrap_err().kind, ErrorKind::Integrity);
    });
}

#[test]
fn vectors_of_check_values_are_refused_to_callers() {
    on_softhsm(|hsm| {
        let provider = open_for(hsm, Inside);
        let key = Key::generate(&provider, Usage::Aead, 1);
        let label = b"sealhost pkcs11 check\0";
        for iv in [label.to_vec(), [label.as_slice(), &[1; 32]].concat()] {
            let input = AeadInput { iv: &iv, ..WRONG };
            for error in [
                key.encrypt(&provider, input).unwrap_err(),
                key.decrypt(&provider, input).unwrap_err(),
            ] {
                assert_eq!(error.kind, ErrorKind::InvalidParameter, "{error}");
            }
        }
        key.encrypt(&provider, AeadInput { iv: &label[..21], ..WRONG }).unwrap();
    });
}

fn check_threads(hsm: &SoftHsm, form: Form) {
    let provider = open_for(hsm, form);
    let keys = [1, 2, 3].map(|number| Key::generate(&provider, Usage::Aead, number));
    std::thread::scope(|scope| {
        for thread in 0..8_u8 {
            let (provider, keys) = (&provider, &keys);
            scope.spawn(move || {
                for round in 0..100_u8 {
                    let key = &keys[usize::from(round % 3)];
                    let iv = [thread, round, 1];
                    let input = AeadInput { iv: &iv, aad: &[thread], text: &[round; 100] };
                    let sealed = key.encrypt(provider, input).unwrap();
                    let whole = AeadInput { text: &sealed, ..input };
                    assert_eq!(key.decrypt(provider, whole).unwrap(), input.text);
                    let error = key.decrypt(provider, AeadInput { aad: b"", ..whole }).unwrap_err();
                    assert_eq!(error.kind, ErrorKind::Integrity, "{error}");
                }
            });
        }
        let provider = &provider;
        scope.spawn(move || {
            for _ in 0..20 {
                let key = Key::generate(provider, Usage::Aead, 4);
                key.encrypt(provider, WRONG).unwrap();
                provider.destroy(key.key_ref()).unwrap();
            }
        });
    });
    assert_eq!(hsm.objects().unwrap(), 1 + keys.len());
}

#[test]
fn many_threads_compute_alike_inside_the_token() {
    on_softhsm(|hsm| check_threads(hsm, Inside));
}

#[test]
fn many_threads_compute_alike_under_a_key_of_the_token() {
    on_softhsm(|hsm| check_threads(hsm, Wrapped));
}
