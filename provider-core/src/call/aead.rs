//! The functions of `Aead` keys at the caller's end.

use zeroize::Zeroizing;

use super::{Instance, absent, broken, key_to_c, struct_bytes};
use crate::abi;
use crate::error::Result;
use crate::key::{AEAD_TAG_BYTES, AeadInput, KeyRef};
use crate::secret::SecretBytes;

/// Both functions; a plugin that lacks one has no such keys.
#[derive(Clone, Copy, Debug)]
pub(super) struct Functions {
    encrypt: AeadFn,
    decrypt: AeadFn,
}

type AeadFn = unsafe extern "C" fn(
    *mut abi::Instance,
    *const abi::KeyRef,
    *const abi::AeadInput,
    *mut u8,
    *mut usize,
) -> i32;

impl Functions {
    pub(super) fn of(table: &abi::Table) -> Option<Self> {
        Some(Self { encrypt: table.aead_encrypt?, decrypt: table.aead_decrypt? })
    }
}

impl Instance {
    /// See [`Provider::aead_encrypt`](crate::Provider::aead_encrypt).
    ///
    /// # Errors
    /// Those of the provider; `Unsupported` also where the plugin has no such function; `Internal`
    /// when the result is not as long as text and tag, or holds zeros only.
    ///
    /// # Secrets
    /// The text.
    pub fn aead_encrypt(&self, key: KeyRef<'_>, input: AeadInput<'_>) -> Result<Vec<u8>> {
        let function = self.table.aead.ok_or_else(absent)?.encrypt;
        let (key, parts) = (key_to_c(key), input_to_c(input));
        let length = input.text.len().saturating_add(AEAD_TAG_BYTES);
        let mut sealed = vec![0; length];
        let mut sealed_len = usize::MAX;
        // SAFETY: ABI rules 1 and 2: every pointer is valid for its length or capacity.
        let status = unsafe {
            function(
                self.pointer.as_ptr(),
                &raw const key,
                &raw const parts,
                sealed.as_mut_ptr(),
                &raw mut sealed_len,
            )
        };
        self.table.check_status(status)?;
        // A text in the clear would be stored as one that is sealed; this much can be seen.
        if sealed_len != length || sealed.iter().all(|&byte| byte == 0) {
            return Err(broken("aead_encrypt gave no ciphertext and tag"));
        }
        Ok(sealed)
    }

    /// See [`Provider::aead_decrypt`](crate::Provider::aead_decrypt).
    ///
    /// # Errors
    /// Those of the provider; `Unsupported` also where the plugin has no such function; `Internal`
    /// when the result is not as long as the text without its tag.
    ///
    /// # Secrets
    /// The result; what a plugin writes and then fails is wiped.
    pub fn aead_decrypt(&self, key: KeyRef<'_>, input: AeadInput<'_>) -> Result<SecretBytes> {
        let function = self.table.aead.ok_or_else(absent)?.decrypt;
        let (key, parts) = (key_to_c(key), input_to_c(input));
        let mut text = Zeroizing::new(vec![0; input.text.len()]);
        let mut text_len = usize::MAX;
        // SAFETY: ABI rules 1 and 2: every pointer is valid for its length or capacity.
        let status = unsafe {
            function(
                self.pointer.as_ptr(),
                &raw const key,
                &raw const parts,
                text.as_mut_ptr(),
                &raw mut text_len,
            )
        };
        self.table.check_status(status)?;
        if input.text.len().checked_sub(AEAD_TAG_BYTES) != Some(text_len) {
            return Err(broken("aead_decrypt gave no plaintext"));
        }
        text.truncate(text_len);
        Ok(SecretBytes::new(text))
    }
}

/// The C form of an input; it borrows the parts, which outlive the call.
fn input_to_c(input: AeadInput<'_>) -> abi::AeadInput {
    abi::AeadInput {
        size: struct_bytes::<abi::AeadInput>(),
        iv: input.iv.as_ptr(),
        iv_len: input.iv.len(),
        aad: input.aad.as_ptr(),
        aad_len: input.aad.len(),
        text: input.text.as_ptr(),
        text_len: input.text.len(),
    }
}
