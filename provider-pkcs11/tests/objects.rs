//! Objects on a real token: what protects them, what tells them from planted ones, and how many
//! are left.
#![expect(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    clippy::panic,
    reason = "integration tests, and what they share"
)]

mod bench;

use aws_lc_rs::hmac;
use bench::{Key, Outsider, on_softhsm, open, spec};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use provider_core::key::{IMPORT_MAX_BYTES, SEAL_LABEL};
use provider_core::{ErrorKind, KeyBlob, KeyId, KeyRef, Provider, SecretBytes, Usage};
use swtpm_fixtures::SoftHsm;

/// Every usage, with a number to name a key by.
const USAGES: [(Usage, u8); 5] =
    [(Usage::Seal, 1), (Usage::Mac, 2), (Usage::Sign, 3), (Usage::Aead, 4), (Usage::Rsa, 5)];

/// Plants a secret key of others with the id of a key.
fn plant(outsider: &Outsider, id: KeyId, label: &str) -> ObjectHandle {
    let template = [
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::GENERIC_SECRET),
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Sign(true),
        Attribute::Id(id.0.to_vec()),
        Attribute::Label(label.into()),
        Attribute::Value(vec![9; 64]),
    ];
    outsider.session.create_object(&template).unwrap()
}

fn check_import(hsm: &SoftHsm, length: usize, expected: Option<ErrorKind>) {
    let (provider, _) = open(hsm, None).unwrap();
    let bytes: Vec<u8> = (1..=u8::MAX).cycle().take(length).collect();
    let spec = spec(Usage::Mac, 1);
    match (provider.import(&spec, &SecretBytes::copy_of(&bytes)), expected) {
        (Ok(KeyBlob(blob)), None) => {
            let key = Key { usage: Usage::Mac, id: spec.id, blob };
            let expected = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &bytes), b"message");
            assert_eq!(key.mac(&provider).unwrap(), expected.as_ref());
        }
        (Err(error), Some(kind)) => {
            assert_eq!(error.kind, kind, "{error}");
            assert_eq!(hsm.objects().unwrap(), 1, "something but the marker is left");
        }
        (outcome, _) => panic!("{outcome:?}"),
    }
}

#[test]
fn import_of_one_byte_macs_alike() {
    on_softhsm(|hsm| check_import(hsm, 1, None));
}

#[test]
fn import_of_twenty_bytes_macs_alike() {
    on_softhsm(|hsm| check_import(hsm, 20, None));
}

#[test]
fn import_of_one_block_macs_alike() {
    on_softhsm(|hsm| check_import(hsm, 64, None));
}

#[test]
fn import_one_past_a_block_macs_alike() {
    on_softhsm(|hsm| check_import(hsm, 65, None));
}

#[test]
fn import_at_the_limit_macs_alike() {
    on_softhsm(|hsm| check_import(hsm, IMPORT_MAX_BYTES, None));
}

#[test]
fn import_one_past_the_limit_is_too_large() {
    on_softhsm(|hsm| check_import(hsm, IMPORT_MAX_BYTES + 1, Some(ErrorKind::TooLarge)));
}

#[test]
fn import_of_nothing_is_invalid() {
    on_softhsm(|hsm| check_import(hsm, 0, Some(ErrorKind::InvalidParameter)));
}

#[test]
fn what_each_key_may_be_used_for_is_what_its_usage_needs() {
    on_softhsm(|hsm| {
        let (provider, _) = open(hsm, None).unwrap();
        for (usage, number) in USAGES {
            let key = Key::generate(&provider, usage, number);
            let outsider = Outsider::enter(hsm);
            let object = outsider.find(&[Attribute::Id(key.id.0.to_vec())])[0];
            let encrypts = usage == Usage::Aead;
            let mut wanted = vec![Attribute::Sign(!encrypts), Attribute::Derive(false)];
            if usage != Usage::Sign {
                wanted.extend([Attribute::Decrypt(encrypts), Attribute::Unwrap(false)]);
            }
            if !matches!(usage, Usage::Sign | Usage::Rsa) {
                wanted.extend([
                    Attribute::Encrypt(encrypts),
                    Attribute::Verify(false),
                    Attribute::Wrap(false),
                ]);
            }
            let types: Vec<_> = wanted.iter().map(Attribute::attribute_type).collect();
            let read = outsider.session.get_attributes(object, &types).unwrap();
            assert_eq!(read, wanted, "{usage:?}");
        }
    });
}

#[test]
fn every_object_on_the_token_keeps_its_key_to_itself() {
    on_softhsm(|hsm| {
        let (provider, _) = open(hsm, None).unwrap();
        for (usage, number) in USAGES {
            Key::generate(&provider, usage, number);
        }
        for (usage, number) in [(Usage::Mac, 6), (Usage::Sign, 7), (Usage::Aead, 8)] {
            Key::import(&provider, usage, number, &[7; 32]).unwrap();
        }
        let outsider = Outsider::enter(hsm);
        let objects = outsider.find(&[Attribute::Token(true)]);
        assert_eq!(objects.len(), 1 + USAGES.len() + 3, "marker, generated, imported");
        let wanted =
            [Attribute::Private(true), Attribute::Sensitive(true), Attribute::Extractable(false)];
        for object in objects {
            let types = wanted.each_ref().map(Attribute::attribute_type);
            let read = outsider.session.get_attributes(object, &types).unwrap();
            assert!(wanted.iter().all(|attribute| read.contains(attribute)), "{read:?}");
            let secret = [AttributeType::Value, AttributeType::PrivateExponent];
            let value = outsider.session.get_attributes(object, &secret).unwrap();
            assert_eq!(value, []);
        }
    });
}

#[test]
fn destroy_leaves_no_object() {
    on_softhsm(|hsm| {
        let (provider, _) = open(hsm, None).unwrap();
        let before = hsm.objects().unwrap();
        for (usage, number) in USAGES {
            let key = Key::generate(&provider, usage, number);
            assert_eq!(hsm.objects().unwrap(), before + 1);
            provider.destroy(KeyRef { blob: &[], ..key.key_ref() }).unwrap();
            assert_eq!(hsm.objects().unwrap(), before);
            provider.destroy(key.key_ref()).unwrap();
        }
    });
}

#[test]
fn destroy_spares_the_object_of_another_program() {
    on_softhsm(|hsm| {
        let (provider, _) = open(hsm, None).unwrap();
        plant(&Outsider::enter(hsm), KeyId([1; 16]), "payroll");
        let key = KeyRef { usage: Usage::Mac, id: KeyId([1; 16]), blob: &[] };
        provider.destroy(key).unwrap();
        assert_eq!(hsm.objects().unwrap(), 2);
    });
}

#[test]
fn generate_with_an_id_of_the_token_is_key_exists() {
    on_softhsm(|hsm| {
        let (provider, _) = open(hsm, None).unwrap();
        plant(&Outsider::enter(hsm), KeyId([1; 16]), "payroll");
        for (usage, _) in USAGES {
            let error = provider.generate(&spec(usage, 1)).unwrap_err();
            assert_eq!(error.kind, ErrorKind::KeyExists);
        }
        assert_eq!(hsm.objects().unwrap(), 2);
    });
}

#[test]
fn second_object_with_the_id_is_refused_when_looked_for() {
    on_softhsm(|hsm| {
        let (provider, identity) = open(hsm, None).unwrap();
        let key = Key::generate(&provider, Usage::Mac, 1);
        plant(&Outsider::enter(hsm), key.id, "sealhost mac");
        let (fresh, _) = open(hsm, Some(&identity)).unwrap();
        assert_eq!(key.mac(&fresh).unwrap_err().kind, ErrorKind::Integrity);
    });
}

#[test]
fn handle_once_found_is_not_looked_for_again() {
    on_softhsm(|hsm| {
        let (provider, _) = open(hsm, None).unwrap();
        let key = Key::generate(&provider, Usage::Mac, 1);
        let before = key.mac(&provider).unwrap();
        // Looking again would meet the planted object and refuse.
        plant(&Outsider::enter(hsm), key.id, "sealhost mac");
        assert_eq!(key.mac(&provider), Ok(before));
    });
}

#[test]
fn exchanged_object_is_refused() {
    on_softhsm(|hsm| {
        let (provider, _) = open(hsm, None).unwrap();
        let key = Key::generate(&provider, Usage::Mac, 1);
        key.mac(&provider).unwrap();
        let outsider = Outsider::enter(hsm);
        let original = outsider.find(&[Attribute::Id(key.id.0.to_vec())]);
        outsider.session.destroy_object(original[0]).unwrap();
        plant(&outsider, key.id, "sealhost mac");
        assert_eq!(key.mac(&provider).unwrap_err().kind, ErrorKind::Integrity);
    });
}

#[test]
fn exchanged_signing_key_is_refused() {
    on_softhsm(|hsm| {
        let (provider, _) = open(hsm, None).unwrap();
        let old = Key::generate(&provider, Usage::Sign, 1);
        provider.destroy(old.key_ref()).unwrap();
        let new = Key::generate(&provider, Usage::Sign, 1);
        provider.sign(new.key_ref(), &[1; 32]).unwrap();
        assert_eq!(provider.sign(old.key_ref(), &[1; 32]).unwrap_err().kind, ErrorKind::Integrity);
        assert_eq!(provider.public_key(old.key_ref()).unwrap_err().kind, ErrorKind::Integrity);
    });
}

#[test]
fn object_destroyed_by_others_is_not_found() {
    on_softhsm(|hsm| {
        let (provider, _) = open(hsm, None).unwrap();
        let key = Key::generate(&provider, Usage::Mac, 1);
        key.mac(&provider).unwrap();
        let outsider = Outsider::enter(hsm);
        let original = outsider.find(&[Attribute::Id(key.id.0.to_vec())]);
        outsider.session.destroy_object(original[0]).unwrap();
        assert_eq!(key.mac(&provider).unwrap_err().kind, ErrorKind::KeyNotFound);
    });
}

#[test]
fn blob_with_any_bit_flipped_is_refused() {
    on_softhsm(|hsm| {
        let (provider, _) = open(hsm, None).unwrap();
        let mut key = Key::generate(&provider, Usage::Mac, 1);
        key.mac(&provider).unwrap();
        for place in 0..key.blob.len() {
            key.blob[place] ^= 0x80;
            let kind = key.mac(&provider).unwrap_err().kind;
            let expected =
                [ErrorKind::Integrity, ErrorKind::InvalidParameter, ErrorKind::WrongDevice];
            assert!(expected.contains(&kind), "byte {place}: {kind:?}");
            key.blob[place] ^= 0x80;
        }
        key.mac(&provider).unwrap();
    });
}

#[test]
fn blob_edited_to_another_usage_is_refused_by_the_object() {
    on_softhsm(|hsm| {
        let (provider, _) = open(hsm, None).unwrap();
        let mut key = Key::generate(&provider, Usage::Mac, 1);
        // The usage is the last byte of the number behind the five bytes of magic.
        assert_eq!(key.blob[8], 2);
        key.blob[8] = 1;
        key.usage = Usage::Seal;
        let input = [SEAL_LABEL.as_slice(), b"x"].concat();
        let error = provider.mac(key.key_ref(), &input).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Integrity, "{error}");
    });
}

#[test]
fn input_of_check_values_is_refused_to_seal_keys() {
    on_softhsm(|hsm| {
        let (provider, _) = open(hsm, None).unwrap();
        let key = Key::generate(&provider, Usage::Seal, 1);
        let input = [SEAL_LABEL.as_slice(), b"\xff\xff\xff\xffpkcs11 check\0", &key.blob].concat();
        let error = provider.mac(key.key_ref(), &input).unwrap_err();
        assert_eq!(error.kind, ErrorKind::InvalidParameter, "{error}");
    });
}

#[test]
fn random_past_the_limit_is_too_large() {
    on_softhsm(|hsm| {
        let (provider, _) = open(hsm, None).unwrap();
        provider.random(&mut [0; 1024]).unwrap();
        assert_eq!(provider.random(&mut [0; 1025]).unwrap_err().kind, ErrorKind::TooLarge);
    });
}

#[test]
fn keys_are_made_and_destroyed_while_others_work() {
    on_softhsm(|hsm| {
        let (provider, _) = open(hsm, None).unwrap();
        let own = hsm.objects().unwrap();
        let worker = Key::generate(&provider, Usage::Mac, 1);
        let before = worker.mac(&provider).unwrap();
        let gone = Key::generate(&provider, Usage::Mac, 2);
        provider.destroy(gone.key_ref()).unwrap();
        let until = std::time::Instant::now() + std::time::Duration::from_secs(3);
        let running = || std::time::Instant::now() < until;
        std::thread::scope(|scope| {
            for number in 3..5 {
                let provider = &provider;
                scope.spawn(move || {
                    while running() {
                        for usage in [Usage::Mac, Usage::Sign] {
                            let key = Key::generate(provider, usage, number);
                            provider.destroy(key.key_ref()).unwrap();
                        }
                        let import = spec(Usage::Mac, number);
                        let KeyBlob(blob) =
                            provider.import(&import, &SecretBytes::copy_of(b"key")).unwrap();
                        let key = Key { usage: import.usage, id: import.id, blob };
                        // Its first use finds the object.
                        key.mac(provider).unwrap();
                        provider.destroy(key.key_ref()).unwrap();
                    }
                });
            }
            scope.spawn(|| {
                while running() {
                    // Looking for what is not there goes through all objects.
                    assert_eq!(gone.mac(&provider).unwrap_err().kind, ErrorKind::KeyNotFound);
                }
            });
            while running() {
                assert_eq!(worker.mac(&provider).unwrap(), before);
            }
        });
        assert_eq!(hsm.objects().unwrap(), own + 1);
    });
}
