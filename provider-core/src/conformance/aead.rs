//! The clauses about `Aead` keys, for a device that has them in either way.

use super::clauses::{Key, Named, ensure, expect_kind, show, spec, unexpected};
use super::vectors::AES_256_GCM;
use super::{Bench, Clause};
use crate::call::Instance;
use crate::error::ErrorKind;
use crate::key::{
    AEAD_AAD_MAX_BYTES, AEAD_IV_MAX_BYTES, AEAD_TAG_BYTES, AEAD_TEXT_MAX_BYTES, AeadInput,
    Algorithm, KeyBlob, KeyRef, Usage,
};
use crate::secret::SecretBytes;

/// Every clause.
pub(super) const ALL: &[Named] = &[
    ("an aead key decrypts what it encrypted, and no other does", keys_differ),
    ("known answers of AES-256-GCM", known_answers),
    ("what was altered is not decrypted", alterations_are_seen),
    ("aead inputs at and past the limits", input_limits),
    ("imported aead keys have 32 bytes", import_limits),
    ("an aead key is refused under another usage and id", key_is_bound),
    ("an altered or foreign blob of an aead key is refused", blob_is_bound),
    ("aead keys survive closing and opening, and concurrent calls", keys_survive),
    ("destroy of an aead key is repeatable", destroy_is_repeatable),
];

const INPUT: AeadInput<'_> = AeadInput { iv: b"0123456", aad: b"7891011", text: b"Hello World" };

fn absent(bench: &Bench<'_>) -> Result<bool, String> {
    let able = bench.instance.info().map_err(show)?.capabilities;
    Ok(!able.can_generate(Usage::Aead, Algorithm::Aes256Gcm))
}

fn encrypt(bench: &Bench<'_>, key: &Key, input: AeadInput<'_>) -> Result<Vec<u8>, String> {
    let sealed = bench.instance.aead_encrypt(key.key_ref(), input);
    sealed.map_err(|error| format!("encrypt {} bytes: {error}", input.text.len()))
}

fn decrypt(bench: &Bench<'_>, key: &Key, input: AeadInput<'_>) -> crate::Result<SecretBytes> {
    bench.instance.aead_decrypt(key.key_ref(), input)
}

/// Encrypts, and has it decrypted again.
fn there_and_back(bench: &Bench<'_>, key: &Key, input: AeadInput<'_>) -> Clause {
    let sealed = encrypt(bench, key, input)?;
    let opened = decrypt(bench, key, AeadInput { text: &sealed, ..input });
    let opened = opened.map_err(|error| format!("decrypt {} bytes: {error}", sealed.len()))?;
    ensure(opened.expose() == input.text, "another text was decrypted")
}

fn keys_differ(bench: &Bench<'_>) -> Clause {
    if absent(bench)? {
        return Ok(());
    }
    let (one, two) = (Key::generate(bench, Usage::Aead)?, Key::generate(bench, Usage::Aead)?);
    for length in [0, 1, 15, 16, 17, 1000] {
        there_and_back(bench, &one, AeadInput { text: &vec![0x5a; length], ..INPUT })?;
        there_and_back(bench, &one, AeadInput { aad: &vec![0x5a; length], ..INPUT })?;
    }
    let sealed = encrypt(bench, &one, INPUT)?;
    ensure(encrypt(bench, &one, INPUT)? == sealed, "the same key gave two ciphertexts")?;
    ensure(encrypt(bench, &two, INPUT)? != sealed, "two keys gave one ciphertext")?;
    let input = AeadInput { text: &sealed, ..INPUT };
    expect_kind(decrypt(bench, &two, input), &[ErrorKind::Integrity])?;
    one.destroy(bench)?;
    two.destroy(bench)
}

fn known_answers(bench: &Bench<'_>) -> Clause {
    if absent(bench)? {
        return Ok(());
    }
    let key: Vec<u8> = (0..32).collect();
    let key = Key::import(bench, Usage::Aead, &key)?;
    for case in AES_256_GCM {
        let input = AeadInput { iv: case.iv, aad: case.aad, text: case.text };
        let sealed = encrypt(bench, &key, input)?;
        ensure(sealed == case.sealed, &format!("{}: wrong answer", case.name))?;
        let opened = decrypt(bench, &key, AeadInput { text: case.sealed, ..input });
        let opened = opened.map_err(|error| format!("{}: {error}", case.name))?;
        ensure(opened.expose() == case.text, &format!("{}: wrong text", case.name))?;
    }
    key.destroy(bench)
}

fn alterations_are_seen(bench: &Bench<'_>) -> Clause {
    if absent(bench)? {
        return Ok(());
    }
    let key = Key::generate(bench, Usage::Aead)?;
    let sealed = encrypt(bench, &key, INPUT)?;
    let honest = AeadInput { text: &sealed, ..INPUT };
    let refused = |what: &str, input: AeadInput<'_>| {
        expect_kind(decrypt(bench, &key, input), &[ErrorKind::Integrity])
            .map_err(|seen| format!("{what}: {seen}"))
    };
    let flipped = |bytes: &[u8], position: usize| {
        let mut bytes = bytes.to_vec();
        if let Some(byte) = bytes.get_mut(position) {
            *byte ^= 0x04;
        }
        bytes
    };
    for position in 0..sealed.len() {
        let what = format!("byte {position} of the text");
        refused(&what, AeadInput { text: &flipped(&sealed, position), ..honest })?;
    }
    for position in 0..INPUT.iv.len() {
        let what = format!("byte {position} of the initialization vector");
        refused(&what, AeadInput { iv: &flipped(INPUT.iv, position), ..honest })?;
    }
    for position in 0..INPUT.aad.len() {
        let what = format!("byte {position} of the associated data");
        refused(&what, AeadInput { aad: &flipped(INPUT.aad, position), ..honest })?;
    }
    refused("no associated data", AeadInput { aad: b"", ..honest })?;
    for length in [0, 1, AEAD_TAG_BYTES - 1, AEAD_TAG_BYTES, sealed.len() - 1] {
        let text = sealed.get(..length).unwrap_or_default();
        refused(&format!("cut to {length} bytes"), AeadInput { text, ..honest })?;
    }
    let opened = decrypt(bench, &key, honest).map_err(show)?;
    ensure(opened.expose() == INPUT.text, "the honest text afterwards is another")?;
    key.destroy(bench)
}

fn input_limits(bench: &Bench<'_>) -> Clause {
    if absent(bench)? {
        return Ok(());
    }
    let key = Key::generate(bench, Usage::Aead)?;
    let longest = vec![7; AEAD_TEXT_MAX_BYTES + AEAD_TAG_BYTES + 1];
    let of = |length: usize| longest.get(..length).unwrap_or_default();
    there_and_back(bench, &key, AeadInput { iv: of(1), ..INPUT })?;
    let at_limits = AeadInput {
        iv: of(AEAD_IV_MAX_BYTES),
        aad: of(AEAD_AAD_MAX_BYTES),
        text: of(AEAD_TEXT_MAX_BYTES),
    };
    there_and_back(bench, &key, at_limits)?;
    let past = [
        AeadInput { iv: of(AEAD_IV_MAX_BYTES + 1), ..INPUT },
        AeadInput { aad: of(AEAD_AAD_MAX_BYTES + 1), ..INPUT },
    ];
    for input in past {
        expect_kind(bench.instance.aead_encrypt(key.key_ref(), input), &[ErrorKind::TooLarge])?;
        let input = AeadInput { text: of(AEAD_TAG_BYTES), ..input };
        expect_kind(decrypt(bench, &key, input), &[ErrorKind::TooLarge])?;
    }
    let input = AeadInput { text: of(AEAD_TEXT_MAX_BYTES + 1), ..INPUT };
    expect_kind(bench.instance.aead_encrypt(key.key_ref(), input), &[ErrorKind::TooLarge])?;
    let input = AeadInput { text: &longest, ..INPUT };
    expect_kind(decrypt(bench, &key, input), &[ErrorKind::TooLarge])?;
    let input = AeadInput { iv: b"", text: of(AEAD_TAG_BYTES), ..INPUT };
    let invalid = &[ErrorKind::InvalidParameter];
    expect_kind(bench.instance.aead_encrypt(key.key_ref(), input), invalid)?;
    expect_kind(decrypt(bench, &key, input), invalid)?;
    key.destroy(bench)
}

fn import_limits(bench: &Bench<'_>) -> Clause {
    if absent(bench)? {
        return Ok(());
    }
    for length in [0, 16, 31, 33] {
        let key = SecretBytes::copy_of(&vec![1; length]);
        let made = bench.instance.import(&spec(bench, Usage::Aead), &key);
        expect_kind(made, &[ErrorKind::InvalidParameter])
            .map_err(|seen| format!("{length} bytes: {seen}"))?;
    }
    Ok(())
}

fn key_is_bound(bench: &Bench<'_>) -> Clause {
    if absent(bench)? {
        return Ok(());
    }
    let invalid = &[ErrorKind::InvalidParameter];
    let (aead, mac) = (Key::generate(bench, Usage::Aead)?, Key::generate(bench, Usage::Mac)?);
    let mac_as_aead = KeyRef { usage: Usage::Aead, ..mac.key_ref() };
    let other_id = KeyRef { id: bench.id(), ..aead.key_ref() };
    let sealed = encrypt(bench, &aead, INPUT)?;
    let back = AeadInput { text: &sealed, ..INPUT };
    for key in [mac_as_aead, mac.key_ref(), other_id] {
        expect_kind(bench.instance.aead_encrypt(key, INPUT), invalid)?;
        expect_kind(bench.instance.aead_decrypt(key, back), invalid)?;
    }
    let aead_as_mac = KeyRef { usage: Usage::Mac, ..aead.key_ref() };
    expect_kind(bench.instance.mac(aead_as_mac, b"x"), invalid)?;
    expect_kind(aead.mac(bench, b"x"), invalid)?;
    mac.destroy(bench)?;
    aead.destroy(bench)
}

fn blob_is_bound(bench: &Bench<'_>) -> Clause {
    if absent(bench)? {
        return Ok(());
    }
    let key = Key::generate(bench, Usage::Aead)?;
    let honest = encrypt(bench, &key, INPUT)?;
    for position in 0..key.blob.0.len() {
        let mut blob = key.blob.0.clone();
        if let Some(byte) = blob.get_mut(position) {
            *byte ^= 0x04;
        }
        // As of other keys: a byte may be ignored, but no other key be used.
        let altered = KeyRef { blob: &blob, ..key.key_ref() };
        let sealed = bench.instance.aead_encrypt(altered, INPUT);
        let another = sealed.is_ok_and(|sealed| sealed != honest);
        ensure(!another, &format!("byte {position} flipped, and another key was used"))?;
    }
    for length in 0..key.blob.0.len() {
        let blob = key.blob.0.get(..length).unwrap_or_default();
        let cut = bench.instance.aead_encrypt(KeyRef { blob, ..key.key_ref() }, INPUT);
        expect_kind(cut, &[ErrorKind::Integrity, ErrorKind::InvalidParameter])
            .map_err(|seen| format!("cut to {length} bytes: {seen}"))?;
    }
    ensure(encrypt(bench, &key, INPUT)? == honest, "the honest blob afterwards is another key")?;
    key.destroy(bench)?;
    let (settings, secrets) = (bench.setup.other_device)();
    let (other, _identity) = bench.plugin.open(&settings, &secrets, None).map_err(show)?;
    let spec = spec(bench, Usage::Aead);
    let KeyBlob(blob) = other.generate(&spec).map_err(show)?;
    let foreign = KeyRef { usage: Usage::Aead, id: spec.id, blob: &blob };
    let result = bench.instance.aead_encrypt(foreign, INPUT);
    expect_kind(result, &[ErrorKind::WrongDevice, ErrorKind::Integrity])?;
    other.destroy(foreign).map_err(show)
}

fn keys_survive(bench: &Bench<'_>) -> Clause {
    if absent(bench)? {
        return Ok(());
    }
    let key = Key::generate(bench, Usage::Aead)?;
    let before = encrypt(bench, &key, INPUT)?;
    let (settings, secrets) = (bench.setup.device)();
    let opened = bench.plugin.open(&settings, &secrets, Some(&bench.identity));
    let (second, _identity) = opened.map_err(show)?;
    let after = second.aead_encrypt(key.key_ref(), INPUT).map_err(show)?;
    ensure(before == after, "the key gives another ciphertext")?;
    drop(second);
    let threads = bench.instance.info().map_err(show)?.concurrency.min(8);
    let other = Key::generate(bench, Usage::Aead)?;
    let other_before = encrypt(bench, &other, INPUT)?;
    let keys = [(key.key_ref(), &before), (other.key_ref(), &other_before)];
    let instance = &bench.instance;
    let call = |(key, sealed): (KeyRef<'_>, &Vec<u8>)| use_both_ways(instance, key, sealed);
    std::thread::scope(|scope| {
        let turns = keys.into_iter().cycle().zip(0..threads);
        let running: Vec<_> = turns
            .map(|(key, _)| scope.spawn(move || (0..20).try_for_each(|_| call(key))))
            .collect();
        running.into_iter().try_for_each(|thread| {
            thread.join().unwrap_or_else(|_| Err("a thread panicked".into()))
        })
    })?;
    key.destroy(bench)?;
    other.destroy(bench)
}

fn use_both_ways(instance: &Instance, key: KeyRef<'_>, sealed: &[u8]) -> Clause {
    let again = instance.aead_encrypt(key, INPUT).map_err(show)?;
    ensure(again == sealed, "a ciphertext of another key came back")?;
    let opened = instance.aead_decrypt(key, AeadInput { text: sealed, ..INPUT }).map_err(show)?;
    ensure(opened.expose() == INPUT.text, "another text came back")
}

fn destroy_is_repeatable(bench: &Bench<'_>) -> Clause {
    if absent(bench)? {
        return Ok(());
    }
    let key = Key::generate(bench, Usage::Aead)?;
    key.destroy(bench)?;
    key.destroy(bench)?;
    match bench.instance.aead_encrypt(key.key_ref(), INPUT) {
        Ok(_) => Ok(()),
        Err(error) if error.kind == ErrorKind::KeyNotFound => Ok(()),
        other => Err(unexpected(&other, "the ciphertext or KeyNotFound")),
    }
}
