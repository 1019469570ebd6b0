//! What a wiretap sees, and what a memory dump shows.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};

use provider_core::{Provider, SecretBytes};
use swtpm_fixtures::{CommandCounter, Swtpm};

use crate::support::{Key, open};

/// Keys, masked so that this binary does not hold them. Other tests run in the same memory, so
/// the search has a key of its own.
const WIRE_KEY: &[u8; 48] = b"marker of an imported key: 48 bytes in its whole";
const MEMORY_KEY: &[u8; 48] = b"another marker, searched in memory, of 48 bytes.";
const MASK: u8 = 0xA5;

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
    let key = Key::import(&provider, &unmasked(WIRE_KEY));
    let mac = key.mac(&provider).unwrap();
    let mut random = [0; 16];
    provider.random(&mut random).unwrap();
    assert_eq!(wire.saw(unmasked(WIRE_KEY).expose()), visible, "imported key");
    assert_eq!(wire.saw(b"message"), visible, "input");
    assert_eq!(wire.saw(mac.expose()), visible, "mac");
    assert_eq!(wire.saw(&random), visible, "random bytes");
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

#[test]
fn imported_key_is_nowhere_in_memory_afterwards() {
    for settings in [&[][..], &[("session_encryption", "false")]] {
        let swtpm = Swtpm::start().unwrap();
        let (provider, _) = open(&swtpm.tcti(), settings, None).unwrap();
        let marker = unmasked(MEMORY_KEY);
        assert!(memory_holds_the_marker(), "the search finds what is there");
        let key = Key::import(&provider, &marker);
        drop(marker);
        assert!(!memory_holds_the_marker(), "{settings:?}");
        key.mac(&provider).unwrap();
    }
}

/// Looks for the marker in every readable mapping of this process.
fn memory_holds_the_marker() -> bool {
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
        bytes.windows(MEMORY_KEY.len()).any(|window| window == MEMORY_KEY)
    })
}
