//! The built plugin as a host loads it: alone, with its symbols to itself. Nothing of the crate
//! is linked into this program, so what libtss2 finds, it finds in the plugin.
#![expect(unsafe_code, reason = "a library is loaded and its entry called")]
#![expect(clippy::unwrap_used, reason = "the helpers of a test fail it as it does itself")]
#![expect(clippy::tests_outside_test_module, reason = "an integration test is a test module")]

use std::ffi::c_void;
use std::mem::ManuallyDrop;
use std::path::PathBuf;
use std::process::Command;

use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
use provider_core::abi;
use provider_core::call::{Instance, Plugin};
use provider_core::{KeyId, KeyRef, KeySpec, Secrets, Settings, Usage};
use swtpm_fixtures::Swtpm;

const TCTI: &str = "PLUGIN_TCTI";
const CONTEXT: &str = "PLUGIN_OPENSSL_CONTEXT";

fn library() -> PathBuf {
    std::env::current_exe().unwrap().parent().unwrap().join("libprovider_tpm.so")
}

fn load() -> ManuallyDrop<Library> {
    // SAFETY: it is our own plugin, whose initializers are those of Rust and of libtss2.
    let library = unsafe { Library::open(Some(library()), RTLD_NOW | RTLD_LOCAL) }.unwrap();
    // Plugins are never unloaded.
    ManuallyDrop::new(library)
}

fn open(library: &Library, tcti: &str, context: &str) -> Instance {
    // SAFETY: the symbol is the entry of `docs/abi.md`, of this type.
    let entry: abi::Entry = *unsafe { library.get(b"sealhost_provider") }.unwrap();
    // SAFETY: the library follows the ABI and stays loaded.
    let plugin = unsafe { Plugin::from_entry(entry) }.unwrap();
    let settings = Settings::new([("tcti", tcti), ("openssl_context", context)]);
    plugin.open(&settings, &Secrets::default(), None).unwrap().0
}

/// Loads the plugin in a new process and returns what the dynamic linker bound there.
fn bindings(context: &str) -> String {
    let swtpm = Swtpm::start().unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "user", "--nocapture"])
        .env(TCTI, swtpm.tcti())
        .env(CONTEXT, context)
        .env("LD_DEBUG", "bindings")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("used the plugin"));
    said
}

/// What the new process does; in this one, without the variables, it has nothing to use.
#[test]
fn user() {
    let (Some(tcti), Some(context)) = (std::env::var_os(TCTI), std::env::var_os(CONTEXT)) else {
        return;
    };
    let (tcti, context) = (tcti.to_str().unwrap(), context.to_str().unwrap());
    let library = load();
    let instance = open(&library, tcti, context);
    let (usage, id) = (Usage::Mac, KeyId([1; 16]));
    let spec = KeySpec { usage, algorithm: usage.default_algorithm(), id, state: None };
    let blob = instance.generate(&spec).unwrap();
    let key = KeyRef { usage, id, blob: &blob.0 };
    let one = instance.mac(key, b"message").unwrap();
    assert_eq!(instance.mac(key, b"message").unwrap().expose(), one.expose());
    assert_eq!(two_contexts_are_one(&library), context == "private");
    println!("used the plugin");
}

/// Asks for two OpenSSL contexts as libtss2 does, and whether they are the same.
fn two_contexts_are_one(library: &Library) -> bool {
    type New = unsafe extern "C" fn() -> *mut c_void;
    type Free = unsafe extern "C" fn(*mut c_void);
    // SAFETY: OSSL_LIB_CTX_new(3) has this type.
    let new: New = *unsafe { library.get(b"OSSL_LIB_CTX_new") }.unwrap();
    // SAFETY: OSSL_LIB_CTX_free(3) has this type.
    let free: Free = *unsafe { library.get(b"OSSL_LIB_CTX_free") }.unwrap();
    // SAFETY: it takes nothing.
    let (one, two) = (unsafe { new() }, unsafe { new() });
    assert!(!one.is_null() && !two.is_null());
    for context in [one, two] {
        // SAFETY: each came from `new` and is freed as often as it was given out.
        unsafe { free(context) };
    }
    one == two
}

fn check(context: &str) {
    let said = bindings(context);
    for symbol in ["OSSL_LIB_CTX_new", "OSSL_LIB_CTX_free"] {
        let bound: Vec<_> = said
            .lines()
            .filter(|line| line.contains("file ") && line.contains("libtss2-esys"))
            .filter(|line| line.contains(&format!("symbol `{symbol}'")))
            .collect();
        assert!(!bound.is_empty(), "libtss2-esys does not use {symbol}");
        let ours = |line: &&str| line.contains(" to ") && line.contains("libprovider_tpm.so [0]: ");
        assert!(bound.iter().all(ours), "{bound:?}");
    }
}

#[test]
fn libtss2_finds_the_plugins_context_functions() {
    check("private");
}

#[test]
fn stock_contexts_pass_through_the_same_functions() {
    check("stock");
}
