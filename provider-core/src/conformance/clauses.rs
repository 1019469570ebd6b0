//! The clauses of the contract, one function each.

use super::vectors::HMAC_SHA256;
use super::{Bench, Clause};
use crate::condition::Standing;
use crate::error::{ErrorKind, ProviderError};
use crate::key::{
    AeadInput, Algorithm, Capabilities, IMPORT_MAX_BYTES, KeyBlob, KeyId, KeyRef, KeySpec,
    MAC_INPUT_MAX_BYTES, RANDOM_MAX_BYTES, SEAL_LABEL, StateBinding, Usage,
};
use crate::secret::SecretBytes;
use crate::settings::Settings;

pub(super) type Named = (&'static str, fn(&Bench<'_>) -> Clause);

/// Every clause, in the order of the contract.
pub(super) const ALL: &[Named] = &[
    ("info is complete and stable", info_is_complete),
    ("self test passes", self_test_passes),
    ("unknown settings are refused", unknown_setting_is_refused),
    ("the same device opens again with its identity", reopening_keeps_the_identity),
    ("another device is refused by the recorded identity", changed_identity_is_wrong_device),
    ("what a pin is shown to has one name, and another device another", subjects_differ),
    ("needs are said, alike each time, and without a device", needs_are_stable),
    ("asking for failed authorizations makes none", condition_is_told),
    ("random fills its whole buffer and does not repeat", random_fills),
    ("known answers of HMAC-SHA256", known_answers),
    ("imported keys at and past the limits", import_limits),
    ("mac inputs at and past the limits", mac_limits),
    ("keys differ and macs are deterministic", keys_differ),
    ("the seal label is enforced both ways", label_both_ways),
    ("a key is refused under another usage", usage_is_bound),
    ("a key is refused under another id", id_is_bound),
    ("keys survive closing and opening", keys_survive),
    ("an altered blob is refused", altered_blob),
    ("a foreign blob is refused", foreign_blob),
    ("destroy is final where the device keeps the key, and repeatable", destroy_is_repeatable),
    ("generating an id twice never yields one shared key", ids_are_not_shared),
    ("signatures verify under the public key", signatures_verify),
    ("concurrent calls do not mix", concurrent_calls),
    ("many keys at once", many_keys),
    ("what is no capability is unsupported", absent_capability),
];

fn info_is_complete(bench: &Bench<'_>) -> Clause {
    let info = bench.instance.info().map_err(show)?;
    ensure(!info.manufacturer.is_empty(), "manufacturer is empty")?;
    ensure(!info.firmware.is_empty(), "firmware is empty")?;
    let needed = Capabilities::SEAL.and(Capabilities::MAC);
    ensure(info.capabilities.contains(needed), "seal and mac are not among the capabilities")?;
    ensure(bench.instance.info() == Ok(info), "a second info differs")
}

fn self_test_passes(bench: &Bench<'_>) -> Clause {
    bench.instance.self_test().map_err(show)?;
    bench.instance.self_test().map_err(|error| format!("second run: {error}"))
}

fn unknown_setting_is_refused(bench: &Bench<'_>) -> Clause {
    let (settings, secrets) = (bench.setup.device)();
    let entries = settings.iter().chain([("no-such-setting", "1")]);
    let settings = Settings::new(entries);
    match bench.plugin.open(&settings, &secrets, Some(&bench.identity)) {
        Err(error) if error.kind == ErrorKind::InvalidParameter => {
            ensure(error.detail.contains("no-such-setting"), "the error does not name the setting")
        }
        other => Err(unexpected(&other, "InvalidParameter")),
    }
}

fn reopening_keeps_the_identity(bench: &Bench<'_>) -> Clause {
    let (settings, secrets) = (bench.setup.device)();
    let opened = bench.plugin.open(&settings, &secrets, Some(&bench.identity));
    let (_instance, identity) = opened.map_err(show)?;
    ensure(identity == bench.identity, "the identity changed")
}

fn changed_identity_is_wrong_device(bench: &Bench<'_>) -> Clause {
    let (settings, secrets) = (bench.setup.other_device)();
    expect_kind(
        bench.plugin.open(&settings, &secrets, Some(&bench.identity)),
        &[ErrorKind::WrongDevice],
    )
}

fn subjects_differ(bench: &Bench<'_>) -> Clause {
    let (settings, _) = (bench.setup.device)();
    let Some(subject) = bench.plugin.auth_subject(&settings).map_err(show)? else { return Ok(()) };
    let again = bench.plugin.auth_subject(&settings);
    ensure(again == Ok(Some(subject.clone())), "a second name differs")?;
    let (settings, _) = (bench.setup.other_device)();
    let other = bench.plugin.auth_subject(&settings).map_err(show)?;
    ensure(other != Some(subject), "another device has the same name")
}

fn needs_are_stable(bench: &Bench<'_>) -> Clause {
    let (settings, _) = (bench.setup.device)();
    let needs = bench.plugin.needs(&settings).map_err(show)?;
    ensure(bench.plugin.needs(&settings) == Ok(needs), "a second answer differs")
}

fn condition_is_told(bench: &Bench<'_>) -> Clause {
    let seen = match bench.instance.condition() {
        Err(error) => return ensure(error.kind == ErrorKind::Unsupported, &show(error)),
        Ok(seen) => seen,
    };
    let (failures, max) = (seen.auth_failures, seen.auth_failures_max);
    let none = failures == Some(0) && max != Some(0);
    ensure(
        !none || seen.standing == Standing::Calm,
        "no failure is remembered, and it is not calm",
    )?;
    let all = failures.zip(max).is_some_and(|(failures, max)| failures >= max);
    ensure(
        !all || seen.standing == Standing::Locked,
        "all tries are used up, and it is not locked",
    )?;
    let again = bench.instance.condition().map_err(show)?;
    ensure(again.standing <= seen.standing, "asking again found it worse")?;
    ensure(again.auth_failures <= seen.auth_failures, "asking again found more failures")
}

fn random_fills(bench: &Bench<'_>) -> Clause {
    let full = bench.instance.random(RANDOM_MAX_BYTES).map_err(show)?;
    // 32 zero bytes at the end happen once in 2^256 runs: then the device stopped short.
    let tail = full.expose().iter().rev().take(32);
    ensure(tail.copied().any(|byte| byte != 0), "the end of the buffer is empty")?;
    let again = bench.instance.random(RANDOM_MAX_BYTES).map_err(show)?;
    ensure(full.expose() != again.expose(), "the same bytes came twice")?;
    expect_kind(bench.instance.random(RANDOM_MAX_BYTES + 1), &[ErrorKind::TooLarge])
}

fn known_answers(bench: &Bench<'_>) -> Clause {
    if !can(bench, Capabilities::IMPORT_MAC)? {
        return Ok(());
    }
    for case in HMAC_SHA256 {
        let key = Key::import(bench, Usage::Mac, case.key)?;
        let mac = key.mac(bench, case.data).map_err(|error| format!("{}: {error}", case.name))?;
        ensure(mac.expose() == case.mac, &format!("{}: wrong answer", case.name))?;
        key.destroy(bench)?;
    }
    Ok(())
}

fn import_limits(bench: &Bench<'_>) -> Clause {
    if !can(bench, Capabilities::IMPORT_MAC)? {
        return Ok(());
    }
    // The block length of SHA-256 is 64 bytes: at it, one past it, and padded with a zero.
    for length in [1, 63, 64, 65, IMPORT_MAX_BYTES] {
        let key = Key::import(bench, Usage::Mac, &vec![0x5a; length])?;
        key.mac(bench, b"x").map_err(|error| format!("{length}-byte key: {error}"))?;
        key.destroy(bench)?;
    }
    let short = Key::import(bench, Usage::Mac, &[0x5a; 31])?;
    let mut padded = vec![0x5a; 31];
    padded.push(0);
    let padded = Key::import(bench, Usage::Mac, &padded)?;
    let same = short.mac(bench, b"x").map_err(show)?.expose()
        == padded.mac(bench, b"x").map_err(show)?.expose();
    ensure(same, "a short key is not zero-padded as RFC 2104 says")?;
    short.destroy(bench)?;
    padded.destroy(bench)?;
    let import = |length: usize| {
        bench.instance.import(&spec(bench, Usage::Mac), &SecretBytes::copy_of(&vec![1; length]))
    };
    expect_kind(import(0), &[ErrorKind::InvalidParameter])?;
    expect_kind(import(IMPORT_MAX_BYTES + 1), &[ErrorKind::TooLarge])
}

fn mac_limits(bench: &Bench<'_>) -> Clause {
    let key = Key::generate(bench, Usage::Mac)?;
    for length in [0, 1, MAC_INPUT_MAX_BYTES] {
        key.mac(bench, &vec![7; length]).map_err(|error| format!("{length} bytes: {error}"))?;
    }
    expect_kind(key.mac(bench, &[7; MAC_INPUT_MAX_BYTES + 1]), &[ErrorKind::TooLarge])?;
    key.destroy(bench)
}

fn keys_differ(bench: &Bench<'_>) -> Clause {
    let (one, two) = (Key::generate(bench, Usage::Mac)?, Key::generate(bench, Usage::Mac)?);
    let first = one.mac(bench, b"message").map_err(show)?;
    let again = one.mac(bench, b"message").map_err(show)?;
    let other = two.mac(bench, b"message").map_err(show)?;
    ensure(first.expose() == again.expose(), "the same key gave two macs")?;
    ensure(first.expose() != other.expose(), "two keys gave one mac")?;
    one.destroy(bench)?;
    two.destroy(bench)
}

fn label_both_ways(bench: &Bench<'_>) -> Clause {
    let (seal, mac) = (Key::generate(bench, Usage::Seal)?, Key::generate(bench, Usage::Mac)?);
    let mut labeled = SEAL_LABEL.to_vec();
    labeled.extend_from_slice(b"input");
    seal.mac(bench, &labeled).map_err(show)?;
    expect_kind(seal.mac(bench, b"input"), &[ErrorKind::InvalidParameter])?;
    expect_kind(mac.mac(bench, &labeled), &[ErrorKind::InvalidParameter])?;
    seal.destroy(bench)?;
    mac.destroy(bench)
}

fn usage_is_bound(bench: &Bench<'_>) -> Clause {
    let mut labeled = SEAL_LABEL.to_vec();
    labeled.push(0);
    let (seal, mac) = (Key::generate(bench, Usage::Seal)?, Key::generate(bench, Usage::Mac)?);
    let seal_as_mac = KeyRef { usage: Usage::Mac, ..seal.key_ref() };
    let mac_as_seal = KeyRef { usage: Usage::Seal, ..mac.key_ref() };
    expect_kind(bench.instance.mac(seal_as_mac, b"x"), &[ErrorKind::InvalidParameter])?;
    expect_kind(bench.instance.mac(mac_as_seal, &labeled), &[ErrorKind::InvalidParameter])?;
    if can(bench, Capabilities::SIGN)? {
        let mac_as_sign = KeyRef { usage: Usage::Sign, ..mac.key_ref() };
        expect_kind(bench.instance.sign(mac_as_sign, &[7; 32]), &[ErrorKind::InvalidParameter])?;
    }
    seal.destroy(bench)?;
    mac.destroy(bench)
}

fn id_is_bound(bench: &Bench<'_>) -> Clause {
    let key = Key::generate(bench, Usage::Mac)?;
    let other_id = KeyRef { id: bench.id(), ..key.key_ref() };
    expect_kind(bench.instance.mac(other_id, b"x"), &[ErrorKind::InvalidParameter])?;
    key.destroy(bench)
}

fn keys_survive(bench: &Bench<'_>) -> Clause {
    let key = Key::generate(bench, Usage::Mac)?;
    let before = key.mac(bench, b"message").map_err(show)?;
    let (settings, secrets) = (bench.setup.device)();
    let opened = bench.plugin.open(&settings, &secrets, Some(&bench.identity));
    let (instance, _identity) = opened.map_err(show)?;
    let after = instance.mac(key.key_ref(), b"message").map_err(show)?;
    ensure(before.expose() == after.expose(), "the key gives another mac")?;
    drop(instance);
    key.mac(bench, b"message").map_err(|error| format!("after closing the second: {error}"))?;
    key.destroy(bench)
}

fn altered_blob(bench: &Bench<'_>) -> Clause {
    let key = Key::generate(bench, Usage::Mac)?;
    let honest = key.mac(bench, b"message").map_err(show)?;
    for position in 0..key.blob.0.len() {
        let mut blob = key.blob.0.clone();
        if let Some(byte) = blob.get_mut(position) {
            *byte ^= 0x04;
        }
        // A provider may ignore a byte (a label for people), but never compute with another key.
        if let Ok(mac) = bench.instance.mac(KeyRef { blob: &blob, ..key.key_ref() }, b"message") {
            ensure(
                mac.expose() == honest.expose(),
                &format!("byte {position} flipped, and another key was used"),
            )?;
        }
    }
    for length in 0..key.blob.0.len() {
        let blob = key.blob.0.get(..length).unwrap_or_default();
        let cut = bench.instance.mac(KeyRef { blob, ..key.key_ref() }, b"message");
        expect_kind(cut, &[ErrorKind::Integrity, ErrorKind::InvalidParameter])
            .map_err(|seen| format!("cut to {length} bytes: {seen}"))?;
    }
    key.mac(bench, b"message").map_err(|error| format!("the honest blob afterwards: {error}"))?;
    key.destroy(bench)
}

fn foreign_blob(bench: &Bench<'_>) -> Clause {
    let (settings, secrets) = (bench.setup.other_device)();
    let (other, identity) = bench.plugin.open(&settings, &secrets, None).map_err(show)?;
    ensure(identity != bench.identity, "two devices have one identity")?;
    let spec = spec(bench, Usage::Mac);
    let KeyBlob(blob) = other.generate(&spec).map_err(show)?;
    let key = KeyRef { usage: Usage::Mac, id: spec.id, blob: &blob };
    let result = bench.instance.mac(key, b"message");
    expect_kind(result, &[ErrorKind::WrongDevice, ErrorKind::Integrity])?;
    other.destroy(key).map_err(show)
}

fn destroy_is_repeatable(bench: &Bench<'_>) -> Clause {
    let key = Key::generate(bench, Usage::Mac)?;
    bench.instance.destroy(key.key_ref()).map_err(show)?;
    bench.instance.destroy(key.key_ref()).map_err(|error| format!("second time: {error}"))?;
    let unknown = KeyRef { usage: Usage::Mac, id: bench.id(), blob: &[] };
    bench.instance.destroy(unknown).map_err(|error| format!("of an unknown id: {error}"))?;
    // A blob that holds the whole key still works for whoever kept it; a device that holds the
    // key itself must have lost it.
    match bench.instance.mac(key.key_ref(), b"message") {
        Ok(_) => Ok(()),
        Err(error) if error.kind == ErrorKind::KeyNotFound => Ok(()),
        other => Err(unexpected(&other, "the mac or KeyNotFound")),
    }
}

fn ids_are_not_shared(bench: &Bench<'_>) -> Clause {
    let spec = spec(bench, Usage::Mac);
    let KeyBlob(first) = bench.instance.generate(&spec).map_err(show)?;
    let first_ref = KeyRef { usage: Usage::Mac, id: spec.id, blob: &first };
    let honest = bench.instance.mac(first_ref, b"message").map_err(show)?;
    match bench.instance.generate(&spec) {
        Err(error) if error.kind == ErrorKind::KeyExists => {}
        Ok(KeyBlob(second)) => {
            let second = KeyRef { blob: &second, ..first_ref };
            let mac = bench.instance.mac(second, b"message").map_err(show)?;
            ensure(mac.expose() != honest.expose(), "the second key is the first")?;
        }
        other => return Err(unexpected(&other, "KeyExists or another key")),
    }
    let still = bench.instance.mac(first_ref, b"message").map_err(show)?;
    ensure(still.expose() == honest.expose(), "the first key was replaced")?;
    bench.instance.destroy(first_ref).map_err(show)
}

fn signatures_verify(bench: &Bench<'_>) -> Clause {
    if !can(bench, Capabilities::SIGN)? {
        return Ok(());
    }
    let key = Key::generate(bench, Usage::Sign)?;
    let point = bench.instance.public_key(key.key_ref()).map_err(show)?;
    for digest in [[0; 32], [0xff; 32], *b"0123456789abcdef0123456789abcdef"] {
        let signature = bench.instance.sign(key.key_ref(), &digest).map_err(show)?;
        ensure((bench.setup.verify)(&point.0, &digest, &signature.0), "it does not verify")?;
        let mut other = digest;
        other[31] ^= 1;
        ensure(!(bench.setup.verify)(&point.0, &other, &signature.0), "the verifier accepts all")?;
    }
    let again = bench.instance.public_key(key.key_ref()).map_err(show)?;
    ensure(again == point, "the public key changed")?;
    expect_kind(key.mac(bench, b"x"), &[ErrorKind::InvalidParameter])?;
    key.destroy(bench)
}

fn concurrent_calls(bench: &Bench<'_>) -> Clause {
    let threads = bench.instance.info().map_err(show)?.concurrency.min(8);
    let keys: Vec<_> =
        (0..threads).map(|_| Key::generate(bench, Usage::Mac)).collect::<Result<_, _>>()?;
    let expected: Vec<_> = keys
        .iter()
        .map(|key| key.mac(bench, b"message").map_err(show))
        .collect::<Result<_, _>>()?;
    let instance = &bench.instance;
    let mixed = std::thread::scope(|scope| {
        let running: Vec<_> = keys
            .iter()
            .zip(&expected)
            .map(|(key, expected)| {
                scope.spawn(move || {
                    (0..50).try_for_each(|_| {
                        let mac = instance.mac(key.key_ref(), b"message").map_err(show)?;
                        ensure(mac.expose() == expected.expose(), "a mac of another key came back")
                    })
                })
            })
            .collect();
        running.into_iter().try_for_each(|thread| {
            thread.join().unwrap_or_else(|_| Err("a thread panicked".into()))
        })
    });
    mixed?;
    keys.iter().try_for_each(|key| key.destroy(bench))
}

fn many_keys(bench: &Bench<'_>) -> Clause {
    let keys: Vec<_> =
        (0..20).map(|_| Key::generate(bench, Usage::Mac)).collect::<Result<_, _>>()?;
    let first: Vec<_> = keys
        .iter()
        .map(|key| key.mac(bench, b"message").map_err(show))
        .collect::<Result<_, _>>()?;
    for (key, expected) in keys.iter().zip(&first).rev() {
        let mac = key.mac(bench, b"message").map_err(show)?;
        ensure(mac.expose() == expected.expose(), "a key gave another mac the second time")?;
    }
    keys.iter().try_for_each(|key| key.destroy(bench))
}

fn absent_capability(bench: &Bench<'_>) -> Clause {
    let unsupported = &[ErrorKind::Unsupported];
    let mismatched = KeySpec { algorithm: Algorithm::EcdsaP256, ..spec(bench, Usage::Mac) };
    expect_kind(
        bench.instance.generate(&mismatched),
        &[ErrorKind::Unsupported, ErrorKind::InvalidParameter],
    )?;
    let able = bench.instance.info().map_err(show)?.capabilities;
    for (usage, algorithm) in [
        (Usage::Sign, Algorithm::EcdsaP256),
        (Usage::Aead, Algorithm::Aes256Gcm),
        (Usage::Rsa, Algorithm::Rsa2048),
        (Usage::Rsa, Algorithm::Rsa4096),
    ] {
        if !able.can_generate(usage, algorithm) {
            let made = bench.instance.generate(&KeySpec { algorithm, ..spec(bench, usage) });
            expect_kind(made, unsupported).map_err(|seen| format!("{algorithm:?}: {seen}"))?;
        }
    }
    for usage in [Usage::Seal, Usage::Mac, Usage::Sign, Usage::Aead, Usage::Rsa] {
        if !able.can_import(usage) {
            let key = SecretBytes::copy_of(&[1; 32]);
            let made = bench.instance.import(&spec(bench, usage), &key);
            expect_kind(made, unsupported).map_err(|seen| format!("import {usage:?}: {seen}"))?;
        }
    }
    let key = |usage| KeyRef { usage, id: bench.id(), blob: b"blob" };
    if !able.can_generate(Usage::Aead, Algorithm::Aes256Gcm) {
        let input = AeadInput { iv: b"iv", aad: b"", text: &[7; 16] };
        expect_kind(bench.instance.aead_encrypt(key(Usage::Aead), input), unsupported)?;
        expect_kind(bench.instance.aead_decrypt(key(Usage::Aead), input), unsupported)?;
    }
    if !able.contains(Capabilities::RSA_2048) && !able.contains(Capabilities::RSA_4096) {
        expect_kind(bench.instance.rsa_public(key(Usage::Rsa)), unsupported)?;
        expect_kind(bench.instance.rsa_private(key(Usage::Rsa), &[7; 256]), unsupported)?;
    }
    if !can(bench, Capabilities::STATE_BINDING)? {
        let state = StateBinding::new("sha256:7").map_err(show)?;
        let bound = KeySpec { state: Some(state), ..spec(bench, Usage::Seal) };
        expect_kind(bench.instance.generate(&bound), unsupported)?;
    }
    Ok(())
}

/// A key of the device under test.
pub(super) struct Key {
    pub(super) usage: Usage,
    pub(super) id: KeyId,
    pub(super) blob: KeyBlob,
}

impl Key {
    pub(super) fn generate(bench: &Bench<'_>, usage: Usage) -> Result<Self, String> {
        Self::generate_of(bench, usage, usage.default_algorithm())
    }

    pub(super) fn generate_of(
        bench: &Bench<'_>,
        usage: Usage,
        algorithm: Algorithm,
    ) -> Result<Self, String> {
        let spec = KeySpec { algorithm, ..spec(bench, usage) };
        let blob = bench.instance.generate(&spec).map_err(|error| format!("generate: {error}"))?;
        Ok(Self { usage, id: spec.id, blob })
    }

    pub(super) fn import(bench: &Bench<'_>, usage: Usage, key: &[u8]) -> Result<Self, String> {
        let spec = spec(bench, usage);
        let key = SecretBytes::copy_of(key);
        let blob =
            bench.instance.import(&spec, &key).map_err(|error| format!("import: {error}"))?;
        Ok(Self { usage, id: spec.id, blob })
    }

    pub(super) fn key_ref(&self) -> KeyRef<'_> {
        KeyRef { usage: self.usage, id: self.id, blob: &self.blob.0 }
    }

    pub(super) fn mac(&self, bench: &Bench<'_>, input: &[u8]) -> crate::Result<crate::Mac> {
        bench.instance.mac(self.key_ref(), input)
    }

    pub(super) fn destroy(&self, bench: &Bench<'_>) -> Clause {
        bench.instance.destroy(self.key_ref()).map_err(|error| format!("destroy: {error}"))
    }
}

pub(super) fn spec(bench: &Bench<'_>, usage: Usage) -> KeySpec {
    KeySpec { usage, algorithm: usage.default_algorithm(), id: bench.id(), state: None }
}

pub(super) fn can(bench: &Bench<'_>, capability: Capabilities) -> Result<bool, String> {
    Ok(bench.instance.info().map_err(show)?.capabilities.contains(capability))
}

pub(super) fn ensure(holds: bool, otherwise: &str) -> Clause {
    if holds { Ok(()) } else { Err(otherwise.to_owned()) }
}

pub(super) fn expect_kind<T>(result: crate::Result<T>, kinds: &[ErrorKind]) -> Clause {
    match result {
        Err(error) if kinds.contains(&error.kind) => Ok(()),
        other => Err(unexpected(&other, &format!("{kinds:?}"))),
    }
}

pub(super) fn unexpected<T>(result: &crate::Result<T>, expected: &str) -> String {
    match result {
        Ok(_) => format!("success instead of {expected}"),
        Err(error) => format!("{error} instead of {expected}"),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it stands in map_err")]
pub(super) fn show(error: ProviderError) -> String {
    error.to_string()
}
