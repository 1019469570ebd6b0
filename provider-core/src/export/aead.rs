//! The functions of `Aead` keys at the plugin's end.

use super::{guard_instance, input, key_ref, output_sized};
use crate::abi;
use crate::error::{ProviderError, Result};
use crate::key::{AEAD_TAG_BYTES, AeadInput};
use crate::provider::Provider;

#[expect(clippy::cast_possible_truncation, reason = "the size of a small struct, known here")]
const AEAD_INPUT_BYTES: u32 = size_of::<abi::AeadInput>() as u32;

pub(super) unsafe extern "C" fn encrypt<P: Provider>(
    instance: *mut abi::Instance,
    key: *const abi::KeyRef,
    input: *const abi::AeadInput,
    sealed_out: *mut u8,
    sealed_out_len: *mut usize,
) -> i32 {
    let body = |provider: &P| {
        // SAFETY: ABI rule 1.
        let key = unsafe { key_ref(key) }?;
        // SAFETY: ABI rule 1.
        let input = unsafe { aead_input(input) }?;
        let sealed = provider.aead_encrypt(key, input)?;
        let capacity = input.text.len().saturating_add(AEAD_TAG_BYTES);
        // SAFETY: ABI rule 2; the capacity is the contract's.
        unsafe { output_sized(&sealed, sealed_out, sealed_out_len, capacity) }
    };
    // SAFETY: the caller's promise of `Table::aead_encrypt`.
    unsafe { guard_instance(instance, body) }
}

pub(super) unsafe extern "C" fn decrypt<P: Provider>(
    instance: *mut abi::Instance,
    key: *const abi::KeyRef,
    input: *const abi::AeadInput,
    text_out: *mut u8,
    text_out_len: *mut usize,
) -> i32 {
    let body = |provider: &P| {
        // SAFETY: ABI rule 1.
        let key = unsafe { key_ref(key) }?;
        // SAFETY: ABI rule 1.
        let input = unsafe { aead_input(input) }?;
        let text = provider.aead_decrypt(key, input)?;
        // SAFETY: ABI rule 2; the capacity is the contract's.
        unsafe { output_sized(text.expose(), text_out, text_out_len, input.text.len()) }
    };
    // SAFETY: the caller's promise of `Table::aead_decrypt`.
    unsafe { guard_instance(instance, body) }
}

/// Reads what an `Aead` key is given.
///
/// # Safety
/// 1. `pointer` is NULL or points to a struct of the size that its first field says, with
///    pointers by ABI rule 1; the result is not used after the call.
unsafe fn aead_input<'a>(pointer: *const abi::AeadInput) -> Result<AeadInput<'a>> {
    // SAFETY: duty 1: every version of the struct begins with its size.
    let size = unsafe { pointer.cast::<u32>().as_ref() };
    if size.is_none_or(|size| *size < AEAD_INPUT_BYTES) {
        return Err(ProviderError::invalid("aead input is NULL or too small"));
    }
    // SAFETY: duty 1; not NULL and of sufficient size.
    let parts = unsafe { pointer.read() };
    // SAFETY: duty 1.
    let iv = unsafe { input(parts.iv, parts.iv_len) }?;
    // SAFETY: duty 1.
    let aad = unsafe { input(parts.aad, parts.aad_len) }?;
    // SAFETY: duty 1.
    let text = unsafe { input(parts.text, parts.text_len) }?;
    Ok(AeadInput { iv, aad, text })
}
