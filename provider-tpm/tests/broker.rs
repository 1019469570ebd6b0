//! The TPM provider behind a resource manager (tpm2-abrmd on a private bus), which is also how
//! `/dev/tpmrm0` behaves: objects and sessions are virtual, and each program has its own.
#![expect(clippy::unwrap_used, reason = "the helpers of a test fail it as it does itself")]
#![expect(clippy::tests_outside_test_module, reason = "an integration test is a test module")]

use std::collections::BTreeMap;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use provider_core::{
    AeadInput, ErrorKind, Identity, KeyBlob, KeyId, KeyRef, KeySpec, Provider, SecretBytes,
    Secrets, Settings, StateBinding, Usage,
};
use provider_tpm::TpmProvider;
use swtpm_fixtures::{CommandCounter, Swtpm};

const WITHIN: &str = "BROKER_TEST";
const TCTI: &str = "tabrmd:bus_type=session";
const PERSISTING: [(&str, &str); 3] =
    [("persist_keys", "0x81020000-0x81020000"), ("persist_after", "2"), ("persist_interval", "0")];
/// Starts the broker on the bus of `dbus-run-session`, then this binary again; both end with it.
const SCRIPT: &str = r#"
tpm2-abrmd --session --allow-root --tcti="$1" & broker=$!
"$2" --exact user --nocapture; status=$?
kill "$broker"; wait "$broker"; exit "$status"
"#;

#[test]
fn keys_work_behind_a_resource_manager() {
    run("all", &Swtpm::start().unwrap().tcti());
}

#[test]
fn nothing_is_swapped_for_a_persisted_key() {
    let (context_load, flush, load, hmac) = (0x161, 0x165, 0x157, 0x155);
    let persisted = commands_of_eight_macs("persisting");
    assert_eq!(persisted.get(&hmac), Some(&8));
    assert_eq!((persisted.get(&load), persisted.get(&flush)), (None, None));
    // What is left to load is the session.
    assert_eq!(persisted.get(&context_load), Some(&8));
    let swapped = commands_of_eight_macs("swapped");
    assert_eq!(swapped.get(&context_load), Some(&16), "the session and the key");
    assert_eq!(swapped.get(&flush), Some(&8), "the key, after each command");
}

/// The commands that eight more MACs of a key cost at the TPM itself, by code.
fn commands_of_eight_macs(how: &str) -> BTreeMap<u32, u64> {
    let counts = |macs: u32| {
        let swtpm = Swtpm::start().unwrap();
        let wire = CommandCounter::in_front_of(&swtpm).unwrap();
        run(&format!("{how} {macs}"), &wire.tcti());
        wire.counts()
    };
    let (less, more) = (counts(4), counts(12));
    let difference = |(code, count): (u32, u64)| {
        let count = count - less.get(&code).copied().unwrap_or_default();
        (count > 0).then_some((code, count))
    };
    more.into_iter().filter_map(difference).collect()
}

/// Runs [`user`] beside a broker.
fn run(what: &str, tcti: &str) {
    let output = Command::new("dbus-run-session")
        .args(["--", "sh", "-c", SCRIPT, "sh", tcti])
        .arg(std::env::current_exe().unwrap())
        .env(WITHIN, what)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("all of it works"),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// What runs beside the broker; elsewhere, without the variable, there is none.
#[test]
fn user() {
    let Some(what) = std::env::var_os(WITHIN) else { return };
    let what = what.into_string().unwrap();
    match what.split_once(' ') {
        Some(("persisting", macs)) => use_one_key(&PERSISTING, macs.parse().unwrap()),
        Some((_, macs)) => use_one_key(&[], macs.parse().unwrap()),
        None => use_many_keys(),
    }
    println!("all of it works");
}

fn use_many_keys() {
    let (one, identity) = open_when_ready(&[]);
    let (two, again) = open(&[], Some(&identity)).unwrap();
    assert_eq!(again, identity);
    two_programs_do_not_disturb_each_other(&one, &two);
    bound_keys_work(&one);
    wrapped_and_imported_keys_work(&one, &two);
    one.self_test().unwrap();
    two.self_test().unwrap();
}

fn use_one_key(settings: &[(&str, &str)], macs: u32) {
    let (provider, _) = open_when_ready(settings);
    let blob = generate(&provider, Usage::Mac, None);
    let key = KeyRef { usage: Usage::Mac, id: KeyId([7; 16]), blob: &blob };
    let mac = || provider.mac(key, b"message").unwrap().expose().to_vec();
    let first = mac();
    (1..macs).for_each(|_| assert_eq!(mac(), first));
    provider.destroy(key).unwrap();
}

fn open(
    more: &[(&str, &str)],
    known: Option<&Identity>,
) -> provider_core::Result<(TpmProvider, Identity)> {
    let entries = more.iter().copied().chain([("tcti", TCTI)]);
    TpmProvider::open(Settings::new(entries), Secrets::default(), known)
}

/// The broker takes its name on the bus some time after it was started.
fn open_when_ready(settings: &[(&str, &str)]) -> (TpmProvider, Identity) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        match open(settings, None) {
            Ok(opened) => return opened,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        thread::sleep(Duration::from_millis(20));
    }
}

fn two_programs_do_not_disturb_each_other(one: &TpmProvider, two: &TpmProvider) {
    let keys: Vec<_> = (0..20).map(|_| generate(one, Usage::Mac, None)).collect();
    let mac = |provider: &TpmProvider, blob: &Vec<u8>| {
        let key = KeyRef { usage: Usage::Mac, id: KeyId([7; 16]), blob };
        provider.mac(key, b"message").unwrap().expose().to_vec()
    };
    let first: Vec<_> = keys.iter().map(|key| mac(one, key)).collect();
    let other: Vec<_> = keys.iter().rev().map(|key| mac(two, key)).rev().collect();
    assert_eq!(first, other);
    let sign = generate(two, Usage::Sign, None);
    let key = KeyRef { usage: Usage::Sign, id: KeyId([7; 16]), blob: &sign };
    one.sign(key, &[1; 32]).unwrap();
    assert_eq!(one.public_key(key).unwrap(), two.public_key(key).unwrap());
}

fn bound_keys_work(provider: &TpmProvider) {
    let (one, two) = ("sha256:7", "sha256:8,9");
    let keys = [one, two].map(|state| generate(provider, Usage::Mac, Some(state)));
    for blob in keys.iter().chain(&keys) {
        let key = KeyRef { usage: Usage::Mac, id: KeyId([7; 16]), blob };
        provider.mac(key, b"message").unwrap();
        let other = KeyRef { usage: Usage::Seal, ..key };
        let error = provider.mac(other, provider_core::key::SEAL_LABEL).unwrap_err();
        assert_eq!(error.kind, ErrorKind::InvalidParameter);
    }
}

fn wrapped_and_imported_keys_work(one: &TpmProvider, two: &TpmProvider) {
    let id = KeyId([7; 16]);
    let aead = generate(one, Usage::Aead, None);
    let aead = KeyRef { usage: Usage::Aead, id, blob: &aead };
    let input = AeadInput { iv: b"iv", aad: b"", text: b"message" };
    let text = one.aead_encrypt(aead, input).unwrap();
    let text = two.aead_decrypt(aead, AeadInput { text: &text, ..input }).unwrap();
    assert_eq!(text.expose(), b"message");
    let rsa = generate(one, Usage::Rsa, None);
    let rsa = KeyRef { usage: Usage::Rsa, id, blob: &rsa };
    let [first, other] =
        [one, two].map(|provider| provider.rsa_private(rsa, &[1; 256]).unwrap().expose().to_vec());
    assert_eq!(first, other);
    let (usage, algorithm) = (Usage::Sign, Usage::Sign.default_algorithm());
    let spec = KeySpec { usage, algorithm, id, state: None };
    let KeyBlob(sign) = one.import(&spec, &SecretBytes::copy_of(&[3; 32])).unwrap();
    two.sign(KeyRef { usage, id, blob: &sign }, &[1; 32]).unwrap();
}

fn generate(provider: &TpmProvider, usage: Usage, state: Option<&str>) -> Vec<u8> {
    let state = state.map(|text| StateBinding::new(text).unwrap());
    let algorithm = usage.default_algorithm();
    let KeyBlob(blob) =
        provider.generate(&KeySpec { usage, algorithm, id: KeyId([7; 16]), state }).unwrap();
    blob
}
