//! RSA keys: the bare operation, and what it refuses.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};
use provider_core::{Algorithm, Capabilities, ErrorKind, KeyBlob, KeyRef, Provider, Usage};
use swtpm_fixtures::{CommandCounter, Swtpm};

use crate::support::{Bench, Key, check, loaded, open, spec};

const MESSAGE: &[u8] = b"message";
/// DigestInfo of SHA-256 up to the digest (RFC 8017, 9.2, note 1).
const SHA256_INFO: [u8; 19] = [
    0x30, 0x31, 0x30, 0x0D, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05,
    0x00, 0x04, 0x20,
];

/// EMSA-PKCS1-v1_5 (RFC 8017, 9.2) of the message.
fn padded(length: usize) -> Vec<u8> {
    let info = [&SHA256_INFO[..], digest(&SHA256, MESSAGE).as_ref()].concat();
    let filling = vec![0xFF; length - info.len() - 3];
    [&[0, 1][..], &filling, &[0], &info].concat()
}

/// Signs by the bare operation and lets another implementation verify that.
fn check_signature(bench: &Bench, key: &Key) {
    let modulus = bench.provider.rsa_public(key.key_ref()).unwrap().0;
    let input = padded(modulus.len());
    let signature = bench.provider.rsa_private(key.key_ref(), &input).unwrap();
    assert_eq!(signature.len(), modulus.len());
    let public = RsaPublicKeyComponents { n: &modulus[..], e: &[1, 0, 1][..] };
    public.verify(&RSA_PKCS1_2048_8192_SHA256, MESSAGE, signature.expose()).unwrap();
}

#[test]
fn padded_digest_becomes_a_signature_that_verifies() {
    let mut bench = Bench::new();
    let key = bench.key(Usage::Rsa);
    assert_eq!(bench.provider.rsa_public(key.key_ref()).unwrap().0.len(), 256);
    check_signature(&bench, &key);
    bench.swtpm.start_again().unwrap();
    check_signature(&bench, &key);
}

#[test]
fn length_that_the_tpm_has_not_is_unsupported() {
    let bench = Bench::new();
    let spec = provider_core::KeySpec { algorithm: Algorithm::Rsa4096, ..spec(Usage::Rsa, None) };
    let capabilities = bench.provider.info().capabilities;
    assert!(capabilities.contains(Capabilities::RSA_2048));
    if capabilities.contains(Capabilities::RSA_4096) {
        let KeyBlob(blob) = bench.provider.generate(&spec).unwrap();
        let key = Key { usage: Usage::Rsa, id: spec.id, blob };
        assert_eq!(bench.provider.rsa_public(key.key_ref()).unwrap().0.len(), 512);
        check_signature(&bench, &key);
    } else {
        check(bench.provider.generate(&spec), ErrorKind::Unsupported, "Rsa4096");
    }
}

/// Opens a TPM that says so to the questions whether it has RSA keys, and makes one.
fn check_refused(code: u32) {
    let (test_parms, questions) = (0x18A, 2);
    let swtpm = Swtpm::start().unwrap();
    let proxy = CommandCounter::in_front_of(&swtpm).unwrap();
    proxy.answer_next(test_parms, code, questions);
    let (provider, _) = open(&proxy.tcti(), &[], None).unwrap();
    let capabilities = provider.info().capabilities;
    assert!(!capabilities.contains(Capabilities::RSA_2048));
    assert!(!capabilities.contains(Capabilities::RSA_4096));
    let outcome = Key::generate(&provider, Usage::Rsa, None);
    check(outcome, ErrorKind::Unsupported, "no Rsa keys of Rsa2048");
    Key::generate(&provider, Usage::Mac, None).unwrap();
}

#[test]
fn tpm_without_the_parameters_has_no_rsa_keys() {
    let rc_value_of_first_parameter = 0x1C4;
    check_refused(rc_value_of_first_parameter);
}

#[test]
fn tpm_that_cannot_be_asked_has_no_rsa_keys() {
    let rc_command_code = 0x143;
    check_refused(rc_command_code);
}

#[test]
fn number_not_less_than_the_modulus_is_invalid_and_the_next_smaller_passes() {
    let bench = Bench::new();
    let key = bench.key(Usage::Rsa);
    let modulus = bench.provider.rsa_public(key.key_ref()).unwrap().0;
    let run = |input: &[u8]| bench.provider.rsa_private(key.key_ref(), input);
    check(run(&modulus), ErrorKind::InvalidParameter, "less than it");
    check(run(&[0xFF; 256]), ErrorKind::InvalidParameter, "less than it");
    // A modulus is odd, so this is it less one: minus one, whose odd power is itself.
    let mut most = modulus;
    most[255] -= 1;
    assert_eq!(run(&most).unwrap().expose(), most);
}

#[test]
fn small_results_keep_their_leading_zeros() {
    let bench = Bench::new();
    let key = bench.key(Usage::Rsa);
    for last in [0, 1] {
        let mut number = [0; 256];
        number[255] = last;
        let result = bench.provider.rsa_private(key.key_ref(), &number).unwrap();
        assert_eq!(result.expose(), number);
    }
}

#[test]
fn input_of_another_length_is_invalid() {
    let bench = Bench::new();
    let key = bench.key(Usage::Rsa);
    for length in [0, 1, 255, 257, 512] {
        let outcome = bench.provider.rsa_private(key.key_ref(), &vec![0; length]);
        check(outcome, ErrorKind::InvalidParameter, "as long as the modulus");
    }
}

#[test]
fn key_is_fixed_and_only_decrypts() {
    let bench = Bench::new();
    let key = bench.key(Usage::Rsa);
    check_signature(&bench, &key);
    let mut tpm = bench.onlooker();
    let keys: Vec<_> = loaded(&mut tpm)
        .into_iter()
        .map(|key| tpm.read_public(key).unwrap().0.object_attributes())
        .filter(|attributes| attributes.decrypt() && !attributes.restricted())
        .collect();
    assert_eq!(keys.len(), 1);
    for key in keys {
        assert!(key.fixed_tpm() && key.fixed_parent() && key.no_da());
        assert!(key.sensitive_data_origin() && key.user_with_auth() && !key.sign_encrypt());
    }
}

#[test]
fn rsa_key_is_not_imported() {
    let bench = Bench::new();
    let secret = provider_core::SecretBytes::copy_of(&[1; 32]);
    let outcome = bench.provider.import(&spec(Usage::Rsa, None), &secret);
    check(outcome, ErrorKind::Unsupported, "");
}

#[test]
fn other_usage_is_invalid() {
    let bench = Bench::new();
    let (rsa, sign) = (bench.key(Usage::Rsa), bench.key(Usage::Sign));
    let invalid = ErrorKind::InvalidParameter;
    check(bench.provider.rsa_private(sign.key_ref(), &[1; 256]), invalid, "usage Rsa");
    check(bench.provider.rsa_public(sign.key_ref()), invalid, "usage Rsa");
    let taken = KeyRef { usage: Usage::Rsa, ..sign.key_ref() };
    check(bench.provider.rsa_private(taken, &[1; 256]), invalid, "another usage");
    let taken = KeyRef { usage: Usage::Sign, ..rsa.key_ref() };
    check(bench.provider.sign(taken, &[1; 32]), invalid, "another usage");
    check(bench.provider.public_key(taken), invalid, "another usage");
}

#[test]
fn each_flipped_byte_of_a_blob_is_refused_by_kind() {
    let bench = Bench::new();
    let key = bench.key(Usage::Rsa);
    for position in 0..key.blob.len() {
        let mut blob = key.blob.clone();
        blob[position] ^= 1;
        let outcome = bench.provider.rsa_public(KeyRef { blob: &blob, ..key.key_ref() });
        let kind = outcome.err().unwrap().kind;
        let expected = [ErrorKind::Integrity, ErrorKind::InvalidParameter, ErrorKind::WrongDevice];
        assert!(expected.contains(&kind), "byte {position}: {kind:?}");
    }
    check_signature(&bench, &key);
}

#[test]
fn persistent_key_computes_the_same() {
    let bench = Bench::new();
    let settings = [
        ("persist_keys", "0x81020000-0x81020003"),
        ("persist_after", "2"),
        ("persist_interval", "0"),
    ];
    let (provider, _) = open(&bench.swtpm.tcti(), &settings, None).unwrap();
    let key = Key::generate(&provider, Usage::Rsa, None).unwrap();
    let first = provider.rsa_private(key.key_ref(), &[1; 256]).unwrap();
    for _ in 0..4 {
        let again = provider.rsa_private(key.key_ref(), &[1; 256]).unwrap();
        assert_eq!(again.expose(), first.expose());
    }
    provider.destroy(key.key_ref()).unwrap();
}
