//! RSA keys and imported signing keys on a real token.
#![expect(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    reason = "integration tests, and what they share"
)]

mod bench;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{Digest, SHA256, digest};
use aws_lc_rs::rsa::PublicKeyComponents;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256};
use bench::{Key, hide, on_softhsm, open, spec};
use provider_core::key::PRIVATE_KEY_BYTES;
use provider_core::{
    Algorithm, Capabilities, ErrorKind, KeyBlob, KeyRef, KeySpec, Provider, PublicKey, RsaModulus,
    Usage,
};
use provider_pkcs11::Pkcs11Provider;
use swtpm_fixtures::SoftHsm;

fn rsa_spec(algorithm: Algorithm, number: u8) -> KeySpec {
    KeySpec { algorithm, ..spec(Usage::Rsa, number) }
}

fn generate(provider: &Pkcs11Provider, algorithm: Algorithm, number: u8) -> Key {
    let spec = rsa_spec(algorithm, number);
    let KeyBlob(blob) = provider.generate(&spec).unwrap();
    Key { usage: spec.usage, id: spec.id, blob }
}

/// A message as PKCS #1 v1.5 pads it for a signature (RFC 8017 section 9.2).
fn padded(message: &[u8], length: usize) -> Vec<u8> {
    let mut end = vec![0, 0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65];
    end.extend_from_slice(&[0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20]);
    end.extend_from_slice(digest(&SHA256, message).as_ref());
    let mut padded = vec![0xff; length - end.len()];
    padded[..2].copy_from_slice(&[0, 1]);
    padded.extend_from_slice(&end);
    padded
}

/// Lets a key sign by its bare operation, and others verify.
fn check_rsa(provider: &Pkcs11Provider, key: &Key, bytes: usize) {
    let RsaModulus(modulus) = provider.rsa_public(key.key_ref()).unwrap();
    assert_eq!(modulus.len(), bytes);
    let signature = provider.rsa_private(key.key_ref(), &padded(b"message", bytes)).unwrap();
    let public = PublicKeyComponents { n: modulus.as_slice(), e: &[1, 0, 1][..] };
    public.verify(&RSA_PKCS1_2048_8192_SHA256, b"message", signature.expose()).unwrap();
}

#[test]
fn rsa_2048_computes_and_survives_reopening() {
    on_softhsm(|hsm| {
        let (provider, identity) = open(hsm, None).unwrap();
        let key = generate(&provider, Algorithm::Rsa2048, 1);
        check_rsa(&provider, &key, 256);
        drop(provider);
        let (provider, _) = open(hsm, Some(&identity)).unwrap();
        check_rsa(&provider, &key, 256);
        provider.destroy(KeyRef { blob: &[], ..key.key_ref() }).unwrap();
        assert_eq!(hsm.objects().unwrap(), 1);
        let error = provider.rsa_public(key.key_ref()).unwrap_err();
        assert_eq!(error.kind, ErrorKind::KeyNotFound, "{error}");
    });
}

#[test]
fn others_work_while_an_rsa_4096_key_is_made() {
    on_softhsm(|hsm| {
        let (provider, _) = open(hsm, None).unwrap();
        let mac = Key::generate(&provider, Usage::Mac, 1);
        let before = mac.mac(&provider).unwrap();
        let made = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let making = scope.spawn(|| {
                let started = Instant::now();
                let key = generate(&provider, Algorithm::Rsa4096, 2);
                let took = started.elapsed();
                made.store(true, Ordering::Release);
                (key, took)
            });
            let mut longest = Duration::ZERO;
            while !made.load(Ordering::Acquire) {
                let started = Instant::now();
                assert_eq!(mac.mac(&provider).unwrap(), before);
                longest = longest.max(started.elapsed());
            }
            let (key, took) = making.join().unwrap();
            assert!(longest < took / 2, "waited {longest:?} of {took:?}");
            check_rsa(&provider, &key, 512);
        });
        assert_eq!(hsm.objects().unwrap(), 3);
    });
}

#[test]
fn input_that_is_no_number_below_the_modulus_is_invalid() {
    on_softhsm(|hsm| {
        let (provider, _) = open(hsm, None).unwrap();
        let key = generate(&provider, Algorithm::Rsa2048, 1);
        let RsaModulus(modulus) = provider.rsa_public(key.key_ref()).unwrap();
        let mut last = modulus.clone();
        last[255] -= 1;
        // (n - 1) to an odd power is n - 1 again.
        assert_eq!(provider.rsa_private(key.key_ref(), &last).unwrap().expose(), last);
        assert_eq!(provider.rsa_private(key.key_ref(), &[0; 256]).unwrap().expose(), [0; 256]);
        for input in [&modulus, &vec![0xff; 256], &vec![1; 255], &vec![0; 257], &vec![]] {
            let error = provider.rsa_private(key.key_ref(), input).unwrap_err();
            assert_eq!(error.kind, ErrorKind::InvalidParameter, "{error}");
        }
    });
}

#[test]
fn exchanged_rsa_key_is_refused() {
    on_softhsm(|hsm| {
        let (provider, _) = open(hsm, None).unwrap();
        let old = generate(&provider, Algorithm::Rsa2048, 1);
        provider.destroy(old.key_ref()).unwrap();
        let new = generate(&provider, Algorithm::Rsa2048, 1);
        check_rsa(&provider, &new, 256);
        let errors = [
            provider.rsa_public(old.key_ref()).unwrap_err(),
            provider.rsa_private(old.key_ref(), &[1; 256]).unwrap_err(),
        ];
        for error in errors {
            assert!(
                matches!(error.kind, ErrorKind::Integrity | ErrorKind::InvalidParameter),
                "{error}"
            );
        }
    });
}

#[test]
fn rsa_blob_with_any_byte_altered_is_refused() {
    on_softhsm(|hsm| {
        let (provider, _) = open(hsm, None).unwrap();
        let mut key = generate(&provider, Algorithm::Rsa2048, 1);
        for place in 0..key.blob.len() {
            key.blob[place] ^= 0x40;
            let kind = provider.rsa_public(key.key_ref()).unwrap_err().kind;
            let expected =
                [ErrorKind::Integrity, ErrorKind::InvalidParameter, ErrorKind::WrongDevice];
            assert!(expected.contains(&kind), "byte {place}: {kind:?}");
            key.blob[place] ^= 0x40;
        }
        check_rsa(&provider, &key, 256);
    });
}

#[test]
fn token_without_the_bare_operation_makes_no_rsa_key() {
    on_softhsm(|hsm| {
        hide(hsm, "CKM_RSA_X_509");
        let (provider, _) = open(hsm, None).unwrap();
        let capabilities = provider.info().capabilities;
        for (algorithm, capability) in [
            (Algorithm::Rsa2048, Capabilities::RSA_2048),
            (Algorithm::Rsa4096, Capabilities::RSA_4096),
        ] {
            assert!(!capabilities.contains(capability));
            let error = provider.generate(&rsa_spec(algorithm, 1)).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Unsupported, "{error}");
        }
        assert_eq!(hsm.objects().unwrap(), 1);
    });
}

#[test]
fn rsa_key_of_the_algorithm_of_another_usage_is_unsupported() {
    on_softhsm(|hsm| {
        let (provider, _) = open(hsm, None).unwrap();
        for (usage, algorithm) in
            [(Usage::Rsa, Algorithm::EcdsaP256), (Usage::Sign, Algorithm::Rsa2048)]
        {
            let error = provider.generate(&KeySpec { algorithm, ..spec(usage, 1) }).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Unsupported, "{error}");
        }
    });
}

fn check_sign(hsm: &SoftHsm, private: &[u8; PRIVATE_KEY_BYTES], point: [u8; 65]) {
    let (provider, _) = open(hsm, None).unwrap();
    let key = Key::import(&provider, Usage::Sign, 1, private).unwrap();
    assert_eq!(provider.public_key(key.key_ref()).unwrap(), PublicKey(point));
    let signature = provider.sign(key.key_ref(), &[5; 32]).unwrap();
    let public = ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).unwrap();
    let digest = Digest::import_less_safe(&[5; 32], &SHA256).unwrap();
    public.verify_digest_sig(&digest, &signature.0).unwrap();
    provider.destroy(key.key_ref()).unwrap();
    assert_eq!(hsm.objects().unwrap(), 1);
}

/// The generator of P-256, as the public half of the private number 1 (SEC 2 section 2.4.2).
const GENERATOR: [u8; 65] = [
    0x04, 0x6b, 0x17, 0xd1, 0xf2, 0xe1, 0x2c, 0x42, 0x47, 0xf8, 0xbc, 0xe6, 0xe5, 0x63, 0xa4, 0x40,
    0xf2, 0x77, 0x03, 0x7d, 0x81, 0x2d, 0xeb, 0x33, 0xa0, 0xf4, 0xa1, 0x39, 0x45, 0xd8, 0x98, 0xc2,
    0x96, 0x4f, 0xe3, 0x42, 0xe2, 0xfe, 0x1a, 0x7f, 0x9b, 0x8e, 0xe7, 0xeb, 0x4a, 0x7c, 0x0f, 0x9e,
    0x16, 0x2b, 0xce, 0x33, 0x57, 0x6b, 0x31, 0x5e, 0xce, 0xcb, 0xb6, 0x40, 0x68, 0x37, 0xbf, 0x51,
    0xf5,
];

#[test]
fn smallest_private_number_signs_as_the_generator() {
    on_softhsm(|hsm| {
        let mut one = [0; 32];
        one[31] = 1;
        check_sign(hsm, &one, GENERATOR);
    });
}

/// RFC 6979 section A.2.5.
#[test]
fn published_private_number_signs_as_its_published_point() {
    on_softhsm(|hsm| {
        let hex = |text: &str| -> Vec<u8> {
            let digit = |place| u8::from_str_radix(&text[place..place + 2], 16).unwrap();
            (0..text.len()).step_by(2).map(digit).collect()
        };
        let private = hex("c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721");
        let point = hex(concat!(
            "04",
            "60fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6",
            "7903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299"
        ));
        check_sign(hsm, &private.try_into().unwrap(), point.try_into().unwrap());
    });
}

#[test]
fn what_is_no_private_number_is_invalid_and_leaves_nothing() {
    on_softhsm(|hsm| {
        let (provider, _) = open(hsm, None).unwrap();
        for bytes in [&[0; 32][..], &[0xff; 32], &[1; 31], &[1; 33], &[]] {
            let error = Key::import(&provider, Usage::Sign, 1, bytes).map(drop).unwrap_err();
            assert_eq!(error.kind, ErrorKind::InvalidParameter, "{error}");
        }
        for usage in [Usage::Seal, Usage::Rsa] {
            let error = Key::import(&provider, usage, 1, &[1; 32]).map(drop).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Unsupported, "{error}");
        }
        assert_eq!(hsm.objects().unwrap(), 1);
    });
}
