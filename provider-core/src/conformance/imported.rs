//! The clauses about imported sign keys, for a device that can.

use super::clauses::{Key, Named, can, ensure, expect_kind, show, spec};
use super::vectors::{P256_ORDER, P256_PRIVATE, P256_PUBLIC};
use super::{Bench, Clause};
use crate::error::ErrorKind;
use crate::key::{Capabilities, PRIVATE_KEY_BYTES, Usage};
use crate::secret::SecretBytes;

/// Every clause.
pub(super) const ALL: &[Named] = &[
    ("an imported sign key has its point and signs", imported_key_signs),
    ("what is no private number of P-256 is not imported", import_limits),
];

fn imported_key_signs(bench: &Bench<'_>) -> Clause {
    if !can(bench, Capabilities::IMPORT_SIGN)? {
        return Ok(());
    }
    let key = Key::import(bench, Usage::Sign, &P256_PRIVATE)?;
    let point = bench.instance.public_key(key.key_ref()).map_err(show)?;
    ensure(point.0 == P256_PUBLIC, "the point is another one")?;
    let digest = [0x5a; 32];
    let signature = bench.instance.sign(key.key_ref(), &digest).map_err(show)?;
    ensure((bench.setup.verify)(&P256_PUBLIC, &digest, &signature.0), "it does not verify")?;
    key.destroy(bench)
}

fn import_limits(bench: &Bench<'_>) -> Clause {
    if !can(bench, Capabilities::IMPORT_SIGN)? {
        return Ok(());
    }
    let (mut one, mut greatest) = ([0; PRIVATE_KEY_BYTES], P256_ORDER);
    one[31] = 1;
    greatest[31] -= 1;
    for number in [one, greatest] {
        let key = Key::import(bench, Usage::Sign, &number)?;
        let point = bench.instance.public_key(key.key_ref()).map_err(show)?;
        let signature = bench.instance.sign(key.key_ref(), &[7; 32]).map_err(show)?;
        ensure((bench.setup.verify)(&point.0, &[7; 32], &signature.0), "it does not verify")?;
        key.destroy(bench)?;
    }
    let too_short = P256_PRIVATE.get(1..).unwrap_or_default();
    let too_long = [&[0][..], &P256_PRIVATE].concat();
    for number in [&[0; 32][..], &P256_ORDER, &[0xff; 32], &[], too_short, &too_long] {
        let made = bench.instance.import(&spec(bench, Usage::Sign), &SecretBytes::copy_of(number));
        expect_kind(made, &[ErrorKind::InvalidParameter])
            .map_err(|seen| format!("{number:02x?}: {seen}"))?;
    }
    Ok(())
}
