//! The plugin's end of the boundary: turns a [`Provider`] into a [`Table`](abi::Table).
//!
//! Every function body runs in one panic guard. A provider that panicked is retired: all its
//! later calls answer `Panicked`, because nothing is known of its state.
#![expect(unsafe_code, reason = "this file is the plugin's end of the C boundary")]

mod aead;
mod condition;
mod counter;
mod rsa;

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::abi;
use crate::error::{ErrorKind, ProviderError, Result};
use crate::key::{
    Algorithm, BLOB_MAX_BYTES, IDENTITY_MAX_BYTES, Identity, Info, KeyBlob, KeyId, KeyRef, KeySpec,
    MAC_BYTES, NEEDS_MAX_BYTES, PUBLIC_KEY_BYTES, RANDOM_MAX_BYTES, SIGNATURE_BYTES,
    SUBJECT_MAX_BYTES, StateBinding, Usage,
};
use crate::provider::Provider;
use crate::secret::SecretBytes;
use crate::settings::{Secrets, Settings};

/// Exports a provider as this library's plugin, and makes the library wipe memory it frees.
///
/// Stands once, in the `lib.rs` of a provider crate.
#[macro_export]
macro_rules! export_provider {
    ($provider:ty) => {
        #[global_allocator]
        static ALLOCATOR: $crate::ZeroAlloc<std::alloc::System> =
            $crate::ZeroAlloc(std::alloc::System);

        /// The plugin's entry; see `docs/abi.md`.
        #[allow(unsafe_code, reason = "the symbol name is the boundary's, and only exported here")]
        #[unsafe(no_mangle)]
        pub extern "C" fn sealhost_provider(host_abi_version: u32) -> *const $crate::abi::Table {
            static TABLE: $crate::abi::Table = $crate::export::table::<$provider>();
            if host_abi_version == $crate::abi::ABI_VERSION {
                &raw const TABLE
            } else {
                std::ptr::null()
            }
        }
    };
}

/// The table of a provider.
#[must_use]
pub const fn table<P: Provider>() -> abi::Table {
    abi::Table {
        magic: abi::MAGIC,
        size: TABLE_BYTES,
        abi_version: abi::ABI_VERSION,
        open: Some(open::<P>),
        close: Some(close::<P>),
        info: Some(info::<P>),
        self_test: Some(self_test::<P>),
        generate: Some(generate::<P>),
        import_key: Some(import_key::<P>),
        destroy: Some(destroy::<P>),
        mac: Some(mac::<P>),
        random: Some(random::<P>),
        last_error: Some(last_error),
        public_key: Some(public_key::<P>),
        sign: Some(sign::<P>),
        auth_subject: Some(auth_subject::<P>),
        counter_create: Some(counter::create::<P>),
        counter_increment: Some(counter::increment::<P>),
        counter_read: Some(counter::read::<P>),
        counter_destroy: Some(counter::destroy::<P>),
        needs: Some(needs::<P>),
        condition: Some(condition::condition::<P>),
        aead_encrypt: Some(aead::encrypt::<P>),
        aead_decrypt: Some(aead::decrypt::<P>),
        rsa_public: Some(rsa::public::<P>),
        rsa_private: Some(rsa::private::<P>),
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the size of a small struct, known here")]
const TABLE_BYTES: u32 = size_of::<abi::Table>() as u32;
#[expect(clippy::cast_possible_truncation, reason = "the size of a small struct, known here")]
const INFO_BYTES: u32 = size_of::<abi::Info>() as u32;
#[expect(clippy::cast_possible_truncation, reason = "the size of a small struct, known here")]
const KEY_SPEC_BYTES: u32 = size_of::<abi::KeySpec>() as u32;
#[expect(clippy::cast_possible_truncation, reason = "the size of a small struct, known here")]
const KEY_REF_BYTES: u32 = size_of::<abi::KeyRef>() as u32;

/// What an instance pointer points to.
struct Held<P> {
    provider: P,
    retired: AtomicBool,
}

thread_local! {
    /// Detail of this thread's last failure. The C contract has no other place for it.
    static LAST_ERROR: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Runs a body in the guard and turns its result into a status.
fn guard(body: impl FnOnce() -> Result<()>) -> i32 {
    let error = match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => return 0,
        Ok(Err(error)) => error,
        Err(_) => ProviderError::new(ErrorKind::Panicked, "the provider panicked; see its log"),
    };
    // The thread may be ending, and its storage gone; then the detail is lost, the status is not.
    let _ = LAST_ERROR.try_with(|last| {
        if let Ok(mut last) = last.try_borrow_mut() {
            *last = error.detail;
        }
    });
    i32::try_from(error.kind.number()).unwrap_or(i32::MAX)
}

/// Runs a verb of an instance in the guard, and retires the instance when it panics.
///
/// # Safety
/// 1. `instance` is NULL or came from [`open`] of the same `P` and was not closed.
unsafe fn guard_instance<P: Provider>(
    instance: *mut abi::Instance,
    body: impl FnOnce(&P) -> Result<()>,
) -> i32 {
    guard(|| {
        // SAFETY: duty 1; `open` leaked a `Box<Held<P>>` and only `close` takes it back, and
        // shared access is sound because a `Provider` is `Sync`.
        let held = unsafe { instance.cast::<Held<P>>().as_ref() }
            .ok_or_else(|| ProviderError::invalid("instance is NULL"))?;
        if held.retired.load(Ordering::Acquire) {
            return Err(ProviderError::new(ErrorKind::Panicked, "retired after a panic"));
        }
        let mut retire = RetireOnUnwind { retired: &held.retired, armed: true };
        let result = body(&held.provider);
        retire.armed = false;
        result
    })
}

/// Marks an instance as retired while a panic passes.
struct RetireOnUnwind<'a> {
    retired: &'a AtomicBool,
    armed: bool,
}

impl Drop for RetireOnUnwind<'_> {
    fn drop(&mut self) {
        if self.armed {
            self.retired.store(true, Ordering::Release);
        }
    }
}

unsafe extern "C" fn open<P: Provider>(
    settings: *const abi::Parameter,
    settings_count: usize,
    secrets: *const abi::Parameter,
    secrets_count: usize,
    identity: *const u8,
    identity_len: usize,
    identity_out: *mut u8,
    identity_out_len: *mut usize,
    instance_out: *mut *mut abi::Instance,
) -> i32 {
    guard(|| {
        if instance_out.is_null() {
            return Err(ProviderError::invalid("instance_out is NULL"));
        }
        // SAFETY: ABI rule 1 for all three inputs.
        let settings = unsafe { text_parameters(settings, settings_count) }?;
        // SAFETY: as above.
        let secrets = unsafe { parameters(secrets, secrets_count) }?;
        let secrets = secrets.into_iter().map(|(key, value)| (key, SecretBytes::copy_of(value)));
        // SAFETY: as above.
        let known = unsafe { input(identity, identity_len) }?;
        let known = (!known.is_empty()).then(|| Identity(known.to_vec()));

        let (provider, identity) = P::open(settings, Secrets::new(secrets), known.as_ref())?;

        // SAFETY: ABI rule 2; the capacity is the contract's.
        unsafe { output_sized(&identity.0, identity_out, identity_out_len, IDENTITY_MAX_BYTES) }?;
        let held = Box::new(Held { provider, retired: AtomicBool::new(false) });
        // SAFETY: ABI rule 2; checked for NULL above.
        unsafe { instance_out.write(Box::into_raw(held).cast()) };
        Ok(())
    })
}

unsafe extern "C" fn auth_subject<P: Provider>(
    settings: *const abi::Parameter,
    settings_count: usize,
    subject_out: *mut u8,
    subject_out_len: *mut usize,
) -> i32 {
    guard(|| {
        // SAFETY: ABI rule 1.
        let settings = unsafe { text_parameters(settings, settings_count) }?;
        let subject = P::auth_subject(settings)?;
        let subject = subject.as_ref().map_or(&[][..], |subject| &subject.0);
        // SAFETY: ABI rule 2; the capacity is the contract's.
        unsafe { output_sized(subject, subject_out, subject_out_len, SUBJECT_MAX_BYTES) }
    })
}

unsafe extern "C" fn needs<P: Provider>(
    settings: *const abi::Parameter,
    settings_count: usize,
    text_out: *mut u8,
    text_out_len: *mut usize,
) -> i32 {
    guard(|| {
        // SAFETY: ABI rule 1.
        let settings = unsafe { text_parameters(settings, settings_count) }?;
        let text = P::needs(settings)?.to_string();
        // SAFETY: ABI rule 2; the capacity is the contract's.
        unsafe { output_sized(text.as_bytes(), text_out, text_out_len, NEEDS_MAX_BYTES) }
    })
}

unsafe extern "C" fn close<P: Provider>(instance: *mut abi::Instance) {
    let status = guard(|| {
        if !instance.is_null() {
            // SAFETY: `open` of the same `P` made it from a box, and no call follows (`Table::close`).
            drop(unsafe { Box::from_raw(instance.cast::<Held<P>>()) });
        }
        Ok(())
    });
    // A panic while closing was caught by the guard; there is nobody to tell.
    let _ = status;
}

unsafe extern "C" fn info<P: Provider>(
    instance: *mut abi::Instance,
    info_out: *mut abi::Info,
) -> i32 {
    let body = |provider: &P| {
        // SAFETY: ABI rule 2: NULL or a struct of the caller, whose first field is its size.
        let size = unsafe { info_out.cast::<u32>().as_ref() };
        if size.is_none_or(|size| *size < INFO_BYTES) {
            return Err(ProviderError::invalid("info_out is NULL or too small"));
        }
        let info = info_to_c(&provider.info());
        // SAFETY: ABI rule 2; not NULL and of sufficient size, by the check above.
        unsafe { info_out.write(info) };
        Ok(())
    };
    // SAFETY: the caller's promise of `Table::info`.
    unsafe { guard_instance(instance, body) }
}

unsafe extern "C" fn self_test<P: Provider>(instance: *mut abi::Instance) -> i32 {
    // SAFETY: the caller's promise of `Table::self_test`.
    unsafe { guard_instance(instance, P::self_test) }
}

unsafe extern "C" fn generate<P: Provider>(
    instance: *mut abi::Instance,
    spec: *const abi::KeySpec,
    blob_out: *mut u8,
    blob_out_len: *mut usize,
) -> i32 {
    let body = |provider: &P| {
        // SAFETY: ABI rule 1.
        let spec = unsafe { key_spec(spec) }?;
        let KeyBlob(blob) = provider.generate(&spec)?;
        // SAFETY: ABI rule 2; the capacity is the contract's.
        unsafe { output_sized(&blob, blob_out, blob_out_len, BLOB_MAX_BYTES) }
    };
    // SAFETY: the caller's promise of `Table::generate`.
    unsafe { guard_instance(instance, body) }
}

unsafe extern "C" fn import_key<P: Provider>(
    instance: *mut abi::Instance,
    spec: *const abi::KeySpec,
    key: *const u8,
    key_len: usize,
    blob_out: *mut u8,
    blob_out_len: *mut usize,
) -> i32 {
    let body = |provider: &P| {
        // SAFETY: ABI rule 1.
        let spec = unsafe { key_spec(spec) }?;
        // SAFETY: ABI rule 1.
        let key = SecretBytes::copy_of(unsafe { input(key, key_len) }?);
        let KeyBlob(blob) = provider.import(&spec, &key)?;
        // SAFETY: ABI rule 2; the capacity is the contract's.
        unsafe { output_sized(&blob, blob_out, blob_out_len, BLOB_MAX_BYTES) }
    };
    // SAFETY: the caller's promise of `Table::import_key`.
    unsafe { guard_instance(instance, body) }
}

unsafe extern "C" fn destroy<P: Provider>(
    instance: *mut abi::Instance,
    key: *const abi::KeyRef,
) -> i32 {
    // SAFETY: ABI rule 1.
    let body = |provider: &P| provider.destroy(unsafe { key_ref(key) }?);
    // SAFETY: the caller's promise of `Table::destroy`.
    unsafe { guard_instance(instance, body) }
}

unsafe extern "C" fn mac<P: Provider>(
    instance: *mut abi::Instance,
    key: *const abi::KeyRef,
    data: *const u8,
    data_len: usize,
    mac_out: *mut u8,
) -> i32 {
    let body = |provider: &P| {
        // SAFETY: ABI rule 1.
        let key = unsafe { key_ref(key) }?;
        // SAFETY: ABI rule 1.
        let data = unsafe { input(data, data_len) }?;
        let mac = provider.mac(key, data)?;
        // SAFETY: ABI rule 2.
        unsafe { output_exact(mac.expose(), mac_out, MAC_BYTES) }
    };
    // SAFETY: the caller's promise of `Table::mac`.
    unsafe { guard_instance(instance, body) }
}

unsafe extern "C" fn random<P: Provider>(
    instance: *mut abi::Instance,
    length: usize,
    random_out: *mut u8,
) -> i32 {
    let body = |provider: &P| {
        if length > RANDOM_MAX_BYTES {
            return Err(ProviderError::over_limit("random request", length, RANDOM_MAX_BYTES));
        }
        let mut bytes = zeroize::Zeroizing::new(vec![0; length]);
        provider.random(&mut bytes)?;
        // SAFETY: ABI rule 2.
        unsafe { output_exact(&bytes, random_out, length) }
    };
    // SAFETY: the caller's promise of `Table::random`.
    unsafe { guard_instance(instance, body) }
}

unsafe extern "C" fn public_key<P: Provider>(
    instance: *mut abi::Instance,
    key: *const abi::KeyRef,
    point_out: *mut u8,
) -> i32 {
    let body = |provider: &P| {
        // SAFETY: ABI rule 1.
        let point = provider.public_key(unsafe { key_ref(key) }?)?;
        // SAFETY: ABI rule 2.
        unsafe { output_exact(&point.0, point_out, PUBLIC_KEY_BYTES) }
    };
    // SAFETY: the caller's promise of `Table::public_key`.
    unsafe { guard_instance(instance, body) }
}

unsafe extern "C" fn sign<P: Provider>(
    instance: *mut abi::Instance,
    key: *const abi::KeyRef,
    digest: *const u8,
    signature_out: *mut u8,
) -> i32 {
    let body = |provider: &P| {
        // SAFETY: ABI rule 1.
        let key = unsafe { key_ref(key) }?;
        // SAFETY: ABI rule 1: 32 bytes, or NULL.
        let digest = unsafe { digest.cast::<[u8; 32]>().as_ref() }
            .ok_or_else(|| ProviderError::invalid("digest is NULL"))?;
        let signature = provider.sign(key, digest)?;
        // SAFETY: ABI rule 2.
        unsafe { output_exact(&signature.0, signature_out, SIGNATURE_BYTES) }
    };
    // SAFETY: the caller's promise of `Table::sign`.
    unsafe { guard_instance(instance, body) }
}

unsafe extern "C" fn last_error(detail_out: *mut u8, capacity: usize, detail_out_len: *mut usize) {
    let status = guard(|| {
        let detail = LAST_ERROR.try_with(|last| last.borrow().clone()).unwrap_or_default();
        let end = (0..=capacity.min(detail.len())).rev().find(|&end| detail.is_char_boundary(end));
        let cut = detail.as_bytes().get(..end.unwrap_or(0)).unwrap_or_default();
        // SAFETY: ABI rule 2; `cut` is no longer than `capacity`.
        unsafe { output_sized(cut, detail_out, detail_out_len, capacity) }
    });
    // NULL outputs: nothing was written, and this function has no status.
    let _ = status;
}

/// Views an input.
///
/// # Safety
/// 1. `pointer` is NULL or valid for `length` bytes while the result is used (ABI rule 1).
unsafe fn input<'a>(pointer: *const u8, length: usize) -> Result<&'a [u8]> {
    if length == 0 {
        return Ok(&[]);
    }
    if pointer.is_null() || length > isize::MAX.unsigned_abs() {
        return Err(ProviderError::invalid("an input is NULL or of impossible length"));
    }
    // SAFETY: duty 1, and not NULL, and of possible length.
    Ok(unsafe { std::slice::from_raw_parts(pointer, length) })
}

/// Reads settings.
///
/// # Safety
/// 1. As [`parameters`].
unsafe fn text_parameters(pointer: *const abi::Parameter, count: usize) -> Result<Settings> {
    // SAFETY: duty 1.
    let entries = unsafe { parameters(pointer, count) }?;
    let entries = entries.into_iter().map(|(key, value)| Ok((key, text(value)?)));
    Ok(Settings::new(entries.collect::<Result<Vec<_>>>()?))
}

/// Views settings or secrets.
///
/// # Safety
/// 1. `pointer` is NULL or valid for `count` parameters, each with pointers by ABI rule 1.
unsafe fn parameters<'a>(
    pointer: *const abi::Parameter,
    count: usize,
) -> Result<Vec<(String, &'a [u8])>> {
    if count == 0 {
        return Ok(Vec::new());
    }
    if pointer.is_null() || count > PARAMETERS_MAX {
        return Err(ProviderError::invalid("parameters are NULL or too many"));
    }
    // SAFETY: duty 1, and not NULL, and few.
    let entries = unsafe { std::slice::from_raw_parts(pointer, count) };
    let pair = |entry: &abi::Parameter| {
        // SAFETY: duty 1.
        let key = unsafe { input(entry.key, entry.key_len) }?;
        // SAFETY: duty 1.
        let value = unsafe { input(entry.value, entry.value_len) }?;
        Ok((text(key)?, value))
    };
    entries.iter().map(pair).collect()
}

/// More settings than any provider has.
const PARAMETERS_MAX: usize = 256;

fn text(bytes: &[u8]) -> Result<String> {
    std::str::from_utf8(bytes)
        .map(str::to_owned)
        .map_err(|error| ProviderError::invalid(format!("a parameter is not UTF-8: {error}")))
}

/// Reads a key specification.
///
/// # Safety
/// 1. `pointer` is NULL or points to a struct of the size that its first field says, with
///    pointers by ABI rule 1.
unsafe fn key_spec(pointer: *const abi::KeySpec) -> Result<KeySpec> {
    // SAFETY: duty 1: every version of the struct begins with its size.
    let size = unsafe { pointer.cast::<u32>().as_ref() };
    if size.is_none_or(|size| *size < KEY_SPEC_BYTES) {
        return Err(ProviderError::invalid("key specification is NULL or too small"));
    }
    // SAFETY: duty 1; not NULL and of sufficient size.
    let spec = unsafe { pointer.read() };
    // SAFETY: duty 1.
    let state = unsafe { input(spec.state, spec.state_len) }?;
    let state = if state.is_empty() { None } else { Some(StateBinding::new(&text(state)?)?) };
    Ok(KeySpec {
        usage: usage(spec.usage)?,
        algorithm: Algorithm::from_number(spec.algorithm).ok_or_else(|| {
            ProviderError::new(ErrorKind::Unsupported, format!("algorithm {}", spec.algorithm))
        })?,
        id: KeyId(spec.id),
        state,
    })
}

/// Reads a key reference.
///
/// # Safety
/// 1. As [`key_spec`]; the result is not used after the call.
unsafe fn key_ref<'a>(pointer: *const abi::KeyRef) -> Result<KeyRef<'a>> {
    // SAFETY: duty 1: every version of the struct begins with its size.
    let size = unsafe { pointer.cast::<u32>().as_ref() };
    if size.is_none_or(|size| *size < KEY_REF_BYTES) {
        return Err(ProviderError::invalid("key reference is NULL or too small"));
    }
    // SAFETY: duty 1; not NULL and of sufficient size.
    let key = unsafe { pointer.read() };
    // SAFETY: duty 1.
    let blob = unsafe { input(key.blob, key.blob_len) }?;
    Ok(KeyRef { usage: usage(key.usage)?, id: KeyId(key.id), blob })
}

fn usage(number: u32) -> Result<Usage> {
    Usage::from_number(number)
        .ok_or_else(|| ProviderError::new(ErrorKind::Unsupported, format!("usage {number}")))
}

/// Writes an output of variable length, or nothing.
///
/// # Safety
/// 1. `out` is NULL or valid for writing `capacity` bytes, `out_len` is NULL or valid for writing.
unsafe fn output_sized(
    bytes: &[u8],
    out: *mut u8,
    out_len: *mut usize,
    capacity: usize,
) -> Result<()> {
    if out_len.is_null() {
        return Err(ProviderError::invalid("an output is NULL"));
    }
    if bytes.len() > capacity {
        return Err(ProviderError::new(ErrorKind::Internal, "an output exceeds its maximum"));
    }
    // SAFETY: duty 1; `bytes` fits the capacity.
    unsafe { output_exact(bytes, out, bytes.len()) }?;
    // SAFETY: duty 1; not NULL.
    unsafe { out_len.write(bytes.len()) };
    Ok(())
}

/// Writes an output of fixed length, or nothing.
///
/// # Safety
/// 1. `out` is NULL or valid for writing `length` bytes.
unsafe fn output_exact(bytes: &[u8], out: *mut u8, length: usize) -> Result<()> {
    if out.is_null() {
        return Err(ProviderError::invalid("an output is NULL"));
    }
    if bytes.len() != length {
        return Err(ProviderError::new(ErrorKind::Internal, "an output has the wrong length"));
    }
    // SAFETY: duty 1; both are `length` bytes, and memory of the caller is not ours.
    unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), out, length) };
    Ok(())
}

fn info_to_c(info: &Info) -> abi::Info {
    abi::Info {
        size: INFO_BYTES,
        protection: info.protection.number(),
        capabilities: info.capabilities.0,
        concurrency: info.concurrency,
        kind: fixed_text(&info.kind),
        manufacturer: fixed_text(&info.manufacturer),
        firmware: fixed_text(&info.firmware),
        notes: fixed_text(&info.notes),
    }
}

/// Text cut at a character to fit, with what is not printable replaced, and closed by zeros.
fn fixed_text<const N: usize>(text: &str) -> [u8; N] {
    let mut out = [0; N];
    let mut rest = out.get_mut(..N.saturating_sub(1)).unwrap_or_default();
    for character in text.chars() {
        let character = if character.is_control() { '?' } else { character };
        let mut buffer = [0; 4];
        let encoded = character.encode_utf8(&mut buffer).as_bytes();
        let Some((place, next)) = rest.split_at_mut_checked(encoded.len()) else { break };
        place.copy_from_slice(encoded);
        rest = next;
    }
    out
}
