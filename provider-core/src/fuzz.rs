//! The body of the fuzz target of this crate (`docs/fuzzing.md`): a plugin that writes and returns
//! whatever the fuzzer chose, within the memory that it is given, and what [`crate::call`] makes
//! of it. Compiled for the fuzzer and for tests only.
#![expect(unsafe_code, reason = "a plugin's end of the C boundary")]

use std::cell::{Cell, RefCell};
use std::ptr;

use crate::abi::{
    self, ABI_VERSION, AeadInput, Condition, CounterRef, Info, Instance, KeyRef, KeySpec,
    Parameter, Table,
};
use crate::call::{Instance as Opened, Plugin};
use crate::error::{ProviderError, Result};
use crate::key::{
    self, AEAD_TAG_BYTES, BLOB_MAX_BYTES, DETAIL_MAX_BYTES, IDENTITY_MAX_BYTES, Identity, KeyId,
    NEEDS_MAX_BYTES, RANDOM_MAX_BYTES, RSA_MAX_BYTES, SUBJECT_MAX_BYTES,
};
use crate::needs::Needs;
use crate::secret::SecretBytes;
use crate::settings::{Secrets, Settings};

thread_local! {
    /// What the plugin has left to answer.
    static ANSWERS: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    /// The table that the entry gives.
    static TABLE: Cell<*const Table> = const { Cell::new(ptr::null()) };
}

/// The outputs of a plugin. The first bytes choose its table, the others what it answers.
pub fn abi_output(data: &[u8]) {
    let Some((&[size, version, missing, known], answers)) = data.split_first_chunk() else {
        return;
    };
    // Mostly a whole table of our version, or nothing behind it would be reached.
    let table_bytes = if size == 0 { size_of::<Table>() } else { usize::from(size) };
    let table = Table {
        size: u32::try_from(table_bytes).unwrap_or(0),
        abi_version: ABI_VERSION.wrapping_add(u32::from(version / 128)),
        public_key: TABLE_OF_LIES.public_key.filter(|_| missing & 1 == 0),
        counter_read: TABLE_OF_LIES.counter_read.filter(|_| missing & 2 == 0),
        auth_subject: TABLE_OF_LIES.auth_subject.filter(|_| missing & 4 == 0),
        needs: TABLE_OF_LIES.needs.filter(|_| missing & 16 == 0),
        mac: TABLE_OF_LIES.mac.filter(|_| missing & 8 == 0),
        aead_encrypt: TABLE_OF_LIES.aead_encrypt.filter(|_| missing & 32 == 0),
        rsa_private: TABLE_OF_LIES.rsa_private.filter(|_| missing & 64 == 0),
        ..TABLE_OF_LIES
    };
    ANSWERS.with(|it| *it.borrow_mut() = answers.iter().rev().copied().collect());
    TABLE.set(&raw const table);
    // SAFETY: duty 1 of `from_entry`: `table` outlives every call below, and its functions write
    // into what they are given and no further.
    let plugin = unsafe { Plugin::from_entry(entry) };
    if let Ok(plugin) = plugin {
        call(&plugin, (known & 1 == 1).then(|| Identity(vec![known])));
    }
    TABLE.set(ptr::null());
}

fn call(plugin: &Plugin, known: Option<Identity>) {
    if let Some(Some(subject)) = checked(plugin.auth_subject(&Settings::default())) {
        assert!((1..=SUBJECT_MAX_BYTES).contains(&subject.0.len()));
    }
    if let Some(needs) = checked(plugin.needs(&Settings::default())) {
        assert_eq!(Needs::parse(&needs.to_string()), Ok(needs));
    }
    let opened = plugin.open(&Settings::default(), &Secrets::default(), known.as_ref());
    let Some((instance, identity)) = checked(opened) else { return };
    assert!((1..=IDENTITY_MAX_BYTES).contains(&identity.0.len()));
    assert!(known.is_none_or(|known| known == identity));
    for _ in 0..2 {
        describe(&instance);
        keys(&instance);
        counters(&instance);
        aead_keys(&instance);
        rsa_keys(&instance);
    }
}

fn describe(instance: &Opened) {
    checked(instance.self_test());
    if let Some(condition) = checked(instance.condition()) {
        let notes = condition.notes;
        assert!(notes.len() < abi::NOTES_BYTES && !notes.contains(char::is_control), "{notes:?}");
    }
    let Some(info) = checked(instance.info()) else { return };
    assert!(info.concurrency >= 1 && !info.kind.is_empty());
    for (text, bytes) in [
        (&info.kind, abi::KIND_BYTES),
        (&info.manufacturer, abi::NAME_BYTES),
        (&info.firmware, abi::NAME_BYTES),
        (&info.notes, abi::NOTES_BYTES),
    ] {
        assert!(text.len() < bytes && !text.contains(char::is_control), "{text:?}");
    }
}

fn keys(instance: &Opened) {
    let (id, usage) = (KeyId([7; 16]), key::Usage::Mac);
    let algorithm = usage.default_algorithm();
    let spec = key::KeySpec { usage, algorithm, id, state: None };
    let secret = SecretBytes::new(vec![7; 32].into());
    let blobs = [checked(instance.generate(&spec)), checked(instance.import(&spec, &secret))];
    for blob in blobs.into_iter().flatten() {
        assert!((1..=BLOB_MAX_BYTES).contains(&blob.0.len()));
        let key = key::KeyRef { usage, id, blob: &blob.0 };
        if let Some(mac) = checked(instance.mac(key, b"message")) {
            assert!(mac.expose().iter().any(|byte| *byte != 0));
        }
        if let Some(point) = checked(instance.public_key(key)) {
            assert_eq!(point.0.first(), Some(&4));
        }
        checked(instance.sign(key, &[7; 32]));
        checked(instance.destroy(key));
    }
    for length in [0, 16, RANDOM_MAX_BYTES, RANDOM_MAX_BYTES + 1] {
        if let Some(random) = checked(instance.random(length)) {
            assert!(random.len() == length && length <= RANDOM_MAX_BYTES);
        }
    }
}

fn counters(instance: &Opened) {
    let id = KeyId([9; 16]);
    let Some((blob, value)) = checked(instance.counter_create(id)) else { return };
    assert!(value > 0 && (1..=BLOB_MAX_BYTES).contains(&blob.0.len()));
    let counter = key::CounterRef { id, blob: &blob.0 };
    assert_ne!(checked(instance.counter_increment(counter)), Some(0));
    assert_ne!(checked(instance.counter_read(counter)), Some(0));
    checked(instance.counter_destroy(counter));
}

fn aead_keys(instance: &Opened) {
    let key = key::KeyRef { usage: key::Usage::Aead, id: KeyId([8; 16]), blob: b"blob" };
    for length in [0, AEAD_TAG_BYTES, 100] {
        let text = vec![7; length];
        let input = key::AeadInput { iv: b"iv", aad: b"aad", text: &text };
        if let Some(sealed) = checked(instance.aead_encrypt(key, input)) {
            assert_eq!(sealed.len(), length + AEAD_TAG_BYTES);
            assert!(sealed.iter().any(|byte| *byte != 0));
        }
        if let Some(opened) = checked(instance.aead_decrypt(key, input)) {
            assert_eq!(opened.len() + AEAD_TAG_BYTES, length);
        }
    }
}

fn rsa_keys(instance: &Opened) {
    let key = key::KeyRef { usage: key::Usage::Rsa, id: KeyId([6; 16]), blob: b"blob" };
    if let Some(modulus) = checked(instance.rsa_public(key)) {
        assert!(modulus.is_whole() && modulus.0.len() <= RSA_MAX_BYTES);
    }
    for length in [0, 256, RSA_MAX_BYTES, RSA_MAX_BYTES + 1] {
        if let Some(result) = checked(instance.rsa_private(key, &vec![7; length])) {
            assert_eq!(result.len(), length);
            assert!(length == 0 || result.expose().iter().any(|byte| *byte != 0));
        }
    }
}

/// What a failure says is one line of a bounded length: a byte that is not UTF-8 becomes three.
fn checked<T>(result: Result<T>) -> Option<T> {
    result
        .map_err(|ProviderError { detail, .. }| {
            assert!(detail.len() <= DETAIL_MAX_BYTES * 3 + 64, "{} bytes", detail.len());
            assert!(!detail.contains(char::is_control), "{detail:?}");
        })
        .ok()
}

/// The next bytes of the fuzzer; zeros when there are none left.
fn answer<const N: usize>() -> [u8; N] {
    ANSWERS.with(|answers| {
        let mut answers = answers.borrow_mut();
        std::array::from_fn(|_| answers.pop().unwrap_or(0))
    })
}

/// Mostly success.
fn status() -> i32 {
    match answer() {
        [0..=199] => 0,
        [number @ 200..=249] => i32::from(number - 200),
        [_] => i32::from_be_bytes(answer()),
    }
}

/// A length, true or not.
fn length() -> usize {
    match answer() {
        [0..=249, small] => usize::from(small) + 1,
        [250..=252, page] => usize::from(page) * 32,
        [253, _] => 0,
        [_, _] => usize::MAX,
    }
}

/// Mostly the length that the caller awaits.
fn length_near(awaited: usize) -> usize {
    if answer() < [200] { awaited } else { length() }
}

/// Fills memory that the caller gave with a byte or two.
///
/// # Safety
/// 1. `out` is NULL, or valid for writes of `capacity` bytes.
unsafe fn fill(out: *mut u8, capacity: usize) {
    let [first, others] = answer();
    if out.is_null() || capacity == 0 {
        return;
    }
    // SAFETY: duty 1.
    unsafe { ptr::write_bytes(out, others, capacity) };
    // SAFETY: duty 1, and the capacity is not zero.
    unsafe { out.write(first) };
}

/// Writes a length that was not asked for.
///
/// # Safety
/// 1. `out` is valid for a write.
unsafe fn tell<T>(out: *mut T, value: T) {
    // SAFETY: duty 1.
    unsafe { out.write(value) };
}

const TABLE_OF_LIES: Table = Table {
    magic: abi::MAGIC,
    size: 0,
    abi_version: ABI_VERSION,
    open: Some(open),
    close: Some(close),
    info: Some(info),
    self_test: Some(self_test),
    generate: Some(generate),
    import_key: Some(import_key),
    destroy: Some(destroy),
    mac: Some(mac),
    random: Some(random),
    last_error: Some(last_error),
    public_key: Some(public_key),
    sign: Some(sign),
    auth_subject: Some(auth_subject),
    counter_create: Some(counter_create),
    counter_increment: Some(counter_value),
    counter_read: Some(counter_value),
    counter_destroy: Some(counter_destroy),
    needs: Some(needs),
    condition: Some(condition),
    aead_encrypt: Some(aead_encrypt),
    aead_decrypt: Some(aead_decrypt),
    rsa_public: Some(rsa_public),
    rsa_private: Some(rsa_private),
};

extern "C" fn entry(_version: u32) -> *const Table {
    TABLE.get()
}

unsafe extern "C" fn open(
    _settings: *const Parameter,
    _settings_count: usize,
    _secrets: *const Parameter,
    _secrets_count: usize,
    _identity: *const u8,
    _identity_len: usize,
    identity_out: *mut u8,
    identity_out_len: *mut usize,
    instance_out: *mut *mut Instance,
) -> i32 {
    // SAFETY: ABI rules 1 and 2: the output is valid for its capacity.
    unsafe { fill(identity_out, IDENTITY_MAX_BYTES) };
    // SAFETY: ABI rules 1 and 2: the output is valid for its capacity.
    unsafe { tell(identity_out_len, length()) };
    // SAFETY: ABI rules 1 and 2: the output is valid for its capacity.
    unsafe {
        tell(instance_out, if answer() == [255] { ptr::null_mut() } else { ptr::dangling_mut() })
    };
    status()
}

extern "C" fn close(_instance: *mut Instance) {}

unsafe extern "C" fn info(_instance: *mut Instance, info_out: *mut Info) -> i32 {
    // SAFETY: ABI rules 1 and 2: the output is valid for its capacity.
    unsafe { write_info(info_out) };
    status()
}

extern "C" fn self_test(_instance: *mut Instance) -> i32 {
    status()
}

unsafe extern "C" fn generate(
    _instance: *mut Instance,
    _spec: *const KeySpec,
    blob_out: *mut u8,
    blob_out_len: *mut usize,
) -> i32 {
    // SAFETY: ABI rules 1 and 2: the output is valid for its capacity.
    unsafe { fill(blob_out, BLOB_MAX_BYTES) };
    // SAFETY: ABI rules 1 and 2: the output is valid for its capacity.
    unsafe { tell(blob_out_len, length()) };
    status()
}

unsafe extern "C" fn import_key(
    _instance: *mut Instance,
    _spec: *const KeySpec,
    _key: *const u8,
    _key_len: usize,
    blob_out: *mut u8,
    blob_out_len: *mut usize,
) -> i32 {
    // SAFETY: ABI rules 1 and 2: the output is valid for its capacity.
    unsafe { fill(blob_out, BLOB_MAX_BYTES) };
    // SAFETY: ABI rules 1 and 2: the output is valid for its capacity.
    unsafe { tell(blob_out_len, length()) };
    status()
}

extern "C" fn destroy(_instance: *mut Instance, _key: *const KeyRef) -> i32 {
    status()
}

unsafe extern "C" fn mac(
    _instance: *mut Instance,
    _key: *const KeyRef,
    _input: *const u8,
    _input_len: usize,
    mac_out: *mut u8,
) -> i32 {
    // SAFETY: ABI rules 1 and 2: the output is valid for its capacity.
    unsafe { fill(mac_out, key::MAC_BYTES) };
    status()
}

unsafe extern "C" fn random(_instance: *mut Instance, length: usize, random_out: *mut u8) -> i32 {
    // SAFETY: ABI rules 1 and 2: the output is valid for its capacity.
    unsafe { fill(random_out, length) };
    status()
}

unsafe extern "C" fn public_key(
    _instance: *mut Instance,
    _key: *const KeyRef,
    point_out: *mut u8,
) -> i32 {
    // SAFETY: ABI rules 1 and 2: the output is valid for its capacity.
    unsafe { fill(point_out, key::PUBLIC_KEY_BYTES) };
    status()
}

unsafe extern "C" fn sign(
    _instance: *mut Instance,
    _key: *const KeyRef,
    _digest: *const u8,
    signature_out: *mut u8,
) -> i32 {
    // SAFETY: ABI rules 1 and 2: the output is valid for its capacity.
    unsafe { fill(signature_out, key::SIGNATURE_BYTES) };
    status()
}

unsafe extern "C" fn auth_subject(
    _settings: *const Parameter,
    _settings_count: usize,
    subject_out: *mut u8,
    subject_out_len: *mut usize,
) -> i32 {
    // SAFETY: ABI rules 1 and 2: the output is valid for its capacity.
    unsafe { fill(subject_out, SUBJECT_MAX_BYTES) };
    // SAFETY: ABI rules 1 and 2: the output is valid for its capacity.
    unsafe { tell(subject_out_len, length()) };
    status()
}

unsafe extern "C" fn counter_create(
    _instance: *mut Instance,
    _id: *const u8,
    blob_out: *mut u8,
    blob_out_len: *mut usize,
    value_out: *mut u64,
) -> i32 {
    // SAFETY: ABI rules 1 and 2: the output is valid for its capacity.
    unsafe { fill(blob_out, BLOB_MAX_BYTES) };
    // SAFETY: ABI rules 1 and 2: the output is valid for its capacity.
    unsafe { tell(blob_out_len, length()) };
    // SAFETY: ABI rules 1 and 2: the output is valid for its capacity.
    unsafe { tell(value_out, u64::from_be_bytes(answer())) };
    status()
}

unsafe extern "C" fn counter_value(
    _instance: *mut Instance,
    _counter: *const CounterRef,
    value_out: *mut u64,
) -> i32 {
    // SAFETY: ABI rules 1 and 2: the output is valid for its capacity.
    unsafe { tell(value_out, u64::from_be_bytes(answer())) };
    status()
}

extern "C" fn counter_destroy(_instance: *mut Instance, _counter: *const CounterRef) -> i32 {
    status()
}

unsafe extern "C" fn needs(
    _settings: *const Parameter,
    _settings_count: usize,
    text_out: *mut u8,
    text_out_len: *mut usize,
) -> i32 {
    let words =
        [&b"read /a"[..], b"connect tcp 1\n", b"resolve names\n", b"connect unix @a\n", b"\r"];
    let [word] = answer();
    let text = words.get(usize::from(word)).copied().unwrap_or_default();
    // SAFETY: ABI rules 1 and 2: the output is valid for its capacity.
    unsafe { fill(text_out, NEEDS_MAX_BYTES) };
    // SAFETY: ABI rules 1 and 2: the output is valid for its capacity, which is longer than a word.
    unsafe { ptr::copy_nonoverlapping(text.as_ptr(), text_out, text.len()) };
    let told = if text.is_empty() { length() } else { text.len() };
    // SAFETY: ABI rules 1 and 2: the output is valid for its capacity.
    unsafe { tell(text_out_len, told) };
    status()
}

unsafe extern "C" fn condition(_instance: *mut Instance, condition_out: *mut Condition) -> i32 {
    let condition = Condition {
        size: u32::from_be_bytes(answer()),
        standing: u32::from(answer::<1>()[0] % 6),
        known: u32::from_be_bytes(answer()),
        auth_failures: u32::from_be_bytes(answer()),
        auth_failures_max: u32::from_be_bytes(answer()),
        recovery_seconds: u32::from_be_bytes(answer()),
        notes: text(),
    };
    // SAFETY: ABI rules 1 and 2: the output is valid for its capacity.
    unsafe { tell(condition_out, condition) };
    status()
}

unsafe extern "C" fn aead_encrypt(
    _instance: *mut Instance,
    _key: *const KeyRef,
    input: *const AeadInput,
    sealed_out: *mut u8,
    sealed_out_len: *mut usize,
) -> i32 {
    // SAFETY: ABI rule 1: a struct of the caller.
    let length = unsafe { (*input).text_len } + AEAD_TAG_BYTES;
    // SAFETY: ABI rules 1 and 2: the output is valid for its capacity.
    unsafe { fill(sealed_out, length) };
    // SAFETY: ABI rules 1 and 2: the output is valid for its capacity.
    unsafe { tell(sealed_out_len, length_near(length)) };
    status()
}

unsafe extern "C" fn aead_decrypt(
    _instance: *mut Instance,
    _key: *const KeyRef,
    input: *const AeadInput,
    text_out: *mut u8,
    text_out_len: *mut usize,
) -> i32 {
    // SAFETY: ABI rule 1: a struct of the caller.
    let length = unsafe { (*input).text_len };
    // SAFETY: ABI rules 1 and 2: the output is valid for its capacity.
    unsafe { fill(text_out, length) };
    // SAFETY: ABI rules 1 and 2: the output is valid for its capacity.
    unsafe { tell(text_out_len, length_near(length.wrapping_sub(AEAD_TAG_BYTES))) };
    status()
}

unsafe extern "C" fn rsa_public(
    _instance: *mut Instance,
    _key: *const KeyRef,
    modulus_out: *mut u8,
    modulus_out_len: *mut usize,
) -> i32 {
    // SAFETY: ABI rules 1 and 2: the output is valid for its capacity.
    unsafe { fill(modulus_out, RSA_MAX_BYTES) };
    // SAFETY: ABI rules 1 and 2: the output is valid for its capacity.
    unsafe { tell(modulus_out_len, length_near(256)) };
    status()
}

unsafe extern "C" fn rsa_private(
    _instance: *mut Instance,
    _key: *const KeyRef,
    _input: *const u8,
    input_len: usize,
    result_out: *mut u8,
    result_out_len: *mut usize,
) -> i32 {
    // SAFETY: ABI rules 1 and 2: the output is valid for its capacity.
    unsafe { fill(result_out, RSA_MAX_BYTES) };
    // SAFETY: ABI rules 1 and 2: the output is valid for its capacity.
    unsafe { tell(result_out_len, length_near(input_len)) };
    status()
}

unsafe extern "C" fn last_error(detail_out: *mut u8, capacity: usize, detail_out_len: *mut usize) {
    // SAFETY: ABI rules 1 and 2: the output is valid for its capacity.
    unsafe { fill(detail_out, capacity) };
    // SAFETY: ABI rules 1 and 2: the output is valid for its capacity.
    unsafe { tell(detail_out_len, length()) };
}

/// Writes a description: lower-case letters mostly, closed mostly.
///
/// # Safety
/// 1. `out` is valid for a write.
unsafe fn write_info(out: *mut Info) {
    let info = Info {
        size: u32::from_be_bytes(answer()),
        protection: u32::from(answer::<1>()[0] % 5),
        capabilities: u64::from_be_bytes(answer()),
        concurrency: u32::from_be_bytes(answer()),
        kind: text(),
        manufacturer: text(),
        firmware: text(),
        notes: text(),
    };
    // SAFETY: duty 1.
    unsafe { out.write(info) };
}

fn text<const N: usize>() -> [u8; N] {
    let [letter, end] = answer();
    std::array::from_fn(|place| match place.cmp(&usize::from(end)) {
        std::cmp::Ordering::Less if letter < 128 => b'a' + letter % 26,
        std::cmp::Ordering::Less => answer::<1>()[0],
        std::cmp::Ordering::Equal | std::cmp::Ordering::Greater => 0,
    })
}

#[cfg(test)]
#[path = "../../fuzz/replay.rs"]
mod replay;

#[cfg(test)]
mod tests {
    #[test]
    fn corpus_of_plugin_outputs_holds() {
        super::replay::replay("abi_output", super::abi_output);
    }
}
