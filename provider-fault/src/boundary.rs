//! The C boundary of this plugin: it loads the plugin behind, and states lengths that are lies,
//! which the safe export refuses to.
#![expect(unsafe_code, reason = "loading a library runs its code, and lies are told in C")]

use std::cell::Cell;
use std::error::Error;
use std::path::Path;

use libloading::Library;
use provider_core::abi::{self, AeadInput, Instance, KeyRef, KeySpec, Parameter, Table};
use provider_core::call::Plugin;
use provider_core::{ProviderError, Result, ZeroAlloc, export};

use crate::provider::FaultProvider;
use crate::trust;

#[global_allocator]
static ALLOCATOR: ZeroAlloc<std::alloc::System> = ZeroAlloc(std::alloc::System);

/// Loads the plugin behind, for the life of this process.
///
/// # Errors
/// `InvalidParameter`: the file is not to be trusted, is no library, or no plugin for this version.
pub(crate) fn load(path: &Path) -> Result<Plugin> {
    trust::check(path)?;
    let refused = |reason: String| ProviderError::invalid(format!("plugin: {reason}"));
    let words = |error: libloading::Error| {
        refused(error.source().map_or_else(|| error.to_string(), ToString::to_string))
    };
    // SAFETY: loading runs the library's initializers; the check above made sure that only root or
    // this process's own user can have put them there.
    let library = unsafe { Library::new(path) }.map_err(words)?;
    // A plugin is never unloaded: threads and thread storage of its own would outlive its code.
    let library: &'static Library = Box::leak(Box::new(library));
    // SAFETY: a plugin's symbol of this name has this type (docs/abi.md section 2).
    let entry = unsafe { library.get::<abi::Entry>(abi::ENTRY_SYMBOL) }.map_err(words)?;
    // SAFETY: it is the entry of a library that is never unloaded.
    unsafe { Plugin::from_entry(*entry) }.map_err(|error| refused(error.to_string()))
}

thread_local! {
    /// Whether the call that this thread is in shall end with a lie about a length.
    static LIE: Cell<bool> = const { Cell::new(false) };
}

/// Makes the call that this thread is in state a length past every buffer.
pub(crate) fn lie_about_the_length() {
    LIE.set(true);
}

/// The plugin's entry; see `docs/abi.md`.
#[unsafe(no_mangle)]
pub extern "C" fn sealhost_provider(host_abi_version: u32) -> *const Table {
    static TABLE: Table = Table {
        open: Some(open),
        generate: Some(generate),
        import_key: Some(import_key),
        counter_create: Some(counter_create),
        aead_encrypt: Some(aead_encrypt),
        aead_decrypt: Some(aead_decrypt),
        rsa_public: Some(rsa_public),
        rsa_private: Some(rsa_private),
        ..HONEST
    };
    if host_abi_version == abi::ABI_VERSION { &raw const TABLE } else { std::ptr::null() }
}

const HONEST: Table = export::table::<FaultProvider>();

/// Ends a call: with the lie, where it is wanted and the call has succeeded.
///
/// # Safety
/// 1. `length` is what an honest function has just taken for its output (ABI rule 2).
unsafe fn end(status: i32, length: *mut usize) -> i32 {
    if LIE.take() && status == 0 {
        // SAFETY: duty 1: the call succeeded, so it is not NULL and was written to.
        unsafe { length.write(usize::MAX) };
    }
    status
}

/// What a table without the function would be: `export::table` has all of them.
const ABSENT: i32 = 2;

unsafe extern "C" fn open(
    settings: *const Parameter,
    settings_count: usize,
    secrets: *const Parameter,
    secrets_count: usize,
    identity: *const u8,
    identity_len: usize,
    identity_out: *mut u8,
    identity_out_len: *mut usize,
    instance_out: *mut *mut Instance,
) -> i32 {
    let Some(honest) = HONEST.open else { return ABSENT };
    // SAFETY: the caller's promises, passed on as they are.
    let status = unsafe {
        honest(
            settings,
            settings_count,
            secrets,
            secrets_count,
            identity,
            identity_len,
            identity_out,
            identity_out_len,
            instance_out,
        )
    };
    // SAFETY: it is the honest function's output.
    unsafe { end(status, identity_out_len) }
}

unsafe extern "C" fn generate(
    instance: *mut Instance,
    spec: *const KeySpec,
    blob_out: *mut u8,
    blob_out_len: *mut usize,
) -> i32 {
    let Some(honest) = HONEST.generate else { return ABSENT };
    // SAFETY: the caller's promises, passed on as they are.
    let status = unsafe { honest(instance, spec, blob_out, blob_out_len) };
    // SAFETY: it is the honest function's output.
    unsafe { end(status, blob_out_len) }
}

unsafe extern "C" fn import_key(
    instance: *mut Instance,
    spec: *const KeySpec,
    key: *const u8,
    key_len: usize,
    blob_out: *mut u8,
    blob_out_len: *mut usize,
) -> i32 {
    let Some(honest) = HONEST.import_key else { return ABSENT };
    // SAFETY: the caller's promises, passed on as they are.
    let status = unsafe { honest(instance, spec, key, key_len, blob_out, blob_out_len) };
    // SAFETY: it is the honest function's output.
    unsafe { end(status, blob_out_len) }
}

unsafe extern "C" fn counter_create(
    instance: *mut Instance,
    id: *const u8,
    blob_out: *mut u8,
    blob_out_len: *mut usize,
    value_out: *mut u64,
) -> i32 {
    let Some(honest) = HONEST.counter_create else { return ABSENT };
    // SAFETY: the caller's promises, passed on as they are.
    let status = unsafe { honest(instance, id, blob_out, blob_out_len, value_out) };
    // SAFETY: it is the honest function's output.
    unsafe { end(status, blob_out_len) }
}

unsafe extern "C" fn aead_encrypt(
    instance: *mut Instance,
    key: *const KeyRef,
    input: *const AeadInput,
    out: *mut u8,
    out_len: *mut usize,
) -> i32 {
    let Some(honest) = HONEST.aead_encrypt else { return ABSENT };
    // SAFETY: the caller's promises, passed on as they are.
    let status = unsafe { honest(instance, key, input, out, out_len) };
    // SAFETY: it is the honest function's output.
    unsafe { end(status, out_len) }
}

unsafe extern "C" fn aead_decrypt(
    instance: *mut Instance,
    key: *const KeyRef,
    input: *const AeadInput,
    out: *mut u8,
    out_len: *mut usize,
) -> i32 {
    let Some(honest) = HONEST.aead_decrypt else { return ABSENT };
    // SAFETY: the caller's promises, passed on as they are.
    let status = unsafe { honest(instance, key, input, out, out_len) };
    // SAFETY: it is the honest function's output.
    unsafe { end(status, out_len) }
}

unsafe extern "C" fn rsa_public(
    instance: *mut Instance,
    key: *const KeyRef,
    modulus_out: *mut u8,
    modulus_out_len: *mut usize,
) -> i32 {
    let Some(honest) = HONEST.rsa_public else { return ABSENT };
    // SAFETY: the caller's promises, passed on as they are.
    let status = unsafe { honest(instance, key, modulus_out, modulus_out_len) };
    // SAFETY: it is the honest function's output.
    unsafe { end(status, modulus_out_len) }
}

unsafe extern "C" fn rsa_private(
    instance: *mut Instance,
    key: *const KeyRef,
    input: *const u8,
    input_len: usize,
    result_out: *mut u8,
    result_out_len: *mut usize,
) -> i32 {
    let Some(honest) = HONEST.rsa_private else { return ABSENT };
    // SAFETY: the caller's promises, passed on as they are.
    let status = unsafe { honest(instance, key, input, input_len, result_out, result_out_len) };
    // SAFETY: it is the honest function's output.
    unsafe { end(status, result_out_len) }
}
