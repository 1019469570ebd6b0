//! The provider in C keeps the whole contract.

use libloading::Library;
use provider_core::abi;
use provider_core::conformance::{self, Setup};
use provider_core::{SecretBytes, Secrets, Settings};

use crate::build::compile;

fn device(root: u8) -> (Settings, Secrets) {
    (Settings::default(), Secrets::new([("root", SecretBytes::copy_of(&[root; 32]))]))
}

/// Runs the conformance kit against a C source.
#[expect(unsafe_code, reason = "a library is loaded, and its functions are called")]
fn check(source: &str) -> Result<(), Vec<String>> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("plugin.so");
    compile(source, &file);
    // SAFETY: it was made just now of a source in this tree, whose initializers do no harm.
    let library = unsafe { Library::new(&file) }.unwrap();
    // Plugins are never unloaded.
    let library: &'static Library = Box::leak(Box::new(library));
    // SAFETY: the symbol is the entry of `docs/abi.md`, of this type.
    let entry = unsafe { library.get::<abi::Entry>(abi::ENTRY_SYMBOL) }.unwrap();
    let setup = Setup {
        entry: *entry,
        device: &|| device(1),
        other_device: &|| device(2),
        // It has no sign and rsa keys, so nothing is to be verified.
        verify: &|_, _, _| false,
        verify_rsa: &|_, _, _| false,
    };
    // SAFETY: the entry is that of a library that is never unloaded.
    unsafe { conformance::run(&setup) }
}

#[test]
fn provider_in_c_keeps_the_contract() {
    assert_eq!(check("good"), Ok(()));
}

#[test]
fn provider_with_a_shorter_table_keeps_the_contract() {
    assert_eq!(check("shorter_table"), Ok(()));
}

#[test]
fn provider_with_a_longer_table_keeps_the_contract() {
    assert_eq!(check("longer_table"), Ok(()));
}

#[test]
fn outputs_hold_nothing_of_other_calls() {
    assert_eq!(check("peeks_at_outputs"), Ok(()));
}

#[test]
fn kit_names_the_clauses_that_a_provider_breaks() {
    let failures = check("wrong_answers").unwrap_err();
    let named = |clause: &str| failures.iter().any(|failure| failure.starts_with(clause));
    assert!(named("known answers of HMAC-SHA256: case 1: wrong answer"), "{failures:#?}");
    assert!(named("self test passes: Integrity"), "{failures:#?}");
}

#[test]
fn kit_finds_counters_that_do_not_rise() {
    let failures = check("counter_stands").unwrap_err();
    let named = |clause: &str| failures.iter().any(|failure| failure.starts_with(clause));
    for clause in [
        "a counter rises and is read as it is: it did not rise",
        "no value is given twice to concurrent calls: a value was given twice",
        "an id has one counter: success instead of",
        "a counter is refused under another id: success instead of",
        "a foreign counter blob is refused: success instead of",
        "a destroyed counter is gone, by id alone too: success instead of",
    ] {
        assert!(named(clause), "{clause}: {failures:#?}");
    }
}

#[test]
fn kit_finds_counters_without_their_functions() {
    let failures = check("counter_missing").unwrap_err();
    let named = |clause: &str| failures.iter().any(|failure| failure.starts_with(clause));
    assert!(named("a counter rises and is read as it is: counter_create"), "{failures:#?}");
}

#[test]
fn kit_finds_a_changed_identity() {
    let failures = check("changes_identity").unwrap_err();
    assert!(failures.iter().any(|it| it.contains("identity")), "{failures:#?}");
}
