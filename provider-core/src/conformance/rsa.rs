//! The clauses about `Rsa` keys, of each size that a device has.

use super::clauses::{Key, Named, ensure, expect_kind, show, unexpected};
use super::vectors::{SHA256_DIGEST_INFO, SHA256_OF_ABC};
use super::{Bench, Clause};
use crate::error::ErrorKind;
use crate::key::{Algorithm, KeyRef, Usage};

/// Every clause.
pub(super) const ALL: &[Named] = &[
    ("an rsa key raises what it is given to its private exponent", private_operation),
    ("what an rsa key cannot raise is refused", inputs_are_checked),
    ("an rsa key is refused under another usage and id", key_is_bound),
    ("rsa keys survive closing and opening, and concurrent calls", keys_survive),
    ("destroy of an rsa key is repeatable", destroy_is_repeatable),
];

fn algorithms(bench: &Bench<'_>) -> Result<Vec<Algorithm>, String> {
    let able = bench.instance.info().map_err(show)?.capabilities;
    let mut algorithms = vec![Algorithm::Rsa2048, Algorithm::Rsa4096];
    algorithms.retain(|algorithm| able.can_generate(Usage::Rsa, *algorithm));
    Ok(algorithms)
}

/// A key of the smallest size that there is, because making one takes long.
fn some_key(bench: &Bench<'_>) -> Result<Option<(Key, Vec<u8>)>, String> {
    let Some(algorithm) = algorithms(bench)?.first().copied() else { return Ok(None) };
    let key = Key::generate_of(bench, Usage::Rsa, algorithm)?;
    let modulus = bench.instance.rsa_public(key.key_ref()).map_err(show)?;
    Ok(Some((key, modulus.0)))
}

/// EMSA-PKCS1-v1_5 of SHA-256 of `abc` (RFC 8017 section 9.2).
fn block(bytes: usize) -> Vec<u8> {
    let digest = [&SHA256_DIGEST_INFO[..], &SHA256_OF_ABC].concat();
    let mut block = vec![0xff; bytes.saturating_sub(digest.len())];
    if let [zero, one, .., last] = &mut block[..] {
        (*zero, *one, *last) = (0, 1, 0);
    }
    block.extend_from_slice(&digest);
    block
}

fn private_operation(bench: &Bench<'_>) -> Clause {
    for algorithm in algorithms(bench)? {
        let key = Key::generate_of(bench, Usage::Rsa, algorithm)?;
        let modulus = bench.instance.rsa_public(key.key_ref()).map_err(show)?;
        let size = Some(modulus.0.len()) == algorithm.modulus_bytes() && modulus.is_whole();
        ensure(size, &format!("{algorithm:?}: the modulus has another size"))?;
        let signature = bench.instance.rsa_private(key.key_ref(), &block(modulus.0.len()));
        let signature = signature.map_err(|error| format!("{algorithm:?}: {error}"))?;
        let holds = (bench.setup.verify_rsa)(&modulus.0, b"abc", signature.expose());
        ensure(holds, &format!("{algorithm:?}: the signature does not verify"))?;
        let other = (bench.setup.verify_rsa)(&modulus.0, b"abd", signature.expose());
        ensure(!other, "the verifier accepts all")?;
        ensure(bench.instance.rsa_public(key.key_ref()) == Ok(modulus), "the modulus changed")?;
        key.destroy(bench)?;
    }
    Ok(())
}

fn inputs_are_checked(bench: &Bench<'_>) -> Clause {
    let Some((key, modulus)) = some_key(bench)? else { return Ok(()) };
    let longer = [&[0][..], &block(modulus.len())].concat();
    let shorter = block(modulus.len() - 1);
    let greatest = vec![0xff; modulus.len()];
    for (what, input) in [
        ("nothing", &[][..]),
        ("one byte less", &shorter),
        ("one byte more", &longer),
        ("the modulus", &modulus),
        ("more than the modulus", &greatest),
    ] {
        expect_kind(
            bench.instance.rsa_private(key.key_ref(), input),
            &[ErrorKind::InvalidParameter],
        )
        .map_err(|seen| format!("{what}: {seen}"))?;
    }
    key.destroy(bench)
}

fn key_is_bound(bench: &Bench<'_>) -> Clause {
    let Some((key, modulus)) = some_key(bench)? else { return Ok(()) };
    let invalid = &[ErrorKind::InvalidParameter];
    let mac = Key::generate(bench, Usage::Mac)?;
    let input = block(modulus.len());
    let mac_as_rsa = KeyRef { usage: Usage::Rsa, ..mac.key_ref() };
    expect_kind(bench.instance.rsa_private(mac_as_rsa, &input), invalid)?;
    expect_kind(bench.instance.rsa_public(mac_as_rsa), invalid)?;
    expect_kind(bench.instance.rsa_private(mac.key_ref(), &input), invalid)?;
    let other_id = KeyRef { id: bench.id(), ..key.key_ref() };
    expect_kind(bench.instance.rsa_private(other_id, &input), invalid)?;
    let rsa_as_mac = KeyRef { usage: Usage::Mac, ..key.key_ref() };
    expect_kind(bench.instance.mac(rsa_as_mac, b"x"), invalid)?;
    expect_kind(key.mac(bench, b"x"), invalid)?;
    mac.destroy(bench)?;
    key.destroy(bench)
}

fn keys_survive(bench: &Bench<'_>) -> Clause {
    let Some((key, modulus)) = some_key(bench)? else { return Ok(()) };
    let input = block(modulus.len());
    let (settings, secrets) = (bench.setup.device)();
    let opened = bench.plugin.open(&settings, &secrets, Some(&bench.identity));
    let (second, _identity) = opened.map_err(show)?;
    let after = second.rsa_private(key.key_ref(), &input).map_err(show)?;
    drop(second);
    let before = bench.instance.rsa_private(key.key_ref(), &input).map_err(show)?;
    ensure(before.expose() == after.expose(), "the key gives another number")?;
    let threads = bench.instance.info().map_err(show)?.concurrency.min(4);
    let (instance, key_ref, input, expected) = (&bench.instance, key.key_ref(), &input, &before);
    let same = std::thread::scope(|scope| {
        let call = || {
            (0..5).all(|_| {
                let result = instance.rsa_private(key_ref, input);
                result.is_ok_and(|result| result.expose() == expected.expose())
            })
        };
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(call)).collect();
        running.into_iter().all(|thread| thread.join().unwrap_or(false))
    });
    ensure(same, "a concurrent call gave another number")?;
    key.destroy(bench)
}

fn destroy_is_repeatable(bench: &Bench<'_>) -> Clause {
    let Some((key, modulus)) = some_key(bench)? else { return Ok(()) };
    key.destroy(bench)?;
    key.destroy(bench)?;
    match bench.instance.rsa_private(key.key_ref(), &block(modulus.len())) {
        Ok(_) => Ok(()),
        Err(error) if error.kind == ErrorKind::KeyNotFound => Ok(()),
        other => Err(unexpected(&other, "the number or KeyNotFound")),
    }
}
