//! What a wiretap sees, and what a memory dump shows.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};

use provider_core::{Provider, SecretBytes, Usage};
use swtpm_fixtures::{CommandCounter, Swtpm};

use crate::support::{Key, open};

/// Keys, masked so that this binary does not hold them. Other tests run in the same memory, so
/// the search has a key of its own.
const WIRE_KEY: &[u8; 48] = b"marker of an imported key: 48 bytes in its whole";
const MEMORY_KEY: &[u8; 48] = b"another marker, searched in memory, of 48 bytes.";
const MASK: u8 = 0xA5;

/// The same of 32 bytes, for an aead key and for a private number.
const WIRE_AEAD: &[u8; 32] = b"marker of an imported AES key...";
const WIRE_NUMBER: &[u8; 32] = b"marker of a private P-256 number";
const MEMORY_NUMBER: &[u8; 32] = b"a number that memory is dug for.";

fn unmasked(masked: &[u8]) -> SecretBytes {
    let mut bytes = vec![0; masked.len()];
    for (place, masked) in bytes.iter_mut().zip(masked) {
        *place = masked ^ MASK;
    }
    SecretBytes::new(bytes.into())
}

fn check(settings: &[(&str, &str)], visible: bool) {
    let swtpm = Swtpm::start().unwrap();
    let wire = CommandCounter::in_front_of(&swtpm).unwrap();
    let (provider, _) = open(&wire.tcti(), settings, None).unwrap();
    let key = Key::import(&provider, Usage::Mac, &unmasked(WIRE_KEY)).unwrap();
    let mac = key.mac(&provider).unwrap();
    let mut random = [0; 16];
    provider.random(&mut random).unwrap();
    assert_eq!(wire.saw(unmasked(WIRE_KEY).expose()), visible, "imported key");
    assert_eq!(wire.saw(b"message"), visible, "input");
    assert_eq!(wire.saw(mac.expose()), visible, "mac");
    assert_eq!(wire.saw(&random), visible, "random bytes");
    let key = Key::import(&provider, Usage::Aead, &unmasked(WIRE_AEAD)).unwrap();
    key.encrypt(&provider).unwrap();
    // It is wrapped before the TPM hears of it.
    assert!(!wire.saw(unmasked(WIRE_AEAD).expose()), "imported aead key");
    Key::import(&provider, Usage::Sign, &unmasked(WIRE_NUMBER)).unwrap();
    assert!(!wire.saw(unmasked(WIRE_NUMBER).expose()), "imported private number");
    let key = Key::generate(&provider, Usage::Rsa, None).unwrap();
    let raised = provider.rsa_private(key.key_ref(), &[1; 256]).unwrap();
    assert_eq!(wire.saw(raised.expose()), visible, "result of the private operation");
    assert_eq!(provider.info().notes.contains("session_encryption is off"), visible);
}

#[test]
fn wire_shows_no_key_input_mac_or_random_byte() {
    check(&[], false);
}

#[test]
fn wire_without_session_encryption_shows_them_and_info_says_so() {
    check(&[("session_encryption", "false")], true);
}

/// Imports a key and looks for it in memory, with encrypted sessions and without.
fn check_memory(usage: Usage, masked: &[u8]) {
    for settings in [&[][..], &[("session_encryption", "false")]] {
        let swtpm = Swtpm::start().unwrap();
        let (provider, _) = open(&swtpm.tcti(), settings, None).unwrap();
        let marker = unmasked(masked);
        assert!(memory_holds(masked), "the search finds what is there");
        let key = Key::import(&provider, usage, &marker).unwrap();
        drop(marker);
        assert!(!memory_holds(masked), "{settings:?}");
        provider.destroy(key.key_ref()).unwrap();
    }
}

#[test]
fn imported_key_is_nowhere_in_memory_afterwards() {
    check_memory(Usage::Mac, MEMORY_KEY);
}

#[test]
fn imported_private_number_is_nowhere_in_memory_afterwards() {
    check_memory(Usage::Sign, MEMORY_NUMBER);
}

#[test]
fn imported_aead_key_is_nowhere_in_memory_before_its_use_and_after_its_end() {
    const MEMORY_AEAD: &[u8; 32] = b"an AES key that memory has a bit";
    check_memory(Usage::Aead, MEMORY_AEAD);
    let swtpm = Swtpm::start().unwrap();
    let (provider, _) = open(&swtpm.tcti(), &[], None).unwrap();
    let key = Key::import(&provider, Usage::Aead, &unmasked(MEMORY_AEAD)).unwrap();
    assert!(!memory_holds(MEMORY_AEAD), "before");
    key.encrypt(&provider).unwrap();
    assert!(memory_holds(MEMORY_AEAD), "in use");
    provider.destroy(key.key_ref()).unwrap();
    assert!(!memory_holds(MEMORY_AEAD), "after");
}

/// Looks for a marker in every readable mapping of this process.
fn memory_holds(masked: &[u8]) -> bool {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let mut memory = File::open("/proc/self/mem").unwrap();
    maps.lines().filter(|line| line.contains(" rw")).any(|line| {
        let (range, _) = line.split_once(' ').unwrap();
        let (start, end) = range.split_once('-').unwrap();
        let [start, end] = [start, end].map(|text| u64::from_str_radix(text, 16).unwrap());
        let mut bytes = Vec::new();
        memory.seek(SeekFrom::Start(start)).unwrap();
        // Some mappings cannot be read, and none of those is ours.
        let _ = (&mut memory).take(end - start).read_to_end(&mut bytes);
        // Masked in place, so that this copy is not found by the next search.
        bytes.iter_mut().for_each(|byte| *byte ^= MASK);
        bytes.windows(masked.len()).any(|window| window == masked)
    })
}
