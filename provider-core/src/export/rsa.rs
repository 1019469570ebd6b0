//! The functions of `Rsa` keys at the plugin's end.

use super::{guard_instance, input, key_ref, output_sized};
use crate::abi;
use crate::key::RSA_MAX_BYTES;
use crate::provider::Provider;

pub(super) unsafe extern "C" fn public<P: Provider>(
    instance: *mut abi::Instance,
    key: *const abi::KeyRef,
    modulus_out: *mut u8,
    modulus_out_len: *mut usize,
) -> i32 {
    let body = |provider: &P| {
        // SAFETY: ABI rule 1.
        let modulus = provider.rsa_public(unsafe { key_ref(key) }?)?;
        // SAFETY: ABI rule 2; the capacity is the contract's.
        unsafe { output_sized(&modulus.0, modulus_out, modulus_out_len, RSA_MAX_BYTES) }
    };
    // SAFETY: the caller's promise of `Table::rsa_public`.
    unsafe { guard_instance(instance, body) }
}

pub(super) unsafe extern "C" fn private<P: Provider>(
    instance: *mut abi::Instance,
    key: *const abi::KeyRef,
    number: *const u8,
    number_len: usize,
    result_out: *mut u8,
    result_out_len: *mut usize,
) -> i32 {
    let body = |provider: &P| {
        // SAFETY: ABI rule 1.
        let key = unsafe { key_ref(key) }?;
        // SAFETY: ABI rule 1.
        let number = unsafe { input(number, number_len) }?;
        let result = provider.rsa_private(key, number)?;
        // SAFETY: ABI rule 2; the capacity is the contract's.
        unsafe { output_sized(result.expose(), result_out, result_out_len, RSA_MAX_BYTES) }
    };
    // SAFETY: the caller's promise of `Table::rsa_private`.
    unsafe { guard_instance(instance, body) }
}
