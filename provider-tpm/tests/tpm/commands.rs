//! The budget of TPM commands, counted and not timed.

use provider_core::key::SEAL_LABEL;
use provider_core::{Provider, Usage};
use provider_tpm::TpmProvider;
use swtpm_fixtures::{CommandCounter, Swtpm};

use crate::support::{Key, open};

const POLICY_PCR: u32 = 0x17F;
const HMAC: u32 = 0x155;
const SIGN: u32 = 0x15D;
const RSA_DECRYPT: u32 = 0x159;
const LOAD: u32 = 0x157;

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
        Usage::Aead => drop(key.encrypt(&provider).unwrap()),
        Usage::Rsa => drop(provider.rsa_private(key.key_ref(), &[1; 256]).unwrap()),
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
fn private_operation_of_a_loaded_rsa_key_is_one_command() {
    check(Usage::Rsa, None, &[(RSA_DECRYPT, 2)]);
}

#[test]
fn aead_key_in_memory_takes_no_command() {
    check(Usage::Aead, None, &[]);
}

/// The commands of the first use of an aead key, by the instance that made it or by another one.
fn check_first_use(by_another: bool, expected: &[(u32, u64)]) {
    let (_swtpm, counter, provider) = counted();
    let key = Key::generate(&provider, Usage::Aead, None).unwrap();
    let provider = if by_another { open(&counter.tcti(), &[], None).unwrap().0 } else { provider };
    counter.reset();
    key.encrypt(&provider).unwrap();
    assert_eq!(counter.counts().into_iter().collect::<Vec<_>>(), expected);
}

#[test]
fn first_use_of_an_aead_key_is_one_command() {
    check_first_use(false, &[(HMAC, 1)]);
}

#[test]
fn first_use_of_an_aead_key_after_a_restart_loads_its_key_too() {
    check_first_use(true, &[(HMAC, 1), (LOAD, 1)]);
}

#[test]
fn modulus_of_a_loaded_key_is_no_command() {
    let (_swtpm, counter, provider) = counted();
    let key = Key::generate(&provider, Usage::Rsa, None).unwrap();
    provider.rsa_public(key.key_ref()).unwrap();
    counter.reset();
    provider.rsa_public(key.key_ref()).unwrap();
    provider.rsa_private(key.key_ref(), &[0xFF; 256]).unwrap_err();
    assert_eq!(counter.counts().len(), 0);
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
