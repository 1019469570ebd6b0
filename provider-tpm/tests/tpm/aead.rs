//! Aead keys: what they compute, where they are, and what edits of their blobs do.

use provider_core::key::{
    AEAD_AAD_MAX_BYTES, AEAD_IV_MAX_BYTES, AEAD_TAG_BYTES, AEAD_TEXT_MAX_BYTES, SEAL_LABEL,
};
use provider_core::{
    AeadInput, Capabilities, ErrorKind, KeyRef, Provider, Result, SecretBytes, Usage,
};
use provider_tpm::TpmProvider;

use crate::support::{Bench, Key, check, open};

/// Bytes of salt and wrapped key, which end a blob.
const WRAPPED_BYTES: usize = 32 + 40;

fn import(provider: &TpmProvider, key: &[u8]) -> Result<Key> {
    Key::import(provider, Usage::Aead, &SecretBytes::copy_of(key))
}

fn counting() -> [u8; 32] {
    std::array::from_fn(|index| u8::try_from(index).unwrap())
}

fn decrypt(provider: &TpmProvider, key: &Key, text: &[u8]) -> Result<SecretBytes> {
    provider.aead_decrypt(key.key_ref(), AeadInput { iv: b"0123456", aad: b"7891011", text })
}

/// Encrypts with the key 00 to 1f, compares, and decrypts.
fn check_vector(iv: &[u8], aad: &[u8], text: &[u8], expected: &str) {
    let bench = Bench::new();
    let key = import(&bench.provider, &counting()).unwrap();
    let key = key.key_ref();
    let encrypted = bench.provider.aead_encrypt(key, AeadInput { iv, aad, text }).unwrap();
    let hex: String = encrypted.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, expected);
    let input = AeadInput { iv, aad, text: &encrypted };
    assert_eq!(bench.provider.aead_decrypt(key, input).unwrap().expose(), text);
}

// Computed by two other implementations, and by a third daemon that speaks the same dialect.

#[test]
fn vector_with_an_iv_of_seven_bytes_holds() {
    let expected = "3a925a06b43e98593235c5c030747ae276a36e6aefbdc4a8125db3";
    check_vector(b"0123456", b"7891011", b"Hello World", expected);
}

#[test]
fn vector_with_an_iv_of_twelve_bytes_holds() {
    let expected = "0f67ba77aac59574ff2df3f623284fbc24a288956f53e0a7d8ec1d";
    check_vector(&counting()[..12], b"ctx", b"Hello World", expected);
}

#[test]
fn vector_without_text_holds() {
    let expected = "05d6323951c42ad8c5a23b1f8acd9089";
    check_vector(b"0123456", b"7891011", b"", expected);
}

#[test]
fn every_length_of_iv_returns_the_text() {
    let bench = Bench::new();
    let key = bench.key(Usage::Aead);
    let long = [7; AEAD_IV_MAX_BYTES + 1];
    let run = |length: usize| {
        let (iv, aad) = (&long[..length], b"ctx");
        let (key, text) = (key.key_ref(), b"Hello World");
        let text = bench.provider.aead_encrypt(key, AeadInput { iv, aad, text })?;
        bench.provider.aead_decrypt(key, AeadInput { iv, aad, text: &text })
    };
    for length in 1..=AEAD_IV_MAX_BYTES {
        assert_eq!(run(length).unwrap().expose(), b"Hello World", "{length}");
    }
    check(run(0), ErrorKind::InvalidParameter, "");
    check(run(AEAD_IV_MAX_BYTES + 1), ErrorKind::TooLarge, "");
}

#[test]
fn text_and_associated_data_at_the_limit_pass_and_past_it_are_too_large() {
    let bench = Bench::new();
    let key = bench.key(Usage::Aead);
    let run = |aad: usize, text: usize| {
        let (aad, text) = (vec![1; aad], vec![2; text]);
        let input = AeadInput { iv: b"iv", aad: &aad, text: &text };
        bench.provider.aead_encrypt(key.key_ref(), input)
    };
    let most = run(AEAD_AAD_MAX_BYTES, AEAD_TEXT_MAX_BYTES).unwrap();
    assert_eq!(most.len(), AEAD_TEXT_MAX_BYTES + AEAD_TAG_BYTES);
    check(run(AEAD_AAD_MAX_BYTES + 1, 0), ErrorKind::TooLarge, "");
    check(run(0, AEAD_TEXT_MAX_BYTES + 1), ErrorKind::TooLarge, "");
}

#[test]
fn generated_keys_are_wrapped_and_differ() {
    let bench = Bench::new();
    assert!(bench.provider.info().capabilities.contains(Capabilities::AEAD_WRAPPED));
    assert!(!bench.provider.info().capabilities.contains(Capabilities::AEAD));
    let (one, two) = (bench.key(Usage::Aead), bench.key(Usage::Aead));
    let text = one.encrypt(&bench.provider).unwrap();
    assert_ne!(text, two.encrypt(&bench.provider).unwrap());
    check(decrypt(&bench.provider, &two, &text), ErrorKind::Integrity, "");
    assert_eq!(decrypt(&bench.provider, &one, &text).unwrap().expose(), b"Hello World");
}

#[test]
fn flipped_bit_of_a_text_is_integrity() {
    let bench = Bench::new();
    let key = bench.key(Usage::Aead);
    let text = key.encrypt(&bench.provider).unwrap();
    for bit in 0..text.len() * 8 {
        let mut flipped = text.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        check(decrypt(&bench.provider, &key, &flipped), ErrorKind::Integrity, "tag");
    }
    let short = &text[..AEAD_TAG_BYTES - 1];
    check(decrypt(&bench.provider, &key, short), ErrorKind::Integrity, "");
}

#[test]
fn imported_key_is_in_neither_blob_nor_tpm() {
    let bench = Bench::new();
    let secret = *b"an AES key that is not stored ..";
    let key = import(&bench.provider, &secret).unwrap();
    key.encrypt(&bench.provider).unwrap();
    let state = std::fs::read(bench.swtpm.state_directory().join("tpm2-00.permall")).unwrap();
    for stored in [&key.blob, &state] {
        // No eight bytes of it either.
        let parts = secret.windows(8).any(|part| stored.windows(8).any(|window| window == part));
        assert!(!parts);
    }
}

#[test]
fn key_of_another_length_is_invalid() {
    let bench = Bench::new();
    for length in [0, 16, 31, 33] {
        let outcome = import(&bench.provider, &vec![1; length]);
        check(outcome, ErrorKind::InvalidParameter, "");
    }
}

#[test]
fn key_works_in_another_instance_and_after_a_restart_of_the_tpm() {
    let mut bench = Bench::new();
    let key = import(&bench.provider, &counting()).unwrap();
    let text = key.encrypt(&bench.provider).unwrap();
    bench.swtpm.start_again().unwrap();
    bench.provider.random(&mut [0; 8]).unwrap();
    assert_eq!(key.encrypt(&bench.provider).unwrap(), text);
    let (other, _) = open(&bench.swtpm.tcti(), &[], Some(&bench.identity)).unwrap();
    assert_eq!(decrypt(&other, &key, &text).unwrap().expose(), b"Hello World");
}

#[test]
fn loss_of_the_tpm_ends_the_keys_in_memory() {
    let mut bench = Bench::new();
    let key = bench.key(Usage::Aead);
    key.encrypt(&bench.provider).unwrap();
    bench.swtpm.stop().unwrap();
    // Nobody has asked the TPM yet.
    key.encrypt(&bench.provider).unwrap();
    check(bench.provider.random(&mut [0; 8]), ErrorKind::DeviceGone, "");
    check(key.encrypt(&bench.provider), ErrorKind::DeviceGone, "");
    bench.swtpm.start_again().unwrap();
    key.encrypt(&bench.provider).unwrap();
}

#[test]
fn cleared_tpm_is_the_wrong_device() {
    let mut bench = Bench::new();
    let (used, unused) = (bench.key(Usage::Aead), bench.key(Usage::Aead));
    used.encrypt(&bench.provider).unwrap();
    bench.swtpm.fresh().unwrap();
    for key in [unused, used] {
        let outcome = key.encrypt(&bench.provider);
        check(outcome, ErrorKind::WrongDevice, "not the recorded one");
    }
    let (other, _) = open(&bench.swtpm.tcti(), &[], None).unwrap();
    let made_there = Key::generate(&other, Usage::Aead, None).unwrap();
    made_there.encrypt(&other).unwrap();
}

#[test]
fn key_of_another_tpm_is_wrong_device() {
    let (bench, other) = (Bench::new(), Bench::new());
    let key = other.key(Usage::Aead);
    check(key.encrypt(&bench.provider), ErrorKind::WrongDevice, "made by another TPM");
}

#[test]
fn other_usage_or_id_is_invalid_before_and_after_the_first_use() {
    let bench = Bench::new();
    let key = bench.key(Usage::Aead);
    let sign = bench.key(Usage::Sign);
    let mut id = key.id;
    id.0[0] ^= 1;
    let renamed = Key { usage: Usage::Aead, id, blob: key.blob.clone() };
    let other = Key { usage: Usage::Aead, id: sign.id, blob: sign.blob };
    for _ in 0..2 {
        let outcome = renamed.encrypt(&bench.provider);
        check(outcome, ErrorKind::InvalidParameter, "another id");
        let outcome = other.encrypt(&bench.provider);
        check(outcome, ErrorKind::InvalidParameter, "another usage");
        for usage in [Usage::Seal, Usage::Mac] {
            let taken = KeyRef { usage, ..key.key_ref() };
            let input: &[u8] = if usage == Usage::Seal { SEAL_LABEL } else { b"message" };
            let outcome = bench.provider.mac(taken, input);
            check(outcome, ErrorKind::InvalidParameter, "another usage");
        }
        let outcome = bench.provider.mac(key.key_ref(), SEAL_LABEL);
        check(outcome, ErrorKind::InvalidParameter, "");
        let taken = KeyRef { usage: Usage::Sign, ..key.key_ref() };
        let outcome = bench.provider.aead_encrypt(taken, input());
        check(outcome, ErrorKind::InvalidParameter, "usage Aead");
        key.encrypt(&bench.provider).unwrap();
    }
}

fn input() -> AeadInput<'static> {
    AeadInput { iv: b"0123456", aad: b"", text: b"" }
}

#[test]
fn inner_key_edited_into_a_seal_key_is_refused() {
    let bench = Bench::new();
    let key = bench.key(Usage::Aead);
    let mut blob = key.blob[..key.blob.len() - WRAPPED_BYTES].to_vec();
    (blob[5], blob[6]) = (1, 1);
    let seal = KeyRef { usage: Usage::Seal, id: key.id, blob: &blob };
    check(bench.provider.mac(seal, SEAL_LABEL), ErrorKind::Integrity, "altered");
}

#[test]
fn seal_key_edited_into_an_aead_key_is_refused() {
    let bench = Bench::new();
    let seal = bench.key(Usage::Seal);
    let mut blob = [&seal.blob[..], &[0; WRAPPED_BYTES]].concat();
    (blob[5], blob[6]) = (4, 3);
    let key = Key { usage: Usage::Aead, id: seal.id, blob };
    check(key.encrypt(&bench.provider), ErrorKind::Integrity, "altered");
}

#[test]
fn each_flipped_byte_of_a_blob_is_refused_by_kind() {
    let bench = Bench::new();
    let key = bench.key(Usage::Aead);
    let before = key.encrypt(&bench.provider).unwrap();
    for position in 0..key.blob.len() {
        let mut blob = key.blob.clone();
        blob[position] ^= 1;
        let outcome = Key { blob, ..key }.encrypt(&bench.provider);
        let kind = outcome.err().unwrap().kind;
        let expected = [ErrorKind::Integrity, ErrorKind::InvalidParameter, ErrorKind::WrongDevice];
        assert!(expected.contains(&kind), "byte {position}: {kind:?}");
        if position >= key.blob.len() - WRAPPED_BYTES {
            assert_eq!(kind, ErrorKind::Integrity, "byte {position}");
        }
    }
    assert_eq!(key.encrypt(&bench.provider).unwrap(), before);
}

#[test]
fn more_keys_than_memory_keeps_work_in_turn() {
    let bench = Bench::new();
    let keys: Vec<_> = (0..70).map(|_| bench.key(Usage::Aead)).collect();
    let run =
        || -> Vec<_> { keys.iter().map(|key| key.encrypt(&bench.provider).unwrap()).collect() };
    assert_eq!(run(), run());
}

#[test]
fn key_destroyed_by_its_id_alone_leaves_memory() {
    let mut bench = Bench::new();
    let key = bench.key(Usage::Aead);
    key.encrypt(&bench.provider).unwrap();
    bench.provider.destroy(KeyRef { blob: &[], ..key.key_ref() }).unwrap();
    bench.swtpm.stop().unwrap();
    check(key.encrypt(&bench.provider), ErrorKind::DeviceGone, "");
}
