//! The rooms of ARCHITECTURE.md, held against the sources.
#![expect(clippy::unwrap_used, clippy::tests_outside_test_module, reason = "an integration test")]

use std::fs;
use std::path::{Path, PathBuf};

/// A word that a room must not contain, and why it would be a breach.
type Word = (&'static str, &'static str);

const FILES: Word = ("std::fs", "files");
const NETWORK: Word = ("std::net", "sockets");
const UNIX_SOCKETS: Word = ("UnixStream", "sockets");
const THREADS: Word = ("std::thread", "threads");
const CLOCK: Word = ("SystemTime", "the clock");
const INSTANT: Word = ("Instant::now", "the clock");
const RANDOM: Word = ("rand::", "randomness of its own");
const CRYPTO: Word = ("aws_lc_rs", "a crypto library");

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Rust sources below a path of the workspace.
fn sources(below: &str) -> Vec<PathBuf> {
    fn walk(path: &Path, found: &mut Vec<PathBuf>) {
        if path.is_dir() {
            let entries = fs::read_dir(path).unwrap();
            entries.for_each(|entry| walk(&entry.unwrap().path(), found));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path.to_owned());
        }
    }
    let mut found = Vec::new();
    walk(&root().join(below), &mut found);
    assert!(!found.is_empty(), "{below} has no sources");
    found
}

/// The code of a file: no comments, no unit tests at its end.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let code = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    let is_code = |line: &&str| !line.trim_start().starts_with("//");
    code.lines().filter(is_code).collect::<Vec<_>>().join("\n")
}

/// Asserts that no source below these paths contains these words.
fn check(rooms: &[&str], words: &[Word], except: &[&str]) {
    let mut breaches = Vec::new();
    for path in rooms.iter().flat_map(|room| sources(room)) {
        let name = path.strip_prefix(root()).unwrap().display().to_string();
        if except.iter().any(|except| name.starts_with(except)) || name.contains("/tests/") {
            continue;
        }
        let code = code(&path);
        for (word, what) in words {
            if code.contains(word) {
                breaches.push(format!("{name} sees {what} ({word})"));
            }
        }
    }
    assert!(breaches.is_empty(), "{}", breaches.join("\n"));
}

#[test]
fn provider_core_sees_no_files_sockets_threads_clock_or_crypto() {
    let words = [FILES, NETWORK, UNIX_SOCKETS, THREADS, CLOCK, INSTANT, CRYPTO];
    check(&["provider-core/src"], &words, &["provider-core/src/conformance"]);
}

#[test]
fn wire_sees_no_files_sockets_threads_clock_or_randomness() {
    let words = [FILES, NETWORK, UNIX_SOCKETS, THREADS, CLOCK, INSTANT, RANDOM];
    check(&["wire/src"], &words, &[]);
}

#[test]
fn soft_aead_sees_no_files_sockets_threads_clock_or_randomness() {
    let words = [FILES, NETWORK, UNIX_SOCKETS, THREADS, CLOCK, INSTANT, RANDOM];
    check(&["soft-aead/src"], &words, &[]);
}

#[test]
fn providers_see_no_principals_envelopes_or_audit() {
    let words = [
        ("wire::", "the wire crate"),
        ("daemon::", "the daemon crate"),
        ("Envelope", "envelopes"),
        ("Principal", "principals"),
        ("audit", "the audit"),
        UNIX_SOCKETS,
    ];
    check(&["provider-soft/src", "provider-pkcs11/src", "provider-fault/src"], &words, &[]);
    // A TPM has audit sessions of its own.
    let words: Vec<_> = words.into_iter().filter(|(word, _)| *word != "audit").collect();
    check(&["provider-tpm/src"], &words, &[]);
}

#[test]
fn fault_plugin_knows_no_device() {
    let words = [
        ("tpm", "a TPM word"),
        ("TPM", "a TPM word"),
        ("pkcs11", "a PKCS#11 word"),
        ("PKCS", "a PKCS#11 word"),
        ("provider_soft", "a provider"),
        CRYPTO,
    ];
    check(&["provider-fault/src"], &words, &[]);
}

#[test]
fn daemon_sees_no_keys_or_providers() {
    let words = [("provider_core", "providers"), ("KeyBlob", "keys"), ("DataKey", "keys")];
    check(&["daemon/src"], &words, &[]);
    let row = "| daemon | Unix sockets, kernel peer credentials, rules, files of the audit, HTTP \
               framing, configuration files | keys, providers, what the requests mean |";
    let page = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    assert!(page.contains(row), "the row of the daemon is another");
}

#[test]
fn daemon_does_not_know_what_requests_mean() {
    let words = [
        ("wire::api", "requests and replies"),
        ("wire::envelope", "envelopes"),
        ("wire::context", "encryption contexts"),
        ("KeyName", "keys"),
        ("ProviderName", "providers"),
        ("/v1/", "an endpoint"),
    ];
    check(&["daemon/src"], &words, &[]);
    // Of the host, only its front-ends speak HTTP, and only its configuration TOML.
    let front = ["host/src/front"];
    check(&["host/src"], &[("hyper::", "HTTP"), ("http_body_util", "HTTP")], &front);
    check(&["host/src"], &[("toml::", "TOML")], &["host/src/config"]);
}

#[test]
fn front_ends_see_no_keys_or_providers() {
    let words = [
        ("crate::registry", "keys"),
        ("crate::router", "providers"),
        ("crate::plugin", "providers"),
        ("crate::ops", "operations"),
        ("provider_core", "providers"),
    ];
    check(&["host/src/front"], &words, &[]);
}

#[test]
fn host_middle_sees_no_descriptors_c_types_or_device_words() {
    let words = [
        ("OwnedFd", "file descriptors"),
        ("RawFd", "file descriptors"),
        ("c_char", "C types"),
        ("extern \"C\"", "C types"),
        ("tpm", "a TPM word"),
        ("Tpm", "a TPM word"),
        ("TPM", "a TPM word"),
        ("pcr", "a TPM word"),
        ("pkcs11", "a PKCS#11 word"),
        ("Pkcs11", "a PKCS#11 word"),
        ("PKCS11", "a PKCS#11 word"),
        ("PKCS#11", "a PKCS#11 word"),
        ("Slot", "a PKCS#11 word"),
        ("hyper", "HTTP"),
    ];
    let rooms = [
        "host/src/pipeline.rs",
        "host/src/ops",
        "host/src/router",
        "host/src/registry",
        "host/src/request.rs",
        "host/src/reply.rs",
    ];
    check(&rooms, &words, &[]);
}

#[test]
fn plugin_room_sees_no_rules_or_requests() {
    let words = [
        ("crate::request", "requests"),
        ("crate::reply", "replies"),
        ("crate::registry", "the registry"),
        ("daemon::rules", "rules"),
        ("daemon::peer", "principals"),
    ];
    check(&["host/src/plugin"], &words, &[]);
}

#[test]
fn clients_see_no_providers_or_host() {
    let words = [("provider_core", "providers"), ("sealhost::", "the host")];
    let clients = ["client/src", "sealctl/src", "secret-manager/src", "sas-signer/src"];
    check(&clients, &words, &[]);
}

#[test]
fn operations_never_answer_unrecorded_or_authorize() {
    let words = [("Recorded", "records"), (".authorize(", "authorization")];
    check(
        &["host/src/ops", "host/src/router", "host/src/registry", "host/src/plugin"],
        &words,
        &[],
    );
}

#[test]
fn unsafe_stands_in_the_files_that_the_architecture_names() {
    let page = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let named = page.split("**Unsafe**").nth(1).unwrap().split("\n\n").next().unwrap();
    let crates = ["provider-core", "provider-soft", "provider-tpm", "provider-pkcs11", "wire"];
    let crates = crates.iter().chain(&[
        "soft-aead",
        "provider-fault",
        "daemon",
        "host",
        "client",
        "sealctl",
        "secret-manager",
        "sas-signer",
        "swtpm-fixtures",
    ]);
    for path in crates.flat_map(|name| sources(&format!("{name}/src"))) {
        let name = path.strip_prefix(root()).unwrap().display().to_string();
        let code = code(&path);
        let is_unsafe = ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern"]
            .iter()
            .any(|form| code.contains(form));
        let types_only = name == "provider-core/src/abi.rs";
        let in_tests = name.contains("/tests");
        if is_unsafe && !types_only && !in_tests {
            assert!(named.contains(&format!("`{name}`")), "{name} has unsafe and is not named");
        }
    }
    for file in named.split('`').skip(1).step_by(2) {
        assert!(root().join(file).exists(), "{file} is named and does not exist");
    }
}

#[test]
fn every_room_of_the_table_is_a_folder() {
    let page = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let map = page.split("## Map").nth(1).unwrap().split("## Rooms").next().unwrap();
    let folders: Vec<_> = map
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .filter_map(|line| line.split('`').next())
        .collect();
    assert!(folders.len() >= 12, "{folders:?}");
    for folder in folders {
        assert!(root().join(folder).is_dir(), "{folder} is in the map and not in the tree");
    }
}

#[test]
fn no_file_is_longer_than_a_reader_bears() {
    let crates = ["provider-core", "provider-soft", "provider-tpm", "provider-pkcs11", "wire"];
    let crates = crates.iter().chain(&[
        "soft-aead",
        "provider-fault",
        "daemon",
        "host",
        "client",
        "sealctl",
        "secret-manager",
        "sas-signer",
        "swtpm-fixtures",
    ]);
    for path in crates.flat_map(|name| sources(&format!("{name}/src"))) {
        let lines = fs::read_to_string(&path).unwrap().lines().count();
        assert!(lines <= 600, "{} has {lines} lines; split it", path.display());
    }
}
