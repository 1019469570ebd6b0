//! The conformance kit: the whole contract, run against a provider through its C table.
//!
//! A provider crate calls [`run`] once in its tests, with a real device (or emulator) behind it.
//! Each clause is named; all that fail are reported together.

mod aead;
mod clauses;
mod counters;
mod imported;
mod rsa;
mod vectors;

use crate::abi;
use crate::call::{Instance, Plugin};
use crate::key::{Identity, KeyId};
use crate::settings::{Secrets, Settings};

/// What the kit needs of a provider.
#[derive(Clone, Copy)]
#[expect(missing_debug_implementations, reason = "it holds closures")]
pub struct Setup<'a> {
    /// The plugin's entry, `sealhost_provider`.
    pub entry: abi::Entry,
    /// Settings and secrets of the device under test, the same device each time.
    pub device: &'a dyn Fn() -> (Settings, Secrets),
    /// The same of another device of its kind, whose keys are foreign to the first.
    pub other_device: &'a dyn Fn() -> (Settings, Secrets),
    /// Verifies an ECDSA P-256 signature (point, digest, r and s) by other code than the provider.
    pub verify: &'a Verify,
    /// Verifies an RSA signature (PKCS#1 v1.5 with SHA-256) by other code than the provider.
    pub verify_rsa: &'a VerifyRsa,
}

/// Takes an uncompressed point, a digest, and a signature as r and s; says whether it verifies.
pub type Verify = dyn Fn(&[u8; 65], &[u8; 32], &[u8; 64]) -> bool;

/// Takes a modulus, a message, and a signature under the exponent 65,537; says whether it verifies.
pub type VerifyRsa = dyn Fn(&[u8], &[u8], &[u8]) -> bool;

/// The outcome of one clause; the error says what was seen.
type Clause = Result<(), String>;

/// The device under test, opened.
struct Bench<'a> {
    setup: &'a Setup<'a>,
    plugin: Plugin,
    instance: Instance,
    identity: Identity,
    next_id: std::cell::Cell<u128>,
}

impl Bench<'_> {
    /// An id that this run has not used.
    fn id(&self) -> KeyId {
        let id = self.next_id.get();
        self.next_id.set(id.wrapping_add(1));
        KeyId(id.to_be_bytes())
    }
}

/// Runs every clause of the contract.
///
/// # Errors
/// The clauses that do not hold, each as "name: what was seen".
///
/// # Safety
/// 1. As [`Plugin::from_entry`].
#[expect(unsafe_code, reason = "the entry is a C function; its duties are the caller's")]
pub unsafe fn run(setup: &Setup<'_>) -> Result<(), Vec<String>> {
    // SAFETY: duty 1.
    let plugin = unsafe { Plugin::from_entry(setup.entry) };
    let plugin = plugin.map_err(|error| vec![format!("table: {error}")])?;
    let (settings, secrets) = (setup.device)();
    let (instance, identity) = plugin
        .open(&settings, &secrets, None)
        .map_err(|error| vec![format!("first open: {error}")])?;
    let start = instance.random(16).map_err(|error| vec![format!("random: {error}")])?;
    let start = start.expose().iter().fold(0_u128, |id, &byte| (id << 8) | u128::from(byte));
    let next_id = std::cell::Cell::new(start);
    let bench = Bench { setup, plugin, instance, identity, next_id };

    let all = [clauses::ALL, counters::ALL, aead::ALL, rsa::ALL, imported::ALL];
    let failures: Vec<_> = all
        .iter()
        .flat_map(|clauses| clauses.iter())
        .filter_map(|(name, clause)| clause(&bench).err().map(|seen| format!("{name}: {seen}")))
        .collect();
    if failures.is_empty() { Ok(()) } else { Err(failures) }
}
