//! The budget of TPM commands, counted and not timed.

use provider_core::key::SEAL_LABEL;
use provider_core::{Provider, Usage};
use provider_tpm::TpmProvider;
use swtpm_fixtures::{CommandCounter, Swtpm};

use crate::support::{Key, open};

const POLICY_PCR: u32 = 0x17F;
const HMAC: u32 = 0x155;
const SIGN: u32 = 0x15D;

fn counted() -> (Swtpm, CommandCounter, TpmProvider) {
    let swtpm = Swtpm::start().unwrap();
    let counter = CommandCounter::in_front_of(&swtpm).unwrap();
    let (provider, _) = open(&counter.tcti(), &[], None).unwrap();
    (swtpm, counter, provider)
}

/// Uses a key once to load it, then checks the commands of the second and third use together.
fn check(usage: Usage, state: Option<&str>, expected: &[(u32, u64)]) {
    let (_swtpm, counter, provider) = counted();
    let key = Key::generate(&provider, usage, state).unwrap();
    let run = || match usage {
        Usage::Seal => drop(provider.mac(key.key_ref(), SEAL_LABEL).unwrap()),
        Usage::Mac => drop(key.mac(&provider).unwrap()),
        Usage::Sign => drop(provider.sign(key.key_ref(), &[1; 32]).unwrap()),
    };
    run();
    counter.reset();
    run();
    run();
    assert_eq!(counter.counts().into_iter().collect::<Vec<_>>(), expected);
}

#[test]
fn mac_of_a_loaded_key_is_one_command() {
    check(Usage::Mac, None, &[(HMAC, 2)]);
}

#[test]
fn mac_of_a_loaded_seal_key_is_one_command() {
    check(Usage::Seal, None, &[(HMAC, 2)]);
}

#[test]
fn mac_of_a_bound_key_is_two_commands() {
    check(Usage::Seal, Some("sha256:7,11"), &[(HMAC, 2), (POLICY_PCR, 2)]);
}

#[test]
fn signature_of_a_loaded_key_is_one_command() {
    check(Usage::Sign, None, &[(SIGN, 2)]);
}

#[test]
fn public_half_of_a_loaded_key_is_no_command() {
    let (_swtpm, counter, provider) = counted();
    let key = Key::generate(&provider, Usage::Sign, None).unwrap();
    provider.public_key(key.key_ref()).unwrap();
    counter.reset();
    provider.public_key(key.key_ref()).unwrap();
    assert_eq!(counter.counts().len(), 0);
}

#[test]
fn swapping_a_key_in_again_takes_no_load() {
    let (_swtpm, counter, provider) = counted();
    let keys: Vec<_> =
        (0..4).map(|_| Key::generate(&provider, Usage::Mac, None).unwrap()).collect();
    keys.iter().chain(&keys).for_each(|key| drop(key.mac(&provider).unwrap()));
    counter.reset();
    keys.iter().for_each(|key| drop(key.mac(&provider).unwrap()));
    let (context_load, flush) = (0x161, 0x165);
    assert_eq!(
        counter.counts().into_iter().collect::<Vec<_>>(),
        [(HMAC, 4), (context_load, 4), (flush, 4)]
    );
}
