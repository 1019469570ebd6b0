//! The functions of counters at the plugin's end.

use super::{guard_instance, input, output_sized};
use crate::abi;
use crate::error::{ProviderError, Result};
use crate::key::{BLOB_MAX_BYTES, CounterRef, KeyBlob, KeyId};
use crate::provider::Provider;

#[expect(clippy::cast_possible_truncation, reason = "the size of a small struct, known here")]
const COUNTER_REF_BYTES: u32 = size_of::<abi::CounterRef>() as u32;

pub(super) unsafe extern "C" fn create<P: Provider>(
    instance: *mut abi::Instance,
    id: *const u8,
    blob_out: *mut u8,
    blob_out_len: *mut usize,
    value_out: *mut u64,
) -> i32 {
    let body = |provider: &P| {
        // SAFETY: ABI rule 1: 16 bytes, or NULL.
        let id = unsafe { id.cast::<[u8; 16]>().as_ref() }
            .ok_or_else(|| ProviderError::invalid("id is NULL"))?;
        // What cannot be told must not be made.
        if blob_out.is_null() || blob_out_len.is_null() || value_out.is_null() {
            return Err(ProviderError::invalid("an output is NULL"));
        }
        let (KeyBlob(blob), value) = provider.counter_create(KeyId(*id))?;
        // SAFETY: ABI rule 2; the capacity is the contract's.
        unsafe { output_sized(&blob, blob_out, blob_out_len, BLOB_MAX_BYTES) }?;
        // SAFETY: ABI rule 2.
        unsafe { output_value(value, value_out) }
    };
    // SAFETY: the caller's promise of `Table::counter_create`.
    unsafe { guard_instance(instance, body) }
}

pub(super) unsafe extern "C" fn increment<P: Provider>(
    instance: *mut abi::Instance,
    counter: *const abi::CounterRef,
    value_out: *mut u64,
) -> i32 {
    let body = |provider: &P| {
        // SAFETY: ABI rule 1.
        let value = provider.counter_increment(unsafe { counter_ref(counter) }?)?;
        // SAFETY: ABI rule 2.
        unsafe { output_value(value, value_out) }
    };
    // SAFETY: the caller's promise of `Table::counter_increment`.
    unsafe { guard_instance(instance, body) }
}

pub(super) unsafe extern "C" fn read<P: Provider>(
    instance: *mut abi::Instance,
    counter: *const abi::CounterRef,
    value_out: *mut u64,
) -> i32 {
    let body = |provider: &P| {
        // SAFETY: ABI rule 1.
        let value = provider.counter_read(unsafe { counter_ref(counter) }?)?;
        // SAFETY: ABI rule 2.
        unsafe { output_value(value, value_out) }
    };
    // SAFETY: the caller's promise of `Table::counter_read`.
    unsafe { guard_instance(instance, body) }
}

pub(super) unsafe extern "C" fn destroy<P: Provider>(
    instance: *mut abi::Instance,
    counter: *const abi::CounterRef,
) -> i32 {
    // SAFETY: ABI rule 1.
    let body = |provider: &P| provider.counter_destroy(unsafe { counter_ref(counter) }?);
    // SAFETY: the caller's promise of `Table::counter_destroy`.
    unsafe { guard_instance(instance, body) }
}

/// Reads a counter reference.
///
/// # Safety
/// 1. `pointer` is NULL or points to a struct of the size that its first field says, with
///    pointers by ABI rule 1; the result is not used after the call.
unsafe fn counter_ref<'a>(pointer: *const abi::CounterRef) -> Result<CounterRef<'a>> {
    // SAFETY: duty 1: every version of the struct begins with its size.
    let size = unsafe { pointer.cast::<u32>().as_ref() };
    if size.is_none_or(|size| *size < COUNTER_REF_BYTES) {
        return Err(ProviderError::invalid("counter reference is NULL or too small"));
    }
    // SAFETY: duty 1; not NULL and of sufficient size.
    let counter = unsafe { pointer.read() };
    // SAFETY: duty 1.
    let blob = unsafe { input(counter.blob, counter.blob_len) }?;
    Ok(CounterRef { id: KeyId(counter.id), blob })
}

/// Writes a value.
///
/// # Safety
/// 1. `out` is NULL or valid for writing.
unsafe fn output_value(value: u64, out: *mut u64) -> Result<()> {
    if out.is_null() {
        return Err(ProviderError::invalid("an output is NULL"));
    }
    // SAFETY: duty 1; not NULL.
    unsafe { out.write(value) };
    Ok(())
}
